"""What a panel shows of a job, as data: only what is known at once, nothing that waits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chutes_jupyter.models import SSH_PORT, TERMINAL
from chutes_jupyter.readings import drawn

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from chutes_jupyter.job import Job
    from chutes_jupyter.mirror import FileView
    from chutes_jupyter.preflight import Item
    from chutes_jupyter.readings import Display, GpuUsage, Readings

#: So many files are told by themselves; all of them when they are asked for.
MAX_FILES = 300
#: So many things that went along are shown, the largest.
MAX_SENT = 200
#: So many metrics are drawn.
MAX_METRICS = 24
#: A job has said its last word when it was quiet for so long, or at the latest then, in seconds.
_QUIET, _LAST_WORDS = 1.5, 10.0
#: So many samples of the usage are shown.
MAX_SAMPLES = 60


def facts(job: Job) -> dict[str, Any]:
    """Return what is known of a job; from any thread but the background one."""
    mirror = job.mirror.status
    state = job.state
    return {
        "id": job.id,
        "label": job.label,
        "name": job.name,
        "worker": job.worker,
        "state": state,
        "reason": job.reason,
        "elapsed": job.elapsed,
        "timeout": job.timeout,
        "created": job.created_at,
        "started": job.started_at,
        "ended": job.ended_at,
        "confirmed": job.confirmed_at,
        "gpus": job.gpus,
        "python": job._live.python,
        "notebook": job._live.notebook,
        "folder": folder(job.output_dir),
        "trouble": job.outage,
        "carried": job.carried,
        "notices": job.notices,
        "arriving": mirror.state == "arriving",
        "mirror": {"files_done": mirror.files_done, "files_total": mirror.files_total},
        "outputs": (mirror.reason or "") if mirror.state == "stopped" else "",
        "ssh": any(port.port == SSH_PORT for port in job._live.ports),
        "sent": sent(job.sent),
        "over": over(job),
    }


def over(job: Job) -> bool:
    """Whether nothing changes any more: the job has ended, and its outputs have come."""
    return job.state in TERMINAL and job.mirror.status.state != "arriving"


def settle(changed: threading.Event, then: Callable[[], object] = lambda: None) -> None:
    """Wait for the last words of a job that has ended: what it told of itself comes behind.

    Parameters
    ----------
    changed : threading.Event
        Set at every change of the job.
    then : callable
        Called after each.
    """
    until = time.monotonic() + _LAST_WORDS
    while time.monotonic() < until and changed.wait(_QUIET):
        changed.clear()
        then()
        time.sleep(_QUIET / 5)


def folder(path: Path) -> str:
    """Return a folder as a person in the notebook's own would name it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def sent(items: Sequence[Item]) -> dict[str, Any]:
    """Return what went along with a job, the largest first."""
    found = sorted(items, key=lambda item: -(item.size or 0))
    return {
        "count": len(found),
        "bytes": sum(item.size or 0 for item in found),
        "items": [
            {"name": item.name, "kind": item.kind, "size": item.size} for item in found[:MAX_SENT]
        ],
    }


def ports(job: Job) -> list[dict[str, Any]]:
    """Return the ports of a job, each with where it can be opened from here or why it can't."""
    return [_port(job, name) for name in job.ports]


def _port(job: Job, name: str) -> dict[str, Any]:
    view = job.ports[name]
    known = {"name": view.name, "port": view.port, "proto": view.proto, "over": job.done()}
    if job.done():
        return {**known, "ready": False, "url": "", "notice": ""}
    open_by_now = view.ready or (view.proto != "http" and job.state == "running")
    notice = view.notice
    if not notice and any(dropped := view.dropped):
        notice = f"dropped: {dropped.up} up, {dropped.down} down"
    # Not `url`, which waits where it is not there yet.
    url = (view.url_now or "") if open_by_now and view.port != SSH_PORT else ""
    return {**known, "ready": view.ready, "url": url, "notice": notice}


def files(job: Job) -> dict[str, Any]:
    """Return the outputs of a job: how many, how far they are, and the first of them."""
    found = job.mirror.files
    return {
        "count": len(found),
        "bytes": sum(entry.size for entry in found),
        "here": sum(entry.state == "here" for entry in found),
        "folder": folder(job.output_dir) if found else "",
        "entries": [entry_of(entry) for entry in found[:MAX_FILES]],
    }


def entry_of(entry: FileView) -> dict[str, Any]:
    """Return one output file."""
    return {
        "path": entry.path,
        "size": entry.size,
        "state": entry.state,
    }


def progress(known: Readings) -> dict[str, Any] | None:
    """Return how far a job is, as it said itself; None where it says nothing."""
    said = known.progress
    if said is None:
        return None
    names = ("done", "total", "unit", "description", "rate", "seconds_left")
    return {name: getattr(said, name) for name in names}


def metrics(known: Readings) -> dict[str, list[tuple[float | None, float | None]]]:
    """Return the points of each metric, steps and values; not all, if they are many."""
    return {
        name: drawn(series) for name, series in list(known.metrics.items())[:MAX_METRICS] if series
    }


def usage(known: Readings) -> list[dict[str, Any]]:
    """Return the newest samples of what a job uses."""
    return [
        {
            "cpu_percent": sample.cpu_percent,
            "memory_mib": sample.memory_mib,
            "gpus": [_gpu(gpu) for gpu in sample.gpus],
        }
        for sample in known.usage[-MAX_SAMPLES:]
    ]


def _gpu(gpu: GpuUsage) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "name": gpu.name,
        "percent": gpu.utilisation,
        "memory_mib": gpu.memory_mib,
        "own_mib": gpu.own_memory_mib,
        "total_mib": gpu.total_mib,
    }


def shown(display: Display) -> dict[str, Any]:
    """Return one thing that a job displayed."""
    return {"number": display.number, "data": display.texts}


def moment(seconds: float | None) -> str:
    """Return a point of time as a record has it, in this machine's zone."""
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
