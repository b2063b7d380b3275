"""Where the job's process was when a signal ended it, as `faulthandler` saw it.

A crash in a C extension leaves no exception, and neither does a function that hangs there until
it is killed. So the process writes the stacks of its threads into a file when it crashes, when it
is interrupted and when it gets SIGTERM, which C code can't put off; the supervisor reads them.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import re
import signal
import sys
import types
from typing import Dict, List, NamedTuple, Optional, Tuple

#: Higher than descriptors that a program uses: who closes it and opens others won't find them
#: written to.
_HIGH = 900
#: How much of the file is read, how much of it is told, and how many threads, at the most.
_READ, _TOLD, _THREADS = 128 * 1024, 20_000, 8
#: So many frames of a thread are looked at while it runs.
_DEEP = 5000
_AGENT = os.path.dirname(os.path.abspath(__file__))
_STDLIB = os.path.dirname(os.path.abspath(os.__file__))
_THREAD = re.compile(r"^(Current thread|Thread) (0x[0-9a-f]+).*\(most recent call first\):$")
_FRAME = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$')
_FATAL = "Fatal Python error:"

_file: Optional[int] = None


def watch(path: str) -> None:
    """From now on, write into a file where this process is when a signal ends it."""
    global _file
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:  # a full disk: the job runs without it, too
        return
    with contextlib.suppress(OSError, ValueError):
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        os.close(fd)
        fd = high
    _file = fd
    faulthandler.enable(fd)
    # Chained: after it has written, the process ends as it would have without.
    faulthandler.register(signal.SIGTERM, fd, True, True)
    os.register_at_fork(after_in_child=_forked)


def note() -> None:
    """Write where every thread is now, in case that this is the last that is heard of them."""
    if _file is not None:
        faulthandler.dump_traceback(_file)


def _forked() -> None:
    """In a process that the function forked: its end is not the job's, but is seen in the log."""
    global _file
    if _file is None:
        return
    faulthandler.unregister(signal.SIGTERM)
    faulthandler.enable(2)
    os.close(_file)
    _file = None


class Fault(NamedTuple):
    """Where the process was: in a few words, and the stacks of its threads."""

    where: str
    text: str


class _Frame(NamedTuple):
    file: str
    line: str
    function: str

    def __str__(self) -> str:
        return "%s (%s, line %s)" % (self.function, self.file, self.line)

    @property
    def person(self) -> bool:
        """Whether it is not the standard library's."""
        packages = os.path.join(_STDLIB, "site-packages")
        library = self.file.startswith(_STDLIB) and not self.file.startswith(packages)
        return not library and not self.file.startswith("<frozen")


class _Thread(NamedTuple):
    lines: List[str]
    current: bool
    #: Innermost first, without the agent's and what called that.
    frames: List[_Frame]
    job: bool


def here(own: int) -> str:
    """Return where the function is right now, in a few words; "" where it waits for something.

    Parameters
    ----------
    own : int
        The thread that asks.
    """
    threads = [_running(frame) for ident, frame in sys._current_frames().items() if ident != own]
    chosen = [thread for thread in threads if thread.job] or threads
    chosen = [thread for thread in chosen if any(frame.person for frame in thread.frames)]
    return _place(chosen[0].frames) if chosen else ""


def _running(frame: Optional[types.FrameType]) -> "_Thread":
    frames: List[_Frame] = []
    while frame is not None and len(frames) < _DEEP:
        code = frame.f_code
        if code.co_filename.startswith(_AGENT):
            break
        frames.append(_Frame(code.co_filename, str(frame.f_lineno), code.co_name))
        frame = frame.f_back
    return _Thread([], False, _without_loop(frames, frame is not None), frame is not None)


def read(path: str) -> Optional[Fault]:
    """Return where a process was that a signal ended, or None where it could not say."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _READ))
            text = file.read(_READ).decode("utf-8", "replace")
    except OSError:
        return None
    fatal, threads = _parse(text)
    # Whoever crashed; else the thread that runs the function, then any other of the person's.
    chosen = [thread for thread in threads if fatal and thread.current and thread.frames]
    chosen += [thread for thread in threads if thread.job and thread not in chosen]
    chosen += [thread for thread in threads if thread not in chosen]
    chosen = [t for t in chosen if any(f.person for f in t.frames) or (fatal and t.current)]
    if not chosen or not chosen[0].frames:
        return None
    lines = [fatal] if fatal else []
    for thread in chosen[:_THREADS]:
        lines += thread.lines
    return Fault(_place(chosen[0].frames), "\n".join(lines)[:_TOLD])


def _place(frames: List[_Frame]) -> str:
    inner = frames[0]
    mine = [frame for frame in frames if frame.file.startswith("In[")]
    mine = mine or [frame for frame in frames if frame.person]
    if not mine or mine[0] is inner:
        return str(inner)[:1000]
    return ("%s, called from %s" % (inner, mine[0]))[:1000]


def _parse(text: str) -> Tuple[str, List[_Thread]]:
    """Return why Python says it ended, and the last that was written of each thread."""
    fatal = ""
    blocks: Dict[str, Tuple[bool, List[str]]] = {}
    lines: List[str] = []
    for line in text.split("\n"):
        match = _THREAD.match(line)
        if line.startswith(_FATAL):
            fatal = line
            blocks.clear()
        elif match:
            lines = [line]
            blocks[match.group(2)] = match.group(1) == "Current thread", lines
        elif _FRAME.match(line):
            lines.append(line)
        else:
            lines = []
    return fatal, [_thread(current, found) for current, found in blocks.values()]


def _thread(current: bool, lines: List[str]) -> _Thread:
    frames: List[_Frame] = []
    for line in lines[1:]:
        match = _FRAME.match(line)
        frame = _Frame(*match.groups()) if match else None
        if frame is None or frame.file.startswith(_AGENT):
            break
        frames.append(frame)
    job = len(frames) + 1 < len(lines)
    frames = _without_loop(frames, job)
    return _Thread(lines[: 1 + len(frames)], current, frames, job)


def _without_loop(frames: List[_Frame], job: bool) -> List[_Frame]:
    """Leave out asyncio's frames between the function and us."""
    while frames and job and not frames[-1].person:
        frames = frames[:-1]
    return frames
