"""What the ways to dial out have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.transports.base import Transport

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import hostkeys

#: Seconds for reaching the host, where ~/.ssh/config does not say; and for the login after it.
CONNECT_TIMEOUT, LOGIN_TIMEOUT = 20.0, 20.0
#: Bytes in flight to us: little keeps a log line's way short, much keeps files fast.
WINDOW, BULK_WINDOW = 256 * 1024, 2 * 1024 * 1024
#: The fastest cipher where both ends have it, on streams by 1.6; the defaults come after it.
CIPHERS = "^aes128-gcm@openssh.com"


class DiallingTransport(Transport):
    """A transport to a worker with a host.

    Parameters
    ----------
    worker : Worker
        The worker.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.name)
        self._host = worker.host or ""
        #: The key that the last `UnknownHostKey` was about, and the host's name for it.
        self.refused: tuple[str, hostkeys.HostKey] | None = None

    @property
    def description(self) -> str:
        """What messages call the worker."""
        return f"worker {self.name!r} ({self._host})"
