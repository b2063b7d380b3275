"""What jobs were given, kept on this machine, so that one can be run again by whoever shows it.

A worker forgets it when the job ends: nothing in it outlives the job on a machine that may be a
stranger's. Here it is a file for each job, for this person alone, until there is too much of them;
nothing is kept of a job that was given a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chutes_jupyter.client.deliver import Submission
from chutes_jupyter.config import state_dir
from chutes_jupyter.errors import NotKept
from chutes_jupyter.models import JobOptions, JobSpec, new_job_id
from chutes_jupyter.needs import Needs
from chutes_jupyter.nodes import NodeSelector
from chutes_jupyter.preflight import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from chutes_jupyter.store import JobRecord

#: Of another number is what another version wrote.
_VERSION = 1
#: One job has no more than this part of the room.
_SHARE = 4
_SPEC, _PAYLOAD, _FILES = "job.json", "payload", "files/"
_UNKEPT = "it was given secrets, which are kept nowhere once it has ended"


def keep(submission: Submission, room: int) -> None:
    """Write what a job is given, or why that is not kept; the oldest of all goes where it must.

    Parameters
    ----------
    submission : Submission
        The job, as it goes to its worker.
    room : int
        How many bytes all jobs together may have here.
    """
    spec = submission.spec
    size = len(submission.payload) + sum(map(len, submission.files.values()))
    why = ""
    if any(item.kind == "secret" for item in submission.sent):
        why = _UNKEPT
    elif size > room // _SHARE:
        why = (
            f"what it was given ({size / 1e6:,.1f} MB) is more than a quarter of again_limit_gb "
            f"({room / 1e9:g}) in the workers file"
        )
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    beside = folder / f".{spec.id}-{secrets.token_hex(4)}"
    try:
        with _create(beside) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_SPEC, json.dumps({"v": _VERSION, "why": why, **_told(submission)}))
            if not why:
                archive.writestr(_PAYLOAD, submission.payload)
                for sha256, data in submission.files.items():
                    archive.writestr(_FILES + sha256, data)
        beside.replace(_path(spec.id))
    finally:
        beside.unlink(missing_ok=True)
    _make_room(folder, room)


def load(record: JobRecord) -> Submission:
    """Return what a job was given, as a new job: with an id of its own, made now.

    Raises
    ------
    NotKept
        If that is not here, with why.
    """
    try:
        with zipfile.ZipFile(_path(record.id)) as archive:
            told = json.loads(archive.read(_SPEC))
            if told["v"] != _VERSION:
                raise _refusal(record, "another version of chutes_jupyter has submitted it")
            if told["why"]:
                raise _refusal(record, told["why"])
            files = {
                name.removeprefix(_FILES): archive.read(name)
                for name in archive.namelist()
                if name.startswith(_FILES)
            }
            return _submission(told, archive.read(_PAYLOAD), files)
    except FileNotFoundError:
        here = "it was submitted from another machine, or is too long ago"
        raise _refusal(record, f"what it was given is not kept here: {here}") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _refusal(record, f"what was kept of it can't be read ({error})") from error


def forget(jobs: Iterable[str]) -> None:
    """Remove what is kept of jobs."""
    for job in jobs:
        _path(job).unlink(missing_ok=True)


def _refusal(record: JobRecord, why: str) -> NotKept:
    return NotKept(
        f"{record.label} can't be run again from here: {why}. Run it from where it was written: "
        f"{record.notebook or 'its notebook or script'}."
    )


def _folder() -> Path:
    return state_dir() / "again"


def _path(job: str) -> Path:
    return _folder() / f"{job}.zip"


@contextlib.contextmanager
def _create(path: Path) -> Iterator[Any]:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
        yield file


def _make_room(folder: Path, room: int) -> None:
    """Remove the oldest files, until all together fit."""
    found: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes room, too
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= room:
            return
        path.unlink(missing_ok=True)
        left -= size


def _told(submission: Submission) -> dict[str, Any]:
    """Return everything of a job but its payload; not its worker's environment, of no use here."""
    spec, needs = submission.spec, submission.needs
    return {
        "name": spec.name,
        "options": asdict(spec.options),
        "payload_sha256": spec.payload_sha256,
        "payload_size": spec.payload_size,
        "notebook": spec.notebook,
        "cell": spec.cell,
        "node_selector": spec.node_selector,
        "ssh_public_key": spec.ssh_public_key,
        "notices": submission.notices,
        "sent": [[item.name, item.kind, item.size] for item in submission.sent],
        "needs": [sorted(needs.modules), sorted(needs.perhaps), needs.code],
    }


def _submission(told: dict[str, Any], payload: bytes, files: dict[str, bytes]) -> Submission:
    modules, perhaps, code = told["needs"]
    options = told["options"]
    lists = {name: tuple(options[name]) for name in ("ports", "send", "secret")}
    spec = JobSpec(
        id=new_job_id(),
        name=told["name"],
        options=JobOptions(**{**options, **lists}),
        payload_sha256=told["payload_sha256"],
        payload_size=told["payload_size"],
        created=time.time(),
        notebook=told["notebook"],
        cell=told["cell"],
        node_selector=told["node_selector"],
        ssh_public_key=told["ssh_public_key"],
    )
    return Submission(
        spec,
        payload,
        NodeSelector.parse(told["node_selector"]),
        tuple(told["notices"]),
        files,
        Needs(frozenset(modules), frozenset(perhaps), tuple((s, w, n) for s, w, n in code)),
        tuple(Item(*each) for each in told["sent"]),
    )
