"""What a session in a job begins with: the job's directory, environment and interpreter.

sshd runs this in place of the person's shell, which it becomes.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from typing import Dict, List, NoReturn, Tuple

from .doors import LABEL, OUTPUT, description, label_of
from .journal import JobDir, read_json, write_bytes

#: What a session has of its own.
_OWN = ("TERM", "SHELL", "USER", "LOGNAME", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY")
#: What another login of the same person left in the job's environment.
_FOREIGN = ("SSH_AUTH_SOCK", "SSH_ORIGINAL_COMMAND", "OLDPWD", "PWD", "ENV", "ZDOTDIR", *_OWN)


def main(path: str, terminals: bool = True) -> NoReturn:
    """Become the person's shell, or the command that came along.

    Parameters
    ----------
    path : str
        The job directory.
    terminals : bool
        Whether sshd can give any on this worker.
    """
    jobs, job_id = os.path.split(path)
    job = JobDir(os.path.dirname(jobs), job_id)
    told = read_json(description(job))
    if told is None:
        sys.exit("the job has ended")
    spec = job.read_spec()
    # As the job has them: it may have been given other GPUs than the worker's jobs in general.
    named = {name: told["env"][name] for name in spec.get("env") or {} if name in told["env"]}
    firm = {**named, **told["firm"], LABEL: label_of(job, spec)}
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    shell = os.environ.get("SHELL") or "/bin/sh"
    env = {name: value for name, value in told["env"].items() if name not in _FOREIGN}
    env.update({name: os.environ[name] for name in _OWN if name in os.environ})
    env.update(firm)
    env.setdefault("HOME", os.path.expanduser("~"))
    os.umask(told["umask"])
    os.chdir(job.work)
    if command is None:
        words, more = _interactive(shell, os.path.dirname(os.path.abspath(sys.argv[0])), job, firm)
        _greet(firm, terminals)
    else:
        words, more = [shell, "-c", command], {}
        if os.path.basename(shell) == "bash":
            # A first bash below sshd reads ~/.bashrc, which may change what was set here.
            more = {"SHLVL": "1"}
    env.update(more)
    os.execve(shell, words, env)  # noqa: S606 - the person's shell itself


def _greet(firm: Dict[str, str], terminals: bool) -> None:
    if not terminals:
        sys.stderr.write(
            "This worker gives an ordinary user no terminal: its /dev/pts is mounted without "
            "gid=5. The shell works without one: no job control, no editors.\n"
        )
    elif os.isatty(2):
        words = "%s on %s: outputs in $%s; this session ends with the job.\n"
        sys.stderr.write(words % (firm[LABEL], socket.gethostname(), OUTPUT))


def _interactive(
    shell: str, folder: str, job: JobDir, firm: Dict[str, str]
) -> Tuple[List[str], Dict[str, str]]:
    """Return how to start a shell so that its start-up files don't undo what is set here.

    Parameters
    ----------
    folder : str
        Where files of the session may be written.
    firm : dict
        What must be so in the shell.
    """
    name = os.path.basename(shell)
    lines = ["export %s=%s" % (key, shlex.quote(value)) for key, value in sorted(firm.items())]
    lines += ["cd %s" % shlex.quote(job.work)]
    prompt = 'PS1="(%s) $PS1"' % firm[LABEL]
    home = "${HOME:-/nonexistent}"
    if name == "bash":
        path = _write(folder, "bashrc", _source(home + "/.bashrc"), *lines, prompt)
        return [shell, "--rcfile", path, "-i"], {}
    if name == "zsh":
        _write(folder, ".zshenv", _source(home + "/.zshenv"))
        own = "ZDOTDIR=%s" % home
        _write(folder, ".zshrc", own, _source(home + "/.zshrc"), *lines, prompt)
        return [shell, "-i"], {"ZDOTDIR": folder}
    if name == "fish":
        sets = ["set -gx %s %s" % (key, _fish(value)) for key, value in sorted(firm.items())]
        return [shell, "-C", "; ".join([*sets, "cd %s" % _fish(job.work)])], {}
    if name in ("sh", "dash", "ash", "ksh", "mksh"):
        return [shell, "-i"], {"ENV": _write(folder, "shrc", *lines, prompt)}
    return [shell], {}


def _source(path: str) -> str:
    return '[ -r "%s" ] && . "%s"' % (path, path)


def _fish(value: str) -> str:
    return "'%s'" % value.replace("\\", "\\\\").replace("'", "\\'")


def _write(folder: str, name: str, *lines: str) -> str:
    path = os.path.join(folder, name)
    write_bytes(path, "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))
    return path
