"""Sending a file in the frames of one reply, with its hash at the end."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from . import journal, outputs, wire
from .journal import JobDir

#: Hashing so many bytes takes a moment that people would notice.
LARGE = 64 * 1024 * 1024
_PIECE = 1024 * 1024


class Listed:
    """The hash that the supervisor makes of a file right now, instead of one more of our own.

    While a job is collecting nobody writes to its outputs any more, and its supervisor hashes
    them in the order in which they are fetched: faster than they can be sent.

    Parameters
    ----------
    job : JobDir
        The job.
    path : str
        The file, below the output folder.
    """

    def __init__(self, job: JobDir, path: str) -> None:
        self._job, self._path = job, path

    def update(self, data: bytes) -> None:
        """Leave the bytes to the supervisor."""

    def hexdigest(self) -> str:
        """Return the sha256 of the listing, or make it where there is none yet."""
        with outputs.open_inside(self._job.output, self._path) as file:
            status = os.fstat(file.fileno())
            found = journal.read_json(self._job.outputs) or {"entries": []}
            for entry in found["entries"]:
                mark = (entry["path"], entry["size"], entry["mtime_ns"])
                if mark == (self._path, status.st_size, status.st_mtime_ns) and entry["sha256"]:
                    return str(entry["sha256"])
            return outputs.hash_file(file)


#: What gathers the hash of a file; Any is hashlib's own, whose type has no public name.
Digest = Union[Listed, Any]


def hash_before(file: Any, offset: int) -> Any:
    """Return the sha256 of what a file has before `offset`, to which the rest is added."""
    digest = hashlib.sha256()
    file.seek(0)
    while offset > 0:
        data = file.read(min(_PIECE, offset))
        if not data:
            break
        digest.update(data)
        offset -= len(data)
    return digest


def send(
    file: Any, offset: int, digest: Optional[Digest]
) -> Iterator[Tuple[Dict[str, Any], bytes]]:
    """Yield the fields and bodies of the frames that bring a file, and close it.

    Parameters
    ----------
    file : file
        Open for reading, without a buffer.
    offset : int
        Where to begin, in bytes.
    digest : Digest, optional
        Takes what is sent; None where the client has the hash already.
    """
    with file:
        before = os.fstat(file.fileno())
        file.seek(offset)
        left = max(0, before.st_size - offset)
        while left:
            data = file.read(min(wire.MAX_BODY, left))
            if not data:
                break
            left -= len(data)
            if digest is not None:
                digest.update(data)
            yield {"more": True}, data
        after = os.fstat(file.fileno())
    changed = left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    fields = {
        "more": False,
        "size": before.st_size,
        "mtime_ns": before.st_mtime_ns,
        "sha256": digest.hexdigest() if digest is not None else None,
        "changed": bool(changed),
    }
    yield fields, b""
