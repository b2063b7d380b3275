"""What ``!command`` and ``%time`` in a cell do on the worker; see the client's `shelllines`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Callable, Iterator, List, Tuple, Union

#: A text, or an expression.
Part = Union[str, Callable[[], Any]]

_clocks: List[Tuple[float, float, float]] = []


def run(whole: str, *parts: Part) -> None:
    """Run a command; what it prints goes to the log as it comes."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    subprocess.run([*_shell(), _command(whole, parts)], check=False)


def lines(whole: str, *parts: Part) -> List[str]:
    """Run a command and return the lines that it prints; its errors are among them."""
    command = [*_shell(), _command(whole, parts)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode("utf-8", "replace").splitlines()


def pip(whole: str, *parts: Part) -> None:
    """Run pip for this interpreter, whatever is first on the path."""
    command = "%s -m pip " % _quoted(sys.executable)
    run(command + whole, command, *(parts or (whole,)))


def _shell() -> List[str]:
    # Not the login's own: that may be one with another language.
    return [shutil.which("bash") or "/bin/sh", "-c"]


def _quoted(text: str) -> str:
    return "'%s'" % text.replace("'", "'\\''")


def _command(whole: str, parts: Tuple[Part, ...]) -> str:
    """Return a command with its values; as it is written, if one of them can't be had."""
    try:
        found = [part if isinstance(part, str) else str(part()) for part in parts]
    except Exception:  # noqa: BLE001  # then the braces are the shell's
        return whole
    return "".join(found) if parts else whole


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Print how long a statement took, unless it raises."""
    begin = _now()
    yield
    _tell(begin)


def start() -> None:
    """Begin to time the whole cell."""
    _clocks.append(_now())


def stop() -> None:
    """Print how long the cell took, if that is to be timed."""
    while _clocks:
        _tell(_clocks.pop())


def _now() -> Tuple[float, float, float]:
    times = os.times()
    return times.user, times.system, time.perf_counter()


def _tell(begin: Tuple[float, float, float]) -> None:
    user, system, wall = (after - before for after, before in zip(_now(), begin))
    print(  # noqa: T201  # its purpose
        "CPU times: user %s, sys: %s, total: %s\nWall time: %s"
        % (_span(user), _span(system), _span(user + system), _span(wall))
    )


def _span(seconds: float) -> str:
    """Return a time as IPython writes it: ``1.5 ms``, ``2min 3s``."""
    if seconds >= 60:
        minutes, rest = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return ("%dh " % hours if hours else "") + "%dmin %ds" % (minutes, rest)
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "μs")):
        if seconds * factor >= 1:
            return "%.3g %s" % (seconds * factor, unit)
    return "%.3g ns" % (seconds * 1e9)
