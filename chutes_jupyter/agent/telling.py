"""How far a job is, and its metrics: what ``self.progress`` and ``self.metric`` write down.

`progress.json` holds the newest progress. `metrics.jsonl` only grows, and stays small: of a
metric with very many values every second one is written, then every fourth, and so on, and the
newest one now and then.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from .journal import write_json
from .pacing import Pace

#: After so many written values of a metric only every second of the next ones is written, and
#: after each half of that again.
DENSE = 1000
#: No job has more metrics, no name is longer, and no file of them grows further (in bytes).
MOST_NAMES, LONGEST_NAME, MOST_BYTES = 200, 200, 16 * 1024 * 1024
#: The newest value is written at the latest after such a part of the job's age, and after so
#: many seconds; sooner where no other follows.
_SELDOM, _SILENT, _LEAST = 500.0, 2000.0, 1.0
#: The rate is that between the newest sample and the oldest of so many, so far apart at least.
_SAMPLES, _APART = 20, 0.5
_UNIT, _DESCRIPTION = 40, 200


class Teller:
    """Takes what the job tells of itself, from any of its threads.

    Parameters
    ----------
    progress, metrics : str
        The files.
    notice : callable
        Told, once each, what the person should read.
    """

    def __init__(self, progress: str, metrics: str, notice: Callable[[str], None]) -> None:
        self._progress_path, self._metrics_path = progress, metrics
        self._notice = notice
        self._pace = Pace(self._write)
        self._began = time.monotonic()
        self._progress: Optional[Dict[str, Any]] = None
        self._fresh = False
        self._speed = _Speed()
        self._series: Dict[str, _Series] = {}
        self._lines: List[bytes] = []
        self._size = 0
        #: Whether the job told by itself: what is found without its help counts no more.
        self._told = False
        self._noticed: List[str] = []

    # -- for the job ------------------------------------------------------------------

    def progress(
        self,
        done: Any,
        total: Any = None,
        *,
        unit: Optional[str] = None,
        description: Optional[str] = None,
        **metrics: Any,
    ) -> None:
        """Say how far the job is; the panel shows a bar of it with rate and time left.

        Parameters
        ----------
        done, total : number
            How many units are done, and of how many.
        unit, description : str, optional
            What is counted, and what is being done.
        **metrics
            Numbers that belong to it; each becomes a chart, as with `metric`.

        Raises
        ------
        TypeError, ValueError
            If one of them is no number, or `done` or `total` can't be.
        """
        if self._pace.foreign:
            return
        count, whole = _count("done", done), None if total is None else _count("total", total)
        labels = _label("unit", unit, _UNIT), _label("description", description, _DESCRIPTION)
        values = {_name(name): _number(name, value) for name, value in metrics.items()}
        with self._pace.lock:
            self._told = True
            rate = self._speed.of(count, (whole, labels), time.monotonic())
            self._set(count, whole, labels, values, rate, True)

    def metric(self, name: str, value: Any, step: Any = None) -> None:
        """Give a number that becomes a chart in the panel.

        Parameters
        ----------
        name : str
            What it is.
        value : number
            Also one of NumPy or a tensor of one; it may be infinite or nan.
        step : number, optional
            Where on the chart; by default which value it is, from 0 on.

        Raises
        ------
        TypeError, ValueError
            If the name is no text, or the value or step no number.
        """
        if self._pace.foreign:
            return
        name, number = _name(name), _number(name, value)
        where = None if step is None else _finite("step", step)
        with self._pace.lock:
            self._add(name, number, where, time.time())
            self._pace.noted()

    # -- for what is found without its help -------------------------------------------

    def found(
        self,
        done: float,
        total: Optional[float],
        labels: Tuple[Optional[str], Optional[str]],
        metrics: Dict[str, float],
        new: bool,
        rate: Optional[float],
    ) -> None:
        """Take the progress of a bar that the job draws, unless it tells by itself."""
        if self._pace.foreign:
            return
        with self._pace.lock:
            if not self._told:
                short = _short(labels[0], _UNIT), _short(labels[1], _DESCRIPTION)
                self._set(done, total, short, metrics, rate, new)

    def finish(self) -> None:
        """Write what is left, at the end of the job."""
        if self._pace.foreign:
            return
        with self._pace.lock:
            for name, series in self._series.items():
                if series.pending:
                    self._keep(name, series)
        self._pace.finish()

    # -- inside -----------------------------------------------------------------------

    def _set(
        self,
        done: float,
        total: Optional[float],
        labels: Tuple[Optional[str], Optional[str]],
        metrics: Dict[str, float],
        rate: Optional[float],
        new: bool,
    ) -> None:
        now = time.time()
        left = None
        if rate and total is not None:
            left = max(0.0, total - done) / rate
        for name, value in metrics.items() if new else ():
            self._add(name, value, done, now)
        self._progress = {
            "done": done,
            "total": total,
            "unit": labels[0],
            "description": labels[1],
            "rate": rate,
            "seconds_left": left,
            "metrics": dict(list(metrics.items())[:MOST_NAMES]),
            "at": now,
        }
        self._fresh = True
        self._pace.noted()

    def _add(self, name: str, value: float, step: Optional[float], now: float) -> None:
        series = self._series.get(name)
        if series is None:
            if len(self._series) >= MOST_NAMES:
                self._say(
                    "a job has at most %d metrics: %r and others are not kept"
                    % (MOST_NAMES, name[:40])
                )
                return
            series = self._series[name] = _Series()
        if series.add(value, step, now):
            self._keep(name, series)

    def _keep(self, name: str, series: "_Series") -> None:
        step, value, at = series.take()
        point = {"name": name, "step": step, "value": value, "t": round(at, 3)}
        self._lines.append(json.dumps(point, separators=(",", ":")).encode("ascii") + b"\n")

    def _write(self, now: float) -> Optional[float]:
        age = now - self._began
        waiting = False
        for name, series in self._series.items():
            if series.pending:
                if series.due(age, time.time()):
                    self._keep(name, series)
                else:
                    waiting = True
        try:
            self._write_lines()
            if self._fresh and self._progress is not None:
                write_json(self._progress_path, self._progress)
                self._fresh = False
        except OSError as error:
            # It is no job's end that this can't be written down.
            self._lines.clear()
            self._fresh = False
            self._say("progress and metrics were not written: %s" % error)
        return max(_LEAST, age / _SILENT) if waiting else None

    def _write_lines(self) -> None:
        data, self._lines = b"".join(self._lines), []
        if not data:
            return
        if self._size + len(data) > MOST_BYTES:
            self._say("the metrics are more than %d MiB: no more are kept" % (MOST_BYTES >> 20))
            return
        fd = os.open(
            self._metrics_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            if os.write(fd, data) != len(data):
                os.ftruncate(fd, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        self._size += len(data)

    def _say(self, message: str) -> None:
        if message not in self._noticed and len(self._noticed) < 3:
            self._noticed.append(message)
            self._notice(message)


class _Series:
    """The values of one metric, of which some are written."""

    def __init__(self) -> None:
        self._count = 0
        self._stride, self._kept = 1, 0
        self._last = (0.0, 0.0, 0.0)
        self._written = 0.0
        #: Whether the newest value is not written.
        self.pending = False

    def add(self, value: float, step: Optional[float], now: float) -> bool:
        """Take a value, and say whether it is to be written."""
        index, self._count = self._count, self._count + 1
        self._last = (float(index) if step is None else step, value, now)
        self.pending = True
        if index % self._stride:
            return False
        self._kept += 1
        if self._kept >= DENSE:
            self._kept, self._stride = DENSE // 2, self._stride * 2
        return True

    def take(self) -> Tuple[float, float, float]:
        """Return the newest value, which is written now."""
        self.pending, self._written = False, self._last[2]
        return self._last

    def due(self, age: float, now: float) -> bool:
        """Whether the newest value should be written although it is not its turn."""
        since, silent = now - self._written, now - self._last[2]
        return since >= max(_LEAST, age / _SELDOM) or silent >= max(_LEAST, age / _SILENT)


class _Speed:
    """Units a second, of late."""

    def __init__(self) -> None:
        self._kind: Any = None
        self._samples: Deque[Tuple[float, float]] = deque(maxlen=_SAMPLES)

    def of(self, done: float, kind: Any, now: float) -> Optional[float]:
        """Return the rate now that so much is done; another `kind` begins anew."""
        samples = self._samples
        if kind != self._kind or (samples and done < samples[-1][1]):
            self._kind = kind
            samples.clear()
        if not samples:
            samples.append((now, done))
            return None
        began, before = samples[0]
        rate = (done - before) / (now - began) if now > began else None
        if now - samples[-1][0] >= _APART:
            samples.append((now, done))
        return rate or None


def _number(name: str, value: Any) -> float:
    """Return a number of any library as Python's."""
    try:
        if isinstance(value, (int, float)):
            return float(value)
        # A tensor with a gradient warns when float() is asked.
        item = value.item() if hasattr(value, "item") else value
        if isinstance(item, (str, bytes)):
            raise TypeError("a text")
        return float(item)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise TypeError(
            "%s must be one number, not %.80r (%s)" % (name, value, type(value).__name__)
        ) from error


def _finite(name: str, value: Any) -> float:
    number = _number(name, value)
    if not math.isfinite(number):
        raise ValueError("%s must be a finite number, not %r" % (name, number))
    return number


def _count(name: str, value: Any) -> float:
    number = _finite(name, value)
    if number < 0:
        raise ValueError("%s must not be negative, but is %r" % (name, value))
    return number


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("a metric's name must be a text, not %.80r" % (name,))
    if not 0 < len(name) <= LONGEST_NAME:
        raise ValueError("a metric's name has 1 to %d characters: %.80r" % (LONGEST_NAME, name))
    # What is no text in a file (a lone surrogate) is in none.
    return name.encode("utf-8", "replace").decode("utf-8")


def _label(name: str, text: Any, most: int) -> Optional[str]:
    if text is not None and not isinstance(text, str):
        raise TypeError("%s must be a text, not %.80r" % (name, text))
    return _short(text, most)


def _short(text: Optional[str], most: int) -> Optional[str]:
    return text[:most] if text else None
