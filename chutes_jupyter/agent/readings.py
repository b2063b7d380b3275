"""What a job tells of itself, read for a client: only what it does not have yet."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional, Tuple

from . import journal
from .journal import JobDir

Pair = Tuple[Dict[str, Any], bytes]

#: The most of the metrics, and of one object that was shown, in one answer.
_PIECE = 256 * 1024
#: No sound file of progress, or list of what was shown, is larger; a frame's header holds it.
_MOST_JSON = 128 * 1024
#: So many characters of each text are in a list of jobs.
_BRIEF = 80
#: Ten minutes of them; a frame's header holds those of 16 GPUs.
_MOST_SAMPLES = 300


def news(job: JobDir, header: Dict[str, Any], terminal: bool) -> Pair:
    """Return what is new since what the header says that the client has.

    Parameters
    ----------
    header : dict
        ``stamps``: the times of the files that it has read, by what they hold; ``metrics``: how
        many bytes it has of them; ``sample``: the number of the last sample of usage.
    terminal : bool
        Whether the job has ended; asked before this is read.
    """
    known = header["stamps"]
    stamps = {name: _stamp(getattr(job, name)) for name in ("progress", "displays", "usage")}
    new = {name for name, stamp in stamps.items() if stamp != known.get(name)}
    offset = int(header["metrics"])
    metrics, size = journal.read_piece(job.metrics, offset, _PIECE)
    metrics = metrics[: metrics.rfind(b"\n") + 1]
    return {
        "stamps": stamps,
        "new": bool(new or metrics),
        "progress": read_progress(job) if "progress" in new else None,
        "displays": _dict(job.displays) if "displays" in new else None,
        "usage": _usage(job, int(header["sample"])) if "usage" in new else [],
        "end": terminal and (not metrics or offset + len(metrics) >= size),
    }, metrics


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def read_progress(job: JobDir) -> Optional[Dict[str, Any]]:
    """Return the newest progress of a job, or None."""
    return _dict(job.progress)


def brief(job: JobDir) -> Optional[Dict[str, Any]]:
    """Return how far a job is for a list of very many: short, whatever the job has written."""
    found = read_progress(job) or {}
    numbers = {name: found.get(name) for name in ("done", "total", "rate", "seconds_left", "at")}
    if not all(number is None or type(number) is float for number in numbers.values()):
        return None
    texts = {name: found.get(name) for name in ("unit", "description")}
    short = {name: str(text)[:_BRIEF] if text else None for name, text in texts.items()}
    return None if numbers["done"] is None else {**numbers, **short}


def _dict(path: str) -> Optional[Dict[str, Any]]:
    """Return what a file holds that the job's own process wrote, or anything below it."""
    try:
        if os.stat(path).st_size > _MOST_JSON:
            return None
        found = journal.read_json(path)
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def display(job: JobDir, header: Dict[str, Any]) -> Optional[Pair]:
    """Return a piece of one object that was shown; None if it is kept no more."""
    path = os.path.join(job.shown, "%d.json" % int(header["number"]))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        facts = os.fstat(fd)
        data = os.pread(fd, _PIECE, int(header["offset"]))
    finally:
        os.close(fd)
    # An update is another file: pieces of two don't make one.
    return {"stamp": facts.st_mtime_ns, "size": facts.st_size}, data


def _usage(job: JobDir, after: int) -> List[Dict[str, Any]]:
    """Return the samples after the one of that number, as far as they are kept."""
    newest = _samples(job.usage)
    older = [] if newest and newest[0]["n"] <= after + 1 else _samples(job.usage + ".old")
    return [sample for sample in older + newest if sample["n"] > after][-_MOST_SAMPLES:]


def _samples(path: str) -> List[Dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line.decode("ascii")) for line in whole.splitlines()]
