"""The second interrupt: the first one ends the wait for a job, the next cancels the job."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from chutes_jupyter.job import Job

#: Within so many seconds after the first.
SECONDS = 5.0


def offer(kernel: Any, job: Job) -> bool:
    """Let an interrupt soon after the cell has ended cancel the job; return whether that works.

    Between cells a kernel ignores interrupts: it puts the handler back that it found before the
    cell. That one is replaced for a while. A cell that begins in the meantime is interrupted as
    any other.
    """
    before = getattr(kernel, "saved_sigint_handler", None)
    if before is None or getattr(before, "__name__", "") == "_second":
        return False
    until = time.monotonic() + SECONDS

    def _second(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        if time.monotonic() <= until and not job.done():
            job.cancel(wait=0)
            sys.stdout.write(f"{job.label}: cancel sent.\n")
            sys.stdout.flush()

    kernel.saved_sigint_handler = _second
    return True
