"""How a process ended, in words."""

from __future__ import annotations

import os
import signal


def signal_name(number: int) -> str:
    """Return a signal's name, as in ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def describe(status: int) -> str:
    """Return what a wait status says, as the end of a sentence about the process."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "was ended by signal %d, %s" % (number, signal_name(number))
    return "ended with exit code %d" % os.WEXITSTATUS(status)


def size(amount: int) -> str:
    """Return an amount of memory as people read it."""
    mib = amount / 1024.0**2
    return "%.1f MiB" % mib if mib < 1024 else "%.1f GiB" % (mib / 1024)
