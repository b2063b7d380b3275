"""A real Jupyter server in a process of its own: started and ended in one way for all tests."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: How long it may take to be there, and to end, in seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    url: str
    port: int
    token: str
    log: Path


@contextlib.contextmanager
def jupyter(
    program: str,
    env: Mapping[str, str],
    *options: str,
    root: Path,
    log: Path,
    python: str = sys.executable,
) -> Iterator[Running]:
    """Run one on a free port of 127.0.0.1, with a token of its own.

    Parameters
    ----------
    program : str
        ``jupyterlab`` or ``jupyter_server``.
    env : mapping of str to str
        Its whole environment; its ``JUPYTER_RUNTIME_DIR`` is no other server's.
    options : str
        More of its command line.
    root : Path
        What it shows, and where it runs.
    log : Path
        What takes what it says.
    python : str
        What it runs on.
    """
    token = secrets.token_hex(16)
    command = [
        python, "-m", program, "--no-browser", "--allow-root",
        "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}", *options,
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=root, env=env, stdout=out, stderr=out)
    try:
        found = _found(process, Path(env["JUPYTER_RUNTIME_DIR"]), log)
        yield Running(process, str(found["url"]), int(str(found["port"])), token, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"Jupyter did not end:\n{log.read_text()[-3000:]}") from None


def _found(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> dict[str, object]:
    """Return what a server says of itself, once it is there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json") if runtime.exists() else ():
            with contextlib.suppress(OSError, ValueError):
                found: dict[str, object] = json.loads(file.read_text())
                # It says so before it takes connections.
                socket.create_connection(("127.0.0.1", int(str(found["port"])))).close()
                return found
        time.sleep(0.05)
    raise AssertionError(f"Jupyter did not start:\n{log.read_text()[-3000:]}")
