"""How busy GPUs are, asked again and again by a process of its own.

So the driver's library is in no process that matters: one that hangs or crashes takes nobody
with it, and is begun anew a few times.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Dict, List, Optional

from . import gpu, processes
from .sharing import visible_of

#: The pause between two answers, in seconds: longer where asking costs more than this share of a
#: core, but never so long that the last answer is too old by then.
PERIOD, SHARE, LONGEST_PERIOD = 2.0, 0.004, 10.0
#: An answer that is older says nothing any more; how often a crash is forgiven, and after what
#: pause, in seconds.
_STALE, _CRASHES, _PAUSE = 15.0, 3, 20.0
#: No answer is longer, in bytes.
_LONGEST = 1024 * 1024


class GpuWatch:
    """What NVML says of the GPUs that a job may see.

    Parameters
    ----------
    among : str, optional
        The job's ``CUDA_VISIBLE_DEVICES``.
    """

    def __init__(self, among: Optional[str]) -> None:
        self._among = among
        self._pid, self._fd = 0, -1
        self._heard = b""
        self._gpus: List[Dict[str, Any]] = []
        self._at = 0.0
        self._crashes = 0
        self._begin_at: Optional[float] = 0.0

    def look(self, now: float) -> List[Dict[str, Any]]:
        """Return the newest answer, begun anew where that is needed; empty without one."""
        if self._fd < 0 and self._begin_at is not None and now >= self._begin_at:
            self._begin()
        elif self._fd >= 0:
            self._hear(now)
        return self._gpus if now - self._at < _STALE else []

    def close(self) -> None:
        """Ask no more."""
        self._begin_at = None
        if self._fd >= 0:
            self._end()

    def _begin(self) -> None:
        self._fd, writing = os.pipe()
        os.set_blocking(self._fd, False)
        self._pid = os.fork()
        if self._pid == 0:
            _ask_for_ever(writing, self._among)
        os.close(writing)

    def _hear(self, now: float) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            self._heard += data
            if not data or len(self._heard) > _LONGEST:
                self._crashes += 1
                again = self._crashes <= _CRASHES and self._begin_at is not None
                self._begin_at = now + _PAUSE if again else None
                self._end()
                return
            *lines, self._heard = self._heard.split(b"\n")
            if lines:
                told = json.loads(lines[-1].decode("ascii"))
                self._gpus, self._at = told or [], now
                if told is None:
                    self._begin_at = None  # there are none: nobody need ask again

    def _end(self) -> None:
        os.close(self._fd)
        self._fd, self._heard = -1, b""
        # One that hangs in the driver stays; whoever is above us has it then.
        processes.send([self._pid], signal.SIGKILL)
        gpu.collect(self._pid)


def _ask_for_ever(writing: int, among: Optional[str]) -> None:
    try:
        # One that hangs in the driver can't even be killed: it must hold nothing of ours.
        gpu.let_go(writing)
        library = gpu.opened()
        while library is not None:
            began = time.process_time()
            gpus = visible_of(gpu.devices(library, busy=True), among, whole=False)
            os.write(writing, json.dumps(gpus).encode("ascii") + b"\n")
            cost = time.process_time() - began
            time.sleep(min(LONGEST_PERIOD, max(PERIOD, cost / SHARE)))
        os.write(writing, b"null\n")
    finally:
        os._exit(0)
