"""Accepting a host key: fetched again, compared with a fingerprint, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.config import known_hosts_file
from chutes_jupyter.errors import HostKeyError, LoginFailed, UnknownHostKey
from chutes_jupyter.transports import hostkeys
from chutes_jupyter.transports.choice import ChosenTransport

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker


async def accept_host_key(worker: Worker, fingerprint: str) -> None:
    """Fetch the host's key again and keep it; see `chutes_jupyter.transports`."""
    wanted = fingerprint.strip().rstrip("=")
    transport = ChosenTransport(worker)
    try:
        connection = await transport.connect()
    except UnknownHostKey as error:
        if error.fingerprint != wanted:
            raise HostKeyError(
                f"The host of worker {worker.name!r} presents {error.fingerprint}, not {wanted}: "
                "nothing was accepted. Compare again, from the host's own console.",
                error.fingerprint,
            ) from error
        if transport.refused is not None:
            hostkeys.remember(known_hosts_file(), *transport.refused)
        return
    except LoginFailed:
        return  # the login comes after the host key, so that one is known already
    known = [login.fingerprint for login in connection.logins]
    await connection.aclose()
    if known and wanted not in known:  # `ssh` does not tell which key it saw
        raise HostKeyError(
            f"The key of worker {worker.name!r} that is on record is {known[-1]}, and its host "
            f"presents that one, not {wanted}.",
            known[-1],
        )
