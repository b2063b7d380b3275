"""The peer of the cases: OpenSSH's own client over a master connection."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


class OpenSSH:
    """`ssh` and `scp` that share one connection (ControlMaster).

    Parameters
    ----------
    host : str
        What to connect to, as `ssh` takes it.
    options : sequence of str
        Options that `ssh` and `scp` both take.
    control : Path
        Where the control socket lies; a short path.
    """

    def __init__(self, host: str, options: Sequence[str], control: Path) -> None:
        self._host = host
        self._options = [*options, "-o", f"ControlPath={control}", "-o", "BatchMode=yes"]

    def __enter__(self) -> OpenSSH:
        """Open the master connection, and return when it stands."""
        master = ["ssh", *self._options, "-o", "ControlMaster=yes", "-fN", self._host]
        subprocess.run(master, check=True, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        close = ["ssh", *self._options, "-O", "exit", self._host]
        subprocess.run(close, check=True, stderr=subprocess.DEVNULL)

    def first_byte(self, command: Sequence[str]) -> float:
        """Return the seconds from starting `ssh` to the command's first byte."""
        began = time.perf_counter()
        with subprocess.Popen(self._ssh(command), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read(1)
            return time.perf_counter() - began

    def to_null(self, command: Sequence[str]) -> float:
        """Return the seconds until the command ended, its output thrown away."""
        return _timed(self._ssh(command))

    def copy(self, source: Path, target: Path) -> float:
        """Return the seconds that `scp` takes to bring a file here."""
        return _timed(["scp", "-q", *self._options, f"{self._host}:{source}", str(target)])

    def _ssh(self, command: Sequence[str]) -> list[str]:
        return ["ssh", *self._options, self._host, shlex.join(command)]


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
