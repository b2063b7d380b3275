"""`ssh`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from chutes_jupyter.commands.surroundings import Surroundings


def open_shell(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Become `ssh` to a running job; in a notebook, which has no terminal, show how."""
    from chutes_jupyter.job import attach, close_client

    job = attach(arguments.job, mirror=False)
    if here.in_notebook:
        here.say(job.ssh_command)
        return
    words = [*job.ssh_words, *arguments.command]
    close_client()  # ssh makes its own way to the worker
    try:
        if sys.platform == "win32":
            sys.exit(subprocess.run(words, check=False).returncode)
        os.execvp(words[0], words)  # noqa: S606 - so that keys and signals are ssh's own
    except FileNotFoundError as error:
        raise ConfigError(
            "This machine has no ssh program: install OpenSSH's client (apt install "
            "openssh-client)."
        ) from error
