"""Did the kernel end a process here for want of memory, and what was the limit.

The kernel counts such kills for each control group, and for the machine. Version 1 and 2 of
control groups name the figures differently; in a container the group's own files may be at
the mount's root instead of below the path that /proc tells.
"""

from __future__ import annotations

import os
from typing import Dict, List, NamedTuple, Optional, Tuple

from .endings import size

#: Version 1 has no word for "no limit", only a number near the largest.
_NO_LIMIT = 1 << 60


class _Files(NamedTuple):
    """What one version of control groups calls its files."""

    events: str
    limit: str
    peak: str


_V1 = _Files("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")
_V2 = _Files("memory.events", "memory.max", "memory.peak")


class Memory:
    """The kernel's figures for this process's control group, from now on.

    Parameters
    ----------
    groups, proc : str
        Where control groups and processes are mounted.
    """

    def __init__(self, groups: str = "/sys/fs/cgroup", proc: str = "/proc") -> None:
        self._proc = proc
        self._files, self._chain = _chain(groups, proc)
        self._before = self._kills()

    def shortage(self) -> Optional[str]:
        """Return in words what ended a process here since the beginning, or None."""
        if self._kills() <= self._before:
            return None
        known = [(limit, group) for group in self._chain for limit in [self._limit(group)] if limit]
        if not known:
            return "out of memory: the worker had none left"
        limit, group = min(known)
        used = _number(os.path.join(group, self._files.peak))
        if used is None:  # before Linux 5.19
            return "out of memory: its limit is %s" % size(limit)
        return "out of memory: used %s of the limit %s" % (size(used), size(limit))

    def _kills(self) -> int:
        # The nearest group counts; the machine's count is for those that are in none.
        for group in self._chain:
            found = _fields(os.path.join(group, self._files.events)).get("oom_kill")
            if found is not None:
                return found
        return _fields(os.path.join(self._proc, "vmstat")).get("oom_kill", 0)

    def _limit(self, group: str) -> Optional[int]:
        limit = _number(os.path.join(group, self._files.limit))
        return limit if limit is not None and limit < _NO_LIMIT else None


def _chain(groups: str, proc: str) -> Tuple[_Files, List[str]]:
    """Return this process's memory group and those above it that can be seen, nearest first."""
    try:
        with open(os.path.join(proc, "self", "cgroup")) as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:  # not Linux
        lines = []
    paths: Dict[str, str] = {line[1]: line[2] for line in lines if len(line) == 3}
    files, top, path = _V2, groups, paths.get("", "/")
    for controllers, found in paths.items():
        if "memory" in controllers.split(","):
            files, top, path = _V1, os.path.join(groups, "memory"), found
    chain = []
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        group = os.path.join(top, *parts[:count])
        if os.path.exists(os.path.join(group, files.events)):
            chain.append(group)
    return files, chain


def _fields(path: str) -> Dict[str, int]:
    """Return the numbers of a file with a name and a number on each line."""
    try:
        with open(path) as file:
            pairs = [line.split() for line in file]
    except OSError:  # not there, or not ours to read
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: str) -> Optional[int]:
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
