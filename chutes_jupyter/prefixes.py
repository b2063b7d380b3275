"""The path of a job's port in the Jupyter server, for where its tab has no host of its own.

An app that writes absolute addresses must know that path when it starts, so whoever submits a
job must know it, and the Jupyter server when it opens the tab. The path is a capability, and
so it stands in no record: both make it from the job's id and a key of this person's own, which
lies in our state (0600). Outside this machine only the job itself learns it; it is of use only
while the job runs and somebody has the tab open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from chutes_jupyter.config import state_dir
from chutes_jupyter.files import file_lock, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chutes_jupyter.models import Port

#: Below the base URL of the Jupyter server.
PLACE = "chutes/tab/"
#: Where our extension of the Jupyter server tells its kernels and terminals the base URL.
BASE_URL = "CHUTES_JUPYTER_BASE_URL"
_HUB = "JUPYTERHUB_SERVICE_PREFIX"
_KEY_SIZE = 32


def secret(job: str, port: str) -> str:
    """Return the secret part of the path of a job's port."""
    message = f"{job}/{port}".encode()
    return hmac.new(_key(), message, hashlib.sha256).hexdigest()[:40]


def base_url() -> str:
    """Return the base URL of the Jupyter server that this process belongs to."""
    found = os.environ.get(BASE_URL) or os.environ.get(_HUB) or "/"
    return f"/{found.strip('/')}/" if found.strip("/") else "/"


def prefix(job: str, port: str, base: str | None = None) -> str:
    """Return the path of a job's port, without a slash at its end."""
    return f"{base_url() if base is None else base}{PLACE}{secret(job, port)}"


def of(job: str, ports: Iterable[Port]) -> dict[str, str]:
    """Return the paths of a job's web servers by the names of their ports."""
    return {port.name: prefix(job, port.name) for port in ports if port.proto == "http"}


def _key() -> bytes:
    path = state_dir() / "tabs.key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) == _KEY_SIZE:
        return key
    with file_lock(path.with_suffix(".lock")):
        # Another process may have been first.
        if path.exists() and len(key := path.read_bytes()) == _KEY_SIZE:
            return key
        key = secrets.token_bytes(_KEY_SIZE)
        write_private(path, key)
        return key
