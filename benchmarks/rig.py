"""A worker over OpenSSH's own sshd on a loopback port, whose interpreter is this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chutes_jupyter.config import Worker, Workers
from tests.sshd import Sshd

NAME = "bench"


@contextmanager
def worker_over_sshd(folder: Path) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Start an sshd, and name it in a home of its own.

    Yields the worker's name, the host as `ssh` takes it, and `ssh`'s options for it.
    """
    home = folder / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    os.environ["HOME"] = str(home)
    os.environ.pop("SSH_AUTH_SOCK", None)
    server = Sshd.start()
    try:
        known_hosts = home / ".ssh" / "known_hosts"
        known_hosts.write_text(server.known_hosts_line)
        config = home / ".ssh" / "config"
        config.write_text(server.config(NAME, known_hosts))
        worker = Worker(NAME, host=NAME, python=sys.executable, dir=str(folder / "worker"))
        Workers.load().add(worker)
        yield NAME, NAME, ["-F", str(config)]
    finally:
        server.remove()
