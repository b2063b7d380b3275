"""Private key files: which of them can't be used without a passphrase."""

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
