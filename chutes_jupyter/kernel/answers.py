"""What the kernel does when a panel asks it: where there is no server extension to ask.

The answers have the shapes of the server's API, so that the front end has one way to read them.
"""

from __future__ import annotations

import base64
import mimetypes
from typing import TYPE_CHECKING, Any

from chutes_jupyter import portal
from chutes_jupyter.client.now import bring_now
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import UsageError
from chutes_jupyter.kernel import view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chutes_jupyter.job import Job

#: How much of a text is looked at, and how large a picture may be, in bytes.
MAX_TEXT, MAX_PICTURE = 64 * 1024, 4 * 1024 * 1024
_PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_PAGE = 1000
_PATIENCE = 60.0


def answer(job: Job, act: str, asked: dict[str, Any]) -> Any:
    """Do what a panel asks, and return what it is told.

    Raises
    ------
    ChuteError
        If that does not work, with what to tell the person.
    """
    found = _ACTS.get(act)
    if found is None:
        raise UsageError(f"a panel can't ask for {act!r}")
    return found(job, asked)


def _cancel(job: Job, _asked: dict[str, Any]) -> Any:
    # A worker that can't be reached keeps this waiting: the cancel is delivered all the same.
    job.cancel(timeout=None)
    return {"told": True}


def _files(job: Job, asked: dict[str, Any]) -> Any:
    begin = int(asked.get("offset") or 0)
    limit = min(_PAGE, int(asked.get("limit") or _PAGE))
    found = job.mirror.files
    return {
        "files": [view.entry_of(entry) for entry in found[begin : begin + limit]],
        "total": len(found),
        "output_path": None,
    }


def _ports(job: Job, _asked: dict[str, Any]) -> Any:
    return {"ports": view.ports(job), "trouble": job.outage or None}


def _show(job: Job, asked: dict[str, Any]) -> Any:
    """Open a port that the job did not declare; the panel's list then has it."""
    return {"name": job.show_port(int(asked.get("port") or 0)).name}


def _ssh(job: Job, _asked: dict[str, Any]) -> Any:
    return {"command": job.ssh_command, "words": job.ssh_words}


def _piece(job: Job, asked: dict[str, Any]) -> Any:
    """Return a piece of the log, for who saves it."""
    return portal.call(_read_piece, job, int(asked.get("begin") or 0))


async def _read_piece(job: Job, begin: int) -> dict[str, Any]:
    stream = current_client().log(job._live, offset=begin, follow=False)
    try:
        data = await stream.next()
    finally:
        await stream.aclose()
    # Cut between characters: the rest begins the next piece.
    text, rest = _whole_characters(data or b"")
    return {"text": text, "next": stream.offset - rest, "end": not data}


def _whole_characters(data: bytes) -> tuple[str, int]:
    for cut in range(min(4, len(data))):
        try:
            return data[: len(data) - cut].decode("utf-8"), cut
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace"), 0


def _preview(job: Job, asked: dict[str, Any]) -> Any:
    """Look at a file that is here; one on the worker must be fetched first."""
    path, where = _here(job, asked)
    size = where.stat().st_size
    media = mimetypes.guess_type(path)[0] or ""
    found: dict[str, Any] = {"path": path, "size": size, "kind": "binary", "cut": False}
    if size == 0:
        return {**found, "kind": "empty"}
    if media in _PICTURES and size <= MAX_PICTURE:
        data = base64.b64encode(where.read_bytes()).decode("ascii")
        return {**found, "kind": "image", "media": media, "data": data}
    with where.open("rb") as file:
        head = file.read(MAX_TEXT)
    text, rest = _whole_characters(head)
    if "\0" in text or "�" in text:
        return found
    return {**found, "kind": "text", "text": text, "cut": size > len(head) - rest}


def _here(job: Job, asked: dict[str, Any]) -> tuple[str, Path]:
    path, state = _listed(job, asked)
    found = job.output_dir / path
    if state != "here" and not found.is_file():
        raise UsageError(f"{path} is not here yet: it comes with the job's outputs, or by Fetch.")
    return path, found


def _listed(job: Job, asked: dict[str, Any]) -> tuple[str, str]:
    """Return an output's path and state; only of one that was listed, whose path was checked."""
    path = str(asked.get("path") or "")
    for each in job.mirror.files:
        if each.path == path:
            return path, each.state
    raise UsageError(f"{job.label} has no output {path!r}.")


def _fetch(job: Job, asked: dict[str, Any]) -> Any:
    """Bring an output here now, although the job may run."""
    path, _ = _listed(job, asked)
    size = portal.call(bring_now, current_client(), job._live, path)
    return {"files": [{"path": path, "size": size, "here": True, "problem": None}]}


_ACTS: dict[str, Callable[[Job, dict[str, Any]], Any]] = {
    "cancel": _cancel,
    "files": _files,
    "ports": _ports,
    "show": _show,
    "ssh": _ssh,
    "piece": _piece,
    "preview": _preview,
    "fetch": _fetch,
}


def problem(error: Exception) -> dict[str, str]:
    """Return an error as the API tells one."""
    return {"message": str(error), "code": type(error).__name__, "hint": ""}
