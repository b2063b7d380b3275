"""The door of a job with ``ssh=True``: what its sessions are like, and how they end.

A job writes down what it has, once it has it; a session (`door`, `session`) is made like that.
Everything lies in the job directory, and is removed when the job has ended.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from typing import Any, Dict, List, Optional

from . import journal, processes
from .journal import JobDir, read_json, write_bytes, write_json

#: What a session finds its way by, beside what the job itself finds.
LABEL, OUTPUT = "CHUTE_JOB_LABEL", "CHUTE_OUTPUT_DIR"

#: How long the end of a job waits for its sessions to be told and closed, in seconds.
_PATIENCE = 3.0


def label_of(job: JobDir, spec: Dict[str, Any]) -> str:
    """Return the id as it is shown: ``train-3f9c2a``."""
    return "%s-%s" % (spec.get("name"), job.id[:6])


def describe(job: JobDir, umask: int) -> None:
    """Write down, in the job's own process, what its sessions are to be like."""
    folder = os.path.dirname(sys.executable)
    for made in (job.door, sessions(job)):
        os.mkdir(made, 0o700)
    path = [folder, *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    own = os.path.join(job.door, "bin")
    if _name_interpreter(own):
        path.insert(0, own)
    firm = {
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "TMPDIR": os.environ["TMPDIR"],
        processes.MARK: job.id,
        OUTPUT: job.output,
    }
    if sys.prefix != sys.base_prefix:
        firm["VIRTUAL_ENV"] = sys.prefix
    told = {"env": dict(os.environ), "firm": firm, "umask": umask}
    write_json(description(job), told)


def description(job: JobDir) -> str:
    """Return the file that says what sessions are like; it is there once there may be any."""
    return os.path.join(job.door, "session.json")


def _name_interpreter(folder: str) -> bool:
    """Let `python` and `python3` mean this interpreter, where they don't beside it."""
    real = os.path.realpath(sys.executable)
    beside = os.path.dirname(sys.executable)
    wrong = [
        name
        for name in ("python", "python3")
        if os.path.realpath(os.path.join(beside, name)) != real
    ]
    if wrong:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in wrong:
        path = os.path.join(folder, name)
        # Not a link: an interpreter finds its environment by the path that it was called by.
        text = '#!/bin/sh\nexec %s "$@"\n' % shlex.quote(sys.executable)
        write_bytes(path, text.encode("utf-8", "surrogateescape"))
        os.chmod(path, 0o700)
    return bool(wrong)


def shut(job: JobDir, state: str) -> None:
    """Tell every session that the job has ended, see them closed, and remove the door."""
    if not os.path.isdir(job.door):
        return
    import shutil  # it takes a while to load, which most jobs need not wait for

    with contextlib.suppress(OSError):  # a full disk: then they end without a word, below
        journal.mark(ended_mark(job), state)
    deadline = time.monotonic() + _PATIENCE
    while _open_sessions(job) and time.monotonic() < deadline:
        time.sleep(0.005)
    # What they left, and whoever's keepers were killed.
    processes.sweep(job.id, None)
    shutil.rmtree(job.door, ignore_errors=True)


def ended_as(job: JobDir) -> Optional[str]:
    """Return how the job has ended, or None while its door is open."""
    if not os.path.exists(ended_mark(job)):
        return None if os.path.isdir(job.door) else "ended"
    try:
        return str(read_json(ended_mark(job)) or "ended")
    except ValueError:  # nothing but the mark had room on the disk
        return "ended"


def farewell(label: str, state: Optional[str]) -> str:
    """Return the words that a job has ended with."""
    how = "" if state in (None, "ended") else " (%s)" % str(state).replace("_", " ")
    return "%s has ended%s" % (label, how)


def ended_mark(job: JobDir) -> str:
    """Return the file that says how the job has ended."""
    return os.path.join(job.door, "ended")


def sessions(job: JobDir) -> str:
    """Return the folder that holds one for each open session."""
    return os.path.join(job.door, "sessions")


def _open_sessions(job: JobDir) -> List[str]:
    try:
        return os.listdir(sessions(job))
    except FileNotFoundError:
        return []
