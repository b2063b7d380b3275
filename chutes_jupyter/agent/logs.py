"""The log of a job: both streams in order of arrival, and an index of who wrote what when.

A log may have a limit. The first half of it stays in the file `log`; what comes later goes to
segments, `log.FIRST_BYTE`, of which the newest are kept. Offsets are always those of the whole
stream as it was printed, also behind the gap that this leaves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import time
from typing import Callable, List, NamedTuple, Optional, Tuple

from . import space
from .journal import JobDir, read_piece

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
#: The tail has so many segments, each so small a part of the limit.
_SEGMENTS, _PART = 4, 8
#: The index of a part of the log has at most such a share of its size, and may have so much.
_INDEX_SHARE, _INDEX_LEAST = 16, 4096
#: What the end of a log may still take when the disk is full, in bytes.
_LAST_WORDS = 64 * 1024
#: How much of a log a job that was killed says once more: bytes, and lines.
_WORDS, _LINES = 4096, 10
_SEGMENT = re.compile(r"log\.([0-9]{20})\Z")


def _segment(job: JobDir, start: int) -> str:
    return "%s.%020d" % (job.log, start)


def index_of(path: str) -> str:
    """Return the path of the index that belongs to a file of the log."""
    return path + ".idx"


class LogWriter:
    """Appends what the job printed; only the supervisor has one.

    Parameters
    ----------
    limit : int, optional
        The most bytes that are kept.
    on_limit : callable, optional
        Told, once, what is kept of a log that is over its limit.
    """

    def __init__(
        self,
        job: JobDir,
        limit: Optional[int] = None,
        on_limit: Optional[Callable[[str], object]] = None,
    ) -> None:
        self._job, self._limit, self._on_limit = job, limit, on_limit
        self._segments: List[int] = []
        self._log, self._index = -1, -1
        #: How much was printed.
        self.size = 0
        self._open(job.log, None if limit is None else limit // 2)
        self._stream = 0
        self._stamped = 0.0
        self._left = memoryview(b"")
        self._last_words: Optional[int] = None

    def _open(self, path: str, length: Optional[int]) -> None:
        """Go on in another file, which takes `length` bytes."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        log = os.open(path, flags, 0o600)
        index = os.open(index_of(path), flags, 0o600)
        self.close()
        self._log, self._index = log, index
        self._border = float("inf") if length is None else self.size + length
        self._index_room = float("inf")
        if length is not None:
            self._index_room = max(length // _INDEX_SHARE, _INDEX_LEAST)

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
        self._left = memoryview(data)
        try:
            if stream != self._stream or now - self._stamped >= _STEP:
                self._stamp(stream, now)
            while self.size + len(self._left) > self._border:
                self._write(int(self._border) - self.size)
                self._rotate()
                self._stamp(stream, now)
            self._write(len(self._left))
        except OSError as error:
            if self._last_words is None or not space.is_full(error):
                raise
            self._last_words = 0  # nothing more: what follows would follow on something else

    def _write(self, count: int) -> None:
        """Write so many of the bytes that are left."""
        if self._last_words is not None:
            count = max(0, min(count, self._last_words - self.size))
            self._left = self._left[:count]
        end = self.size + count
        while self.size < end:
            written = os.write(self._log, self._left[: end - self.size])
            self._left = self._left[written:]
            self.size += written

    def _stamp(self, stream: int, now: float) -> None:
        self._index_room -= RECORD.size
        if self._index_room < 0:
            return  # what follows counts as more of the same
        written = os.write(self._index, RECORD.pack(self.size, stream, now))
        if written != RECORD.size:
            whole = os.fstat(self._index).st_size - written
            os.ftruncate(self._index, whole)
        self._stream, self._stamped = stream, now

    def _rotate(self) -> None:
        """Begin a new segment, and drop the oldest if there are enough."""
        if self._limit is None:
            return
        if len(self._segments) == _SEGMENTS:
            oldest = _segment(self._job, self._segments.pop(0))
            # The file first: an index without one says nothing wrong.
            os.unlink(oldest)
            os.unlink(index_of(oldest))
            self._tell_limit()
        self._segments.append(self.size)
        self._open(_segment(self._job, self.size), max(1, self._limit // _PART))

    def _tell_limit(self) -> None:
        told, self._on_limit = self._on_limit, None
        if told is not None and self._limit is not None:
            told(
                "the log is over its limit of %s bytes (log_limit): its first %s bytes and "
                "its newest, at least %s, are kept"
                % tuple(
                    f"{size:,}" for size in (self._limit, self._limit // 2, self._limit * 3 // 8)
                )
            )

    def end_soon(self) -> None:
        """Take, from now on, only so much more as there is room for, and not much."""
        self._last_words = self.size + _LAST_WORDS
        self.add(bytes(self._left), self._stream)

    def close(self) -> None:
        """Close both files."""
        for fd in (self._log, self._index):
            if fd >= 0:
                os.close(fd)
        self._log = self._index = -1


class Piece(NamedTuple):
    """A part of a log: `skipped` bytes from `offset` on are gone, `data` follows them."""

    offset: int
    skipped: int
    data: bytes
    size: int


def _parts(job: JobDir) -> List[Tuple[int, str]]:
    """Return the files of a log, each with the offset of its first byte, in order."""
    found = [_SEGMENT.match(name) for name in os.listdir(job.path)]
    starts = sorted(int(match.group(1)) for match in found if match)
    return [(0, job.log)] + [(start, _segment(job, start)) for start in starts]


def _length(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def read(job: JobDir, offset: int, limit: int) -> Piece:
    """Return up to `limit` bytes of a log from `offset` on."""
    while True:
        piece = _try_to_read(job, offset, None, limit)
        if piece is not None:
            return piece


def read_tail(job: JobDir, tail: int, limit: int) -> Piece:
    """Return the last `tail` bytes of a log; what lies before a gap is no part of its tail."""
    while True:
        piece = _try_to_read(job, 0, tail, limit)
        if piece is not None:
            return piece


def last_words(job: JobDir) -> str:
    """Return the last lines of a log, for who sees nothing else of it; "" where it is empty."""
    text = read_tail(job, _WORDS, _WORDS).data.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()][-_LINES:]
    return "The last lines of its log:\n  %s" % "\n  ".join(lines) if lines else ""


def _try_to_read(job: JobDir, offset: int, tail: Optional[int], limit: int) -> Optional[Piece]:
    """Read once; None if a segment was dropped meanwhile."""
    parts = _parts(job)
    lengths = [_length(path) for _, path in parts]
    if lengths[0] is None:
        return Piece(offset, 0, b"", 0)  # nothing was printed yet
    if None in lengths:
        return None
    ends = [start + (length or 0) for (start, _), length in zip(parts, lengths)]
    size = ends[-1]
    if tail is not None:
        offset = max(0, size - tail)
        if len(parts) > 1 and ends[0] < parts[1][0] and offset < parts[1][0]:
            offset = ends[0]
    skipped = 0
    data: List[bytes] = []
    at = offset
    for (start, path), end in zip(parts, ends):
        if at >= end or limit <= 0:
            continue
        if at < start:
            if data:
                break  # the gap is told at the head of a piece
            skipped, at = start - at, start
        piece, found = read_piece(path, at - start, min(limit, end - at))
        if found == 0:
            return None
        data.append(piece)
        at += len(piece)
        limit -= len(piece)
    return Piece(offset, skipped, b"".join(data), size)


def read_index(job: JobDir, record: int, limit: int) -> Tuple[int, bytes]:
    """Return how many records the index has, and `limit` of them from number `record` on.

    Of a log over its limit they are counted as far as they are there.
    """
    skip, left = record * RECORD.size, limit * RECORD.size
    total = 0
    data: List[bytes] = []
    for _, path in _parts(job):
        size = _length(index_of(path)) or 0
        size -= size % RECORD.size
        piece, _ = read_piece(index_of(path), skip, min(left, max(0, size - skip)))
        data.append(piece)
        left -= len(piece)
        skip = max(0, skip - size)
        total += size
    return total // RECORD.size, b"".join(data)


def open_pipe() -> Tuple[int, int]:
    """Return a pipe's ends, the reading one not blocking, as large as the system lets it be."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    # Over the user's allowance, or not Linux: the default size works, slower.
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, _F_SETPIPE_SZ, _PIPE_SIZE)
    return reading, writing
