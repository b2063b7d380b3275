"""What a login would ask a person for: a key file's passphrase, or what the host wants to know."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Where OpenSSH, and so asyncssh, looks if no file is named.
DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
_MAGIC = b"openssh-key-v1\0"
_HEAD = 4096


def asked_for(methods: Iterable[str], files: Iterable[Path]) -> str | None:
    """Return what a person would have to type for a login that was refused; None for nothing.

    Parameters
    ----------
    methods : iterable of str
        The methods of login that the host offered, by their names in the protocol.
    files : iterable of Path
        The key files that were tried.
    """
    for file in locked(files):
        return f"the passphrase of {file}"
    offered = set(methods)
    if "keyboard-interactive" in offered:
        return "a password or a code"
    return "a password" if "password" in offered else None


def locked(files: Iterable[Path]) -> list[Path]:
    """Return the files that ask for a passphrase."""
    return [file for file in files if _is_locked(file)]


def _is_locked(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    first, _, rest = head.partition(b"\n")
    if b"OPENSSH PRIVATE KEY" not in first:
        return b"ENCRYPTED" in head  # PEM and PKCS#8 say it in words
    try:
        data = base64.b64decode(b"".join(rest.split()[:2]), validate=True)
        size = struct.unpack_from(">I", data, len(_MAGIC))[0]
    except (binascii.Error, struct.error):
        return False
    start = len(_MAGIC) + 4
    return data.startswith(_MAGIC) and data[start : start + size] != b"none"
