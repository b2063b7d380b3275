"""Workers through the `ssh` program: a master in the background that all our processes share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConnectFailed, LoginFailed
from chutes_jupyter.transports import failures
from chutes_jupyter.transports.base import Hop, Route
from chutes_jupyter.transports.dialling import (
    BULK_WINDOW,
    CONNECT_TIMEOUT,
    LOGIN_TIMEOUT,
    WINDOW,
    DiallingTransport,
)
from chutes_jupyter.transports.openssh import control, program, words
from chutes_jupyter.transports.openssh.connection import OpenSshConnection

if TYPE_CHECKING:
    from chutes_jupyter.transports.openssh.mux import MuxSocket


class OpenSshTransport(DiallingTransport):
    """Reach a worker with the `ssh` program and all of its configuration.

    Parameters
    ----------
    worker : Worker
        A worker with a host.
    """

    async def connect(self, *, bulk: bool = False) -> OpenSshConnection:
        """Use the master that is there, or make one; see `Transport.connect`."""
        main = await control.place(self._host)
        kind, master = await self._bulk(main) if bulk else ("", (main, await self._master(main)))

        async def another(number: int) -> tuple[control.Place, MuxSocket]:
            at = await control.place(self._host, f"{kind}{number}")
            return at, await self._master(at)

        limit = BULK_WINDOW if bulk else WINDOW
        return OpenSshConnection(master, another, self.description, limit)

    async def route(self) -> Route:
        """Return the hosts on the way, as `ssh -G` has them; see `Transport.route`."""
        settings = await program.resolve(self._host)
        jumps = program.one(settings, "proxyjump", "none")
        names = [] if jumps == "none" else [program.jump(name) for name in jumps.split(",")]
        hops = [_hop(name, await program.resolve(name)) for name in names]
        first = await program.resolve(names[0]) if names else settings
        command = program.one(first, "proxycommand", "none")
        return Route((*hops, _hop(self._host, settings)), "" if command == "none" else command)

    async def _bulk(self, main: control.Place) -> tuple[str, tuple[control.Place, MuxSocket]]:
        """Return a master for files alone, or the common one where another login would ask."""
        if not (main.asked.exists() and main.alive):
            other = await control.place(self._host, "bulk")
            try:
                return "bulk", (other, await self._master(other))
            except LoginFailed:
                if not main.alive:
                    raise
        return "", (main, await self._master(main))

    async def _master(self, at: control.Place) -> MuxSocket:
        found = await control.reach(at)
        if found is not None:
            return found
        async with control.alone(at):
            found = await control.reach(at)
            if found is None:
                control.forget(at)
                await self._start(at)
                found = await control.reach(at)
        if found is None:
            raise ConnectFailed(f"{self.description}: ssh logged in, and ended at once.")
        return found

    async def _start(self, at: control.Place, *, plain_keys: bool = False) -> None:
        with control.attempt_folder() as attempt:
            outcome = await control.start(at, attempt, plain_keys=plain_keys, until=self._in_time)
        if outcome.status == 0:
            return
        if words.shows_certificate(outcome) and not plain_keys:
            # Which key does the host have beside a certificate that we can't judge?
            await self._start(at, plain_keys=True)
            return
        failed = await words.Failed.read(outcome, self.name, self._host)
        self.refused = failed.refused
        raise failed.error

    async def _in_time(self, process: asyncio.subprocess.Process) -> None:
        settings = await program.resolve(self._host)
        given = program.one(settings, "connecttimeout", "none")
        patience = float(given) if given.isdigit() else CONNECT_TIMEOUT
        try:
            async with asyncio.timeout(patience + LOGIN_TIMEOUT):
                await process.wait()
        except TimeoutError as error:
            raise failures.no_answer(error, self.description) from error


def _hop(alias: str, settings: program.Settings) -> Hop:
    host, port, user = (program.one(settings, name) for name in ("hostname", "port", "user"))
    return Hop(host, int(port), user, alias)
