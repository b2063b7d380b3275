"""The log of a job: both streams in order of arrival, and an index of who wrote what when."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from typing import Tuple

from .journal import JobDir

STDOUT = 1
STDERR = 2
#: One record of the index: from this offset on (u64) bytes came from this stream (u8) at
#: this time (f64, seconds since the epoch).
RECORD = struct.Struct("!QBd")
_F_SETPIPE_SZ = 1031
_PIPE_SIZE = 1024 * 1024
_READ = 1024 * 1024
#: A new record is made when this many seconds passed since the last one.
_STEP = 0.05


class LogWriter:
    """Appends what the job printed; only the supervisor has one."""

    def __init__(self, job: JobDir) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._log = os.open(job.log, flags, 0o600)
        self._index = os.open(job.log_index, flags, 0o600)
        self.size = os.fstat(self._log).st_size
        self._stream = 0
        self._stamped = 0.0

    def pump(self, fd: int, stream: int) -> int:
        """Move what is waiting in a pipe into the log; 0 bytes means the pipe has ended."""
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return -1
        if data:
            self.add(data, stream)
        return len(data)

    def add(self, data: bytes, stream: int) -> None:
        """Append bytes that came from a stream just now."""
        now = time.time()
        if stream != self._stream or now - self._stamped >= _STEP:
            os.write(self._index, RECORD.pack(self.size, stream, now))
            self._stream, self._stamped = stream, now
        view = memoryview(data)
        while view:
            written = os.write(self._log, view)
            view = view[written:]
            self.size += written

    def close(self) -> None:
        """Close both files."""
        os.close(self._log)
        os.close(self._index)


def open_pipe() -> Tuple[int, int]:
    """Return a pipe's ends, the reading one not blocking, as large as the system lets it be."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    # Over the user's allowance, or not Linux: the default size works, slower.
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, _F_SETPIPE_SZ, _PIPE_SIZE)
    return reading, writing
