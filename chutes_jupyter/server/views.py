"""Jobs as the API shows them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.client.words import outage
from chutes_jupyter.server.doors import offered
from chutes_jupyter.server.shapes.jobs import JobPort, JobSummary, JobView, MirrorView
from chutes_jupyter.server.shapes.readings import ProgressView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client import Live
    from chutes_jupyter.readings import Progress
    from chutes_jupyter.store import JobRecord


def summary(
    record: JobRecord,
    trouble: str | None,
    root: Path | None,
    *,
    progress: Progress | None = None,
    gpu: Sequence[float] = (),
) -> JobSummary:
    """Return a job as lists show it.

    Parameters
    ----------
    record : JobRecord
        What is known of it.
    trouble : str, optional
        Why its worker can't be reached.
    root : Path, optional
        What the server's file browser shows.
    progress : Progress, optional
        Where that is newer than what is recorded.
    gpu : sequence of float
        How busy its GPUs were.
    """
    said = progress or record.progress
    return JobSummary(
        id=record.id,
        label=record.label,
        name=record.name,
        worker=record.worker,
        state=record.state,
        live=not record.ended_for_good,
        event=record.event,
        reason=record.reason,
        created=record.created,
        started=record.started,
        ended=record.ended,
        timeout=record.timeout,
        confirmed=record.confirmed,
        trouble=trouble,
        notebook=record.notebook,
        cell=record.cell,
        output_dir=record.output_dir,
        output_path=below(root, record.output_dir),
        ports=[JobPort(name=p["name"], port=p["port"], proto=p["proto"]) for p in record.ports],
        progress=None if said is None else progress_view(said),
        gpu=list(gpu),
    )


def view(live: Live, root: Path | None) -> JobView:
    """Return everything that is known of a job."""
    return JobView(
        **dict(summary(live.record(), live.trouble, root)),
        elapsed=live.elapsed,
        upload=live.upload,
        outage=outage(live, time.time()),
        trouble_since=live.trouble_since,
        gpus=live.gpus,
        python=live.python,
        notices=list(live.notices),
        cancel_asked=live.cancel_asked,
        cancel_by=live.cancel_by,
        removed=live.removed,
        mirror=mirror_view(live),
        ready_ports=sorted(live.ready_ports),
        undeclared=offered(live),
    )


def progress_view(said: Progress) -> ProgressView:
    """Return how far a job is."""
    return ProgressView(
        done=said.done,
        total=said.total,
        unit=said.unit,
        description=said.description,
        rate=said.rate,
        seconds_left=said.seconds_left,
        at=said.at,
    )


def mirror_view(live: Live) -> MirrorView:
    """Return how far the outputs of a job are here."""
    status = live.mirror
    return MirrorView(
        state=status.state,
        reason=status.reason,
        done=status.done,
        total=status.total,
        files_done=status.files_done,
        files_total=status.files_total,
    )


def below(root: Path | None, folder: str | Path | None) -> str | None:
    """Return what the server's file browser calls a folder; None where it does not show it."""
    if root is None or not folder:
        return None
    try:
        found = Path(folder).relative_to(root).as_posix()
    except ValueError:
        return None
    return "" if found == "." else found
