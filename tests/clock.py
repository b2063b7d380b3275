"""Time as it passes for one thread, whatever else the machine has to do."""

from __future__ import annotations

import time
from pathlib import Path

_SCHEDULED = Path("/proc/thread-self/schedstat")


def own_time() -> float:
    """Return seconds that pass as this thread runs, sleeps, or waits for a lock or a disk.

    Those in which it could have run, and other programs had the processor, are left out.
    """
    # How long it ran and how long it stood in line, in nanoseconds: Linux's
    # Documentation/scheduler/sched-stats.rst.
    in_line = int(_SCHEDULED.read_text().split()[1]) if _SCHEDULED.exists() else 0
    return time.monotonic() - in_line / 1e9
