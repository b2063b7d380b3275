"""The client of this process: one for all that it does with workers."""

from __future__ import annotations

import threading
from os import getpid

from chutes_jupyter import portal
from chutes_jupyter.client import JobClient
from chutes_jupyter.store import Store

_lock = threading.Lock()
_client: JobClient | None = None
_client_pid = 0


def current_client() -> JobClient:
    """Return this process's client, made at the first call."""
    global _client, _client_pid
    with _lock:
        if _client is None or _client_pid != getpid():
            _client, _client_pid = JobClient(Store.open()), getpid()
            portal.at_exit(_client.finish)
        return _client


def close_client() -> None:
    """Close this process's client; the next call of anything makes a new one. Jobs go on."""
    global _client
    with _lock:
        ending, _client = _client, None
    if ending is not None and _client_pid == getpid():
        portal.call(ending.aclose)
