"""The person's own modules: kept here by their hashes, laid out for one job.

A file is sent once to a worker, whatever job needs it and however often. Each job has a folder
of its own with the files that it needs, so that no job can change another one's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from typing import Any, Dict, Iterator, List, Sequence, Tuple

FOLDER = "modules"
#: What no job needed for so long goes, in seconds; it is sent again when one does.
UNUSED = 30 * 86400.0
#: The most that one file may have, in bytes.
LARGEST = 1 << 30
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_PART = re.compile(r"[^\x00/\\]{1,255}\Z")
_ARRIVING = ".stage-"
_DAY = 86400.0

Pair = Tuple[Dict[str, Any], bytes]


class ModuleError(Exception):
    """A file can't be taken, or laid out."""


class ModuleStore:
    """The files of modules under one root.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    """

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, FOLDER)

    def missing(self, hashes: Sequence[str]) -> List[str]:
        """Return which files are not here; those that are, are kept for a while longer."""
        return [each for each in hashes if not self._touch(self.path(each))]

    def put(self, sha256: str, offset: int, total: int, data: bytes) -> None:
        """Take a piece of a file; with the last one it is checked, and there."""
        path = self.path(sha256)
        if not 0 <= offset <= total <= LARGEST or offset + len(data) > total:
            raise ModuleError("a piece lies outside of its file")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        beside = os.path.join(self._folder, _ARRIVING + sha256)
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "r+b") as file:
            file.seek(offset)
            file.write(data)
            file.flush()
            if offset + len(data) < total:
                return
            file.truncate(total)
            file.seek(0)
            digest = hashlib.sha256()
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
        if digest.hexdigest() != sha256:
            os.unlink(beside)
            raise ModuleError("a file did not arrive whole")
        os.replace(beside, path)

    def path(self, sha256: str) -> str:
        """Return where a file is kept."""
        if not isinstance(sha256, str) or not _HASH.match(sha256):
            raise ModuleError("not a hash: %r" % (sha256,))
        return os.path.join(self._folder, sha256)

    def sweep(self) -> Iterator[str]:
        """Yield the paths of what nobody needs any more."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                path = os.path.join(self._folder, name)
                limit = _DAY if name.startswith(_ARRIVING) else UNUSED
                with contextlib.suppress(OSError):
                    if time.time() - os.lstat(path).st_mtime > limit:
                        yield path

    @staticmethod
    def _touch(path: str) -> bool:
        try:
            os.utime(path)
        except OSError:
            return False
        return True


def place(root: str, folder: str, files: Sequence[Dict[str, Any]]) -> None:
    """Lay out the files of one job.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    folder : str
        Where they are to lie.
    files : sequence of dict
        Each with its ``path`` below that folder, its ``sha256``, and whether it is ``exec``.

    Raises
    ------
    ModuleError
        If a name leaves the folder, or a file is not here.
    """
    store = ModuleStore(root)
    beside = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(folder))
    for file in files:
        parts = file["path"].split("/")
        if not all(_PART.match(part) and part not in (".", "..") for part in parts):
            raise ModuleError("not a name of a module's file: %r" % (file["path"],))
        path = os.path.join(beside, *parts)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(store.path(file["sha256"]), "rb") as source:
                data = source.read()
        except FileNotFoundError as error:
            raise ModuleError(
                "%s, a file of this job's modules, is not on this worker any more: submit the "
                "job again." % file["path"]
            ) from error
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700 if file.get("exec") else 0o600
        )
        with open(fd, "wb") as target:
            target.write(data)
    os.rename(beside, folder)
