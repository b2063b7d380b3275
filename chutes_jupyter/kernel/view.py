"""What a panel shows of a job, read from it in one go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.commands import tables
from chutes_jupyter.kernel.logtail import shown
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.job import Job
    from chutes_jupyter.job import PortView as JobPort
    from chutes_jupyter.mirror import FileView
    from chutes_jupyter.preflight import Item


@dataclass(frozen=True)
class PortView:
    """A port, with where it can be opened from here or why it can't."""

    name: str
    port: int
    proto: str
    address: str = ""
    notice: str = ""


@dataclass(frozen=True)
class View:
    """One look at a job: only what is known at once, nothing that waits for the worker."""

    label: str
    worker: str
    state: str
    elapsed: float | None
    timeout: int | None
    reason: str | None
    notices: Sequence[str]
    trouble: str
    ports: Sequence[PortView]
    files: Sequence[FileView]
    folder: str
    log: str
    created: float
    #: Whether outputs are still on their way.
    arriving: bool
    #: What became of the outputs, where that is worth a word.
    outputs: str
    #: What went along with the job, where it was submitted here.
    sent: Sequence[Item]

    @classmethod
    def of(cls, job: Job) -> View:
        """Look at a job; from any thread but the background one."""
        mirror = job.mirror.status
        files = job.mirror.files
        return cls(
            label=job.label,
            worker=job.worker,
            state=job.state,
            elapsed=job.elapsed,
            timeout=job.timeout,
            reason=job.reason,
            notices=_notices(job),
            trouble=job.outage,
            ports=[_port_view(job, name) for name in job.ports],
            files=files,
            folder=_folder(job.output_dir) if files else "",
            log=shown(job.tail),
            created=job.created_at,
            arriving=mirror.state == "arriving",
            outputs=mirror.reason or "" if mirror.state == "stopped" else "",
            sent=job.sent,
        )

    @property
    def over(self) -> bool:
        """Whether nothing changes any more: the job has ended, and its outputs have come."""
        return self.state in TERMINAL and not self.arriving

    @property
    def summary(self) -> str:
        """The line that is saved with the notebook."""
        word = self.state.replace("_", " ")
        if self.state not in TERMINAL:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.created))
            again = f'chutes_jupyter.attach("{self.label}") opens it again'
            return f"{self.label} on {self.worker}, submitted {when}; {again}."
        parts = [f"{self.label} on {self.worker}: {word}"]
        if self.elapsed is not None:
            parts.append(f"after {tables.span(self.elapsed)}")
        if self.reason:
            parts.append(f"({self.reason.splitlines()[0]})")
        text = " ".join(parts) + "."
        if self.files:
            total = tables.size(sum(entry.size for entry in self.files))
            count = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
            text += f" {count}, {total}, in {self.folder}."
        return text


def _notices(job: Job) -> list[str]:
    """Return what is so at present, and what the person should read."""
    gpus = "" if job.done() else job.gpus
    return [*filter(None, (job.carried, gpus)), *job.notices]


def _folder(path: Path) -> str:
    """Return a folder as a person in the notebook's own would name it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _port_view(job: Job, name: str) -> PortView:
    view = job.ports[name]
    if job.done():
        notice = view.notice or "closed: the job has ended"
        return PortView(view.name, view.port, view.proto, notice=notice)
    if view.ready or (view.proto != "http" and job.state == "running"):
        notice = view.notice or _dropped(view)
        # Not `url`, which waits where it is not there yet.
        return PortView(view.name, view.port, view.proto, view.url_now or "", notice)
    return PortView(
        view.name, view.port, view.proto, notice=view.notice or "waits for the job's server"
    )


def _dropped(view: JobPort) -> str:
    dropped = view.dropped
    return f"dropped: {dropped.up} up, {dropped.down} down" if any(dropped) else ""
