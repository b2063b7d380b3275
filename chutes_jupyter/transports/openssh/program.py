"""The `ssh` program of this machine, and what it says of a host: all of its configuration.

`ssh -G` resolves ``~/.ssh/config`` and the system's file with every Match, Include and pattern.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.config import parse_host
from chutes_jupyter.errors import ConnectFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The first version that has all that we use (KnownHostsCommand).
OLDEST = (8, 5)
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
#: For how long an answer of `ssh -G` counts, in seconds: files that are included may change.
_FRESH = 30.0
#: A `Match exec` may run anything.
_PATIENCE = 10.0

Settings = dict[str, list[str]]

_resolved: dict[tuple[object, ...], tuple[float, Settings]] = {}


@dataclass(frozen=True)
class Program:
    """The `ssh` program.

    Parameters
    ----------
    path : str
        Where it lies.
    version : tuple of int
        As it says itself.
    """

    path: str
    version: tuple[int, int]


def find() -> Program | None:
    """Return the `ssh` program on PATH; None where there is none, or no OpenSSH."""
    path = None if sys.platform == "win32" else shutil.which("ssh")
    return _version(path) if path else None


@functools.cache
def _version(path: str) -> Program | None:
    try:
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"OpenSSH_(\d+)\.(\d+)", said.stderr + said.stdout)
    return Program(path, (int(match[1]), int(match[2]))) if match else None


def need() -> Program:
    """Return the `ssh` program.

    Raises
    ------
    ConnectFailed
        If there is none that is new enough.
    """
    found = find()
    oldest = ".".join(map(str, OLDEST))
    if sys.platform == "win32":
        raise ConnectFailed(
            "The transport openssh needs Linux or macOS: ssh on Windows has no control "
            "connection. Take the other one: --transport asyncssh"
        )
    if found is None:
        raise ConnectFailed(
            f"The transport openssh needs the program ssh (OpenSSH {oldest} or newer), and it is "
            "not on PATH. Install it, or take the other transport: --transport asyncssh"
        )
    if found.version < OLDEST:
        version = ".".join(map(str, found.version))
        raise ConnectFailed(
            f"The transport openssh needs OpenSSH {oldest} or newer; {found.path} is {version}. "
            "Take the other transport: --transport asyncssh"
        )
    return found


def person_config() -> Path:
    """Return the path of the person's own configuration; it need not exist."""
    return Path.home() / ".ssh" / "config"


def target(host: str) -> list[str]:
    """Return a worker's host as the arguments that `ssh` takes."""
    address = parse_host(host)
    user = [] if address.user is None else ["-l", address.user]
    port = [] if address.port is None else ["-p", str(address.port)]
    return [*user, *port, "--", address.host]


def jump(name: str) -> str:
    """Return a jump host of ProxyJump as a worker's host is written."""
    return name.strip().removeprefix("ssh://").rstrip("/")


def quoted(path: Path | str) -> str:
    """Return a path as ssh_config writes it."""
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


async def resolve(host: str, *, system: bool = True) -> Settings:
    """Return what `ssh -G` says of a host, by the lower-case names of the settings.

    Parameters
    ----------
    host : str
        As a worker names it.
    system : bool
        Whether the system's file counts, too.

    Raises
    ------
    ConnectFailed
        If the configuration is wrong; the message has ssh's own words.
    """
    key = (host, system, *(_changed(file) for file in (person_config(), SYSTEM_CONFIG)))
    when, found = _resolved.get(key, (0.0, {}))
    if not found or time.monotonic() - when > _FRESH:
        found = await asyncio.to_thread(_ask, host, system=system)
        _resolved[key] = (time.monotonic(), found)
    return found


def _changed(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), status.st_mtime_ns, status.st_size


def _ask(host: str, *, system: bool) -> Settings:
    with tempfile.NamedTemporaryFile("w", prefix="chutes-ssh-", encoding="utf-8") as file:
        file.write("\n".join(included(system=system)) + "\n")
        file.flush()
        command = [need().path, "-G", "-F", file.name, *target(host)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ConnectFailed(f"{host}: ssh can't say how to reach it: {error}") from error
    if done.returncode:
        raise ConnectFailed(f"{host}: the settings for it can't be used: {done.stderr.strip()}")
    found: Settings = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value)
    return found


def included(*, system: bool = True) -> list[str]:
    """Return the lines that bring the person's configuration, and the system's, into a file."""
    files = [person_config(), *([SYSTEM_CONFIG] if system else [])]
    return [f"Include {quoted(file)}" for file in files if file.exists()]


def one(settings: Mapping[str, Sequence[str]], name: str, default: str = "") -> str:
    """Return a setting's first value."""
    return settings.get(name, [default])[0]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment for `ssh`, in which nobody is asked anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SSH_ASKPASS")}
    return {**kept, "SSH_ASKPASS_REQUIRE": "never", **changes}


def known_hosts(settings: Settings) -> list[Path]:
    """Return the known hosts files that count for a host, ours excepted."""
    names = " ".join(
        settings.get("userknownhostsfile", []) + settings.get("globalknownhostsfile", [])
    )
    return [Path(name).expanduser() for name in names.split()]


def key_files(settings: Settings) -> list[Path]:
    """Return the private key files that ssh would try, and that are there."""
    files = []
    for name in settings.get("identityfile", []):
        with contextlib.suppress(OSError, RuntimeError):
            file = Path(name).expanduser()
            if file.is_file():
                files.append(file)
    return files
