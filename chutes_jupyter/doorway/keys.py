"""The keys that open a job's door: the person's own, or one made for the job."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConfigError, SpecError
from chutes_jupyter.models import check_public_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The person's default keys, in the order in which they are taken.
_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEYGEN_PATIENCE = 30.0


def default_key() -> tuple[str, Path] | None:
    """Return the person's default public key and the file of the key itself, if there is one."""
    for name in _DEFAULTS:
        path = Path.home() / ".ssh" / name
        line = _read(path.with_name(f"{name}.pub"))
        # An agent may hold a key whose file is elsewhere.
        if line is not None and (path.exists() or "SSH_AUTH_SOCK" in os.environ):
            return line, path
    return None


def identities(public: Iterable[str]) -> list[Path]:
    """Return the files in ``~/.ssh`` that hold keys whose public parts are given."""
    wanted = {_blob(line) for line in public}
    found = []
    for path in sorted((Path.home() / ".ssh").glob("*.pub")):
        line = _read(path)
        if line is not None and _blob(line) in wanted and path.with_suffix("").exists():
            found.append(path.with_suffix(""))
    return found


def make_key(path: Path, comment: str) -> str:
    """Make a key pair for one job, unless it is there already, and return its public part.

    Raises
    ------
    ConfigError
        If this machine has no ssh-keygen.
    """
    public = path.with_name(f"{path.name}.pub")
    line = _read(public)
    if line is not None and path.exists():
        return line
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise ConfigError(
            "This machine has no ssh-keygen, which makes the key of a job's door: install "
            "OpenSSH's client here (apt install openssh-client)."
        )
    for old in (path, public):
        old.unlink(missing_ok=True)
    words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_KEYGEN_PATIENCE, check=False
    )
    line = _read(public)
    if done.returncode or line is None:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise ConfigError(f"ssh-keygen made no key in {path.parent}: {said}")
    return line


def _read(path: Path) -> str | None:
    """Return the one public key of a file, or None if that is not what it holds."""
    try:
        keys = check_public_keys(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SpecError):
        return None
    return keys[0] if len(keys) == 1 else None


def _blob(line: str) -> str:
    return line.split()[1]
