"""The GPUs of workers in words: who has them, who waits, and what is free of their memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chutes_jupyter.commands.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chutes_jupyter.gpupages import GpuPage, GpuUse

#: So many processes of others, and jobs that wait, are named.
_NAMED = 3


def gpus_text(pages: Mapping[str, GpuPage | str]) -> str:
    """Return a table of the GPUs of several workers, and a line for each that has none to show.

    Parameters
    ----------
    pages : mapping
        What the worker of each name said, or why it said nothing.
    """
    rows: list[tuple[str, ...]] = []
    lines: list[str] = []
    for name, page in pages.items():
        if isinstance(page, str):
            lines.append(f"{name} was not asked for its GPUs: {page}\n")
        elif page.gpus:
            rows += [(name, *_cells(gpu)) for gpu in page.gpus]
            if page.waiting:
                lines.append(f"{name}: {_waiting(page)}\n")
    head = ("WORKER", "GPU", "MODEL", "FREE", "TAKEN BY", "ALSO USED BY")
    shown = table(head, rows) if rows else ""
    return "\n" * bool(shown or lines) + shown + "".join(lines)


def summary(page: GpuPage) -> str:
    """Return the GPUs of one worker in a line: how many, which, how many are free, and for whom."""
    if page.gpus is None:
        return "no GPU tools there: a job that asks for GPUs runs without, and is told"
    if not page.gpus:
        return "none: a job that asks for GPUs runs without, and is told"
    models = Counter(f"{gpu.name} ({gpu.memory_mib} MiB)" for gpu in page.gpus)
    text = ", ".join(f"{count} x {model}" for model, count in models.items())
    free = sum(gpu.holder is None for gpu in page.gpus)
    text += f"; {free} free of jobs"
    if page.waiting:
        text += f"; {_waiting(page)}"
    used = [f"GPU {gpu.index} by {_some(gpu.others)}" for gpu in page.gpus if gpu.others]
    return f"{text}; others use {', '.join(used)}" if used else text


def _cells(gpu: GpuUse) -> tuple[str, ...]:
    total = f"{gpu.memory_mib / 1024:.1f} GiB"
    free = total if gpu.free_mib is None else f"{gpu.free_mib / 1024:.1f} of {total}"
    holder = "" if gpu.holder is None else f"{gpu.holder.label} ({gpu.holder.user})"
    if gpu.mig:
        holder = holder or "split into instances (MIG)"
    return (str(gpu.index), gpu.name, free, holder, _some(gpu.others))


def _waiting(page: GpuPage) -> str:
    jobs = [f"{job.label} ({job.user}, {job.wants})" for job in page.waiting]
    return f"{len(jobs)} waiting: {_some(jobs)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
