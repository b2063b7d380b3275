"""What the processes of a job use, sampled by its supervisor every two seconds.

Processor time and memory are read from /proc, which is Linux's; GPUs are asked by a process of
their own. The newest samples are kept: a file of them, and the one before it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import processes
from .gpuwatch import PERIOD, SHARE, GpuWatch
from .journal import JobDir

#: When the first sample is taken: a short job needs none, in seconds.
FIRST = 1.0
#: So many samples are in one file: with the one before it more than ten minutes.
KEPT = 300
_LINUX = sys.platform.startswith("linux")
_MIB = 1024 * 1024
_MOST_GPUS = 64
#: In /proc/PID/stat, from the state on: times of itself and of its ended children, and memory.
_OWN, _CHILDREN, _RESIDENT = (11, 12), (13, 14), 21


class Meter:
    """Takes the samples of one job.

    Parameters
    ----------
    job : JobDir
        The job.
    guardian : int
        The process that all of the job's are below.
    among : str, optional
        The job's ``CUDA_VISIBLE_DEVICES``.
    """

    def __init__(self, job: JobDir, guardian: int, among: Optional[str]) -> None:
        self._path, self._guardian = job.usage, guardian
        self._limited = among is not None
        self._gpus = GpuWatch(among)
        self._due = time.monotonic() + FIRST
        self._number = 0
        self._before: Optional[Tuple[float, float]] = None
        self._used: List[int] = []

    def due(self) -> Optional[float]:
        """Return when the next sample is to be taken."""
        return self._due if _LINUX else None

    def take(self, now: float) -> None:
        """Take a sample, if it is time."""
        if not _LINUX or now < self._due:
            return
        began = time.thread_time()
        busy, resident, pids = _processes(self._guardian)
        cpu = None
        if self._before is not None and now > self._before[0]:
            busy = max(busy, self._before[1])  # who has just ended is not collected yet
            cpu = round(100 * (busy - self._before[1]) / (now - self._before[0]), 1)
        self._before = now, busy
        self._due = now + max(PERIOD, (time.thread_time() - began) / SHARE)
        if not pids:
            return  # it has just ended
        gpus = self._mine(self._gpus.look(now), pids)
        # On a full disk, this is what can be done without.
        with contextlib.suppress(OSError):
            self._write({"t": round(time.time(), 3), "cpu": cpu, "mem": resident, "gpus": gpus})

    def close(self) -> None:
        """Take no more."""
        self._gpus.close()

    def _mine(self, gpus: List[Dict[str, Any]], pids: List[int]) -> List[Dict[str, Any]]:
        """Return the GPUs that are the job's: those that it was given, or those that it uses."""
        own = set(pids)
        found = []
        for each in gpus:
            mine = [process for process in each["processes"] if process["pid"] in own]
            if mine and each["index"] not in self._used:
                self._used.append(each["index"])
            if self._limited or each["index"] in self._used:
                found.append(_sample(each, [process["used_mib"] for process in mine]))
        return found[:_MOST_GPUS]

    def _write(self, sample: Dict[str, Any]) -> None:
        if self._number and self._number % KEPT == 0:
            os.replace(self._path, self._path + ".old")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            line = json.dumps(dict(sample, n=self._number + 1), separators=(",", ":")) + "\n"
            size = os.fstat(fd).st_size
            if os.write(fd, line.encode("ascii")) != len(line):
                os.ftruncate(fd, size)
        finally:
            os.close(fd)
        self._number += 1


def _sample(each: Dict[str, Any], own: List[Optional[int]]) -> Dict[str, Any]:
    free, total = each["free_mib"], each["memory_mib"]
    known = [size for size in own if size is not None]
    return {
        "index": each["index"],
        "name": each["name"],
        "uuid": each["uuid"],
        "util": each["util"],
        "used": None if free is None else total - free,
        "own": sum(known) if len(known) == len(own) else None,
        "total": total,
    }


def _processes(guardian: int) -> Tuple[float, int, List[int]]:
    """Return the processor time of a job in seconds, its memory in MiB, and its processes.

    Who has ended is in the time of who collected it, the guardian for orphans.
    """
    pids = processes.below(guardian)
    ticks = resident = 0
    for pid in [guardian, *pids]:
        fields = processes.stat(pid)
        if fields is None:
            continue
        ticks += sum(int(fields[index]) for index in _CHILDREN)
        if pid != guardian:
            ticks += sum(int(fields[index]) for index in _OWN)
            resident += int(fields[_RESIDENT])
    memory = resident * os.sysconf("SC_PAGE_SIZE") // _MIB
    return ticks / os.sysconf("SC_CLK_TCK"), memory, pids
