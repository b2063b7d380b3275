"""What a worker says of its GPUs and of who uses them, checked as `replies` checks the rest."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chutes_jupyter.replies import Count, Gpu, Word, _Reply


class GpuHolder(_Reply):
    """The job that has a GPU, and whose it is."""

    label: Word
    user: Word


class GpuWaiter(GpuHolder):
    """A job that waits for GPUs, and for how many."""

    wants: Count


class GpuUse(Gpu):
    """A GPU with who uses it. `others` are processes that are not of the job that has it."""

    index: Count
    free_mib: Count | None
    mig: bool
    holder: GpuHolder | None
    others: Annotated[list[Word], Field(max_length=10_000)]


class GpuPage(_Reply):
    """The reply to `gpus`. Without GPU tools on the worker `gpus` is None."""

    gpus: Annotated[list[GpuUse], Field(max_length=1024)] | None
    waiting: Annotated[list[GpuWaiter], Field(max_length=10_000)]
