"""A small file system of a test's own, in a private namespace: nothing is mounted outside."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.agent.rig import Agent


def wrapper(script: Path, mount: Path, size: str, python: str = sys.executable) -> str:
    """Write a program that is `python`, for which `mount` is an empty file system of `size`."""
    mount.mkdir(parents=True, exist_ok=True)
    private = "unshare -m" if os.getuid() == 0 else "unshare -Urm"
    inner = f"mount -t tmpfs -o size={size},mode=700 none {shlex.quote(str(mount))}"
    script.write_text(
        f'#!/bin/sh\nexec {private} sh -c \'{inner} && exec "$0" "$@"\' {python} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@contextlib.contextmanager
def agent_on(folder: Path, size: str) -> Iterator[Agent]:
    """Run an agent whose jobs lie on a disk of that size."""
    root = folder / "root"
    running = Agent(root, wrapper(folder / "python", root / "jobs", size))
    try:
        yield running
    finally:
        running.close()


def seen_by(agent: Agent, path: Path | str) -> Path:
    """Return where what the agent sees at `path` is seen from outside its namespace."""
    return Path(f"/proc/{agent.process.pid}/root{path}")
