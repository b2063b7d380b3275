"""A warm interpreter that new jobs are forked from, so that a job starts in milliseconds.

One per interpreter and environment, kept by `serve`. It has loaded everything that a job's
process needs and has no threads. For each job it forks a detached supervisor, which forks
the guardian, which forks the job's process; that one unwinds to the top of this module and
runs the function there, as a program of its own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any, Dict, List, Optional, Sequence

from . import execute, supervise, warden
from .guardian import BecomeJob
from .journal import JobDir
from .logind import Logout

# The folder that it is started in is the person's home: a file there with the name of a module
# of Python's own must not be taken for that one.
_BEGIN = (
    "import sys;here=sys.path[:1]==[''];sys.path[:here]=[sys.argv[1]];"
    "from chutes_jupyter.agent.template import main;main(here)"
)
#: What an answer begins with: before it there may be what the interpreter's own start-up files
#: (`sitecustomize`, a wrapper around it) print.
_ANSWER = b"\0chutes-template:"

#: What a kernel or an IDE set for itself, and what would only confuse a job.
_NOT_FOR_JOBS = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "PYDEVD_USE_FRAME_EVAL", "CLICOLOR")


class TemplateDied(Exception):
    """The warm interpreter could not be started, or has ended."""


def environment(extra: Dict[str, str]) -> Dict[str, str]:
    """Return the environment of a worker's jobs: this process's, and what was configured."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_JOBS}
    if "inline" in kept.get("MPLBACKEND", ""):
        del kept["MPLBACKEND"]  # the kernel's own; a job has no kernel to draw in
    return {**kept, **extra}


class Template:
    """The side of `serve`: starts the warm interpreter and asks it for jobs.

    Parameters
    ----------
    executable : str
        The interpreter of the jobs.
    env : dict
        What the worker's configuration adds to the environment of its jobs.
    code : str
        The folder that holds the agent's package.
    prefix : list of str
        A command that runs the interpreter where its processes stay after a logout.
    """

    def __init__(
        self, executable: str, env: Dict[str, str], code: str, prefix: Sequence[str] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [*prefix, executable, "-c", _BEGIN, code, "%o" % supervise.person_umask],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(env),
        )
        self._asks: IO[bytes] = self._process.stdin  # type: ignore[assignment]  # both are
        self._answers: IO[bytes] = self._process.stdout  # type: ignore[assignment]  # pipes

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def launch(self, job: JobDir, notice: Optional[str] = None) -> Dict[str, Any]:
        """Start a job's supervisor, and return what `warden.launch` returned.

        Parameters
        ----------
        notice : str, optional
            What the person should read about this job.

        Raises
        ------
        TemplateDied
            If the interpreter has ended; whether the job was started, its lock tells.
        """
        ask = json.dumps({"root": job.root, "job": job.id, "notice": notice}).encode("ascii")
        try:
            self._asks.write(ask + b"\n")
            self._asks.flush()
            answer = b""
            while not answer:
                line = self._answers.readline()
                if not line:
                    code = self._process.wait()
                    raise TemplateDied("the interpreter ended with exit code %d" % code)
                answer = line.partition(_ANSWER)[2]
        except OSError as error:
            raise TemplateDied(str(error)) from error
        reply: Dict[str, Any] = json.loads(answer.decode("utf-8"))
        return reply

    def close(self) -> None:
        """Let the interpreter end."""
        for pipe in (self._asks, self._answers):
            with contextlib.suppress(OSError):  # it has died with a question unread
                pipe.close()
        self._process.wait()


class Templates:
    """The warm interpreters of one `serve`."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._warm: Dict[str, Template] = {}
        self.logout = Logout()

    def get(self, executable: str, env: Dict[str, str]) -> Template:
        """Return the warm interpreter for jobs of this kind, started if need be."""
        key = json.dumps([executable, env], sort_keys=True)
        found: Optional[Template] = self._warm.get(key)
        if found is None or not found.alive:
            prefix = self.logout.prefix
            found = self._warm[key] = Template(executable, env, self._code, prefix)
        return found

    def close(self) -> None:
        """Let every interpreter end; jobs go on."""
        for template in self._warm.values():
            template.close()
        self.logout.close()


def main(here: bool) -> None:
    """Fork a supervisor for each job that standard input names, until it ends.

    Parameters
    ----------
    here : bool
        Whether jobs find modules in their working folder, as with any ``python -c``.
    """
    code, umask = sys.argv[1:3]
    supervise.person_umask = int(umask, 8)
    # What was printed by now is no job's; each would have a copy of it in its log.
    sys.stdout.flush()
    # Found last, so that it can't hide a module of the person's.
    sys.path.remove(code)
    sys.path.append(code)
    try:
        _serve()
    except BecomeJob as job:
        # Out of the handler, so that the job's own errors have no foreign context.
        become = job.become
    else:
        return
    if here:
        sys.path.insert(0, "")
    execute.main(*become())


def _serve() -> None:
    gc.collect()
    gc.freeze()  # shared pages stay shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens leave no zombies here
    lines: List[bytes] = []
    rest = b""
    while True:
        while not lines:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
        ask = json.loads(lines.pop(0).decode("ascii"))
        if threading.active_count() > 1:
            raise RuntimeError("a thread was started in the template; forking is not safe")
        reply = warden.launch(JobDir(ask["root"], ask["job"]), ask["notice"])
        os.write(1, _ANSWER + json.dumps(reply).encode("ascii") + b"\n")
