"""The ways to the ports of one worker's jobs: its server's own, or the agent's relay."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.agent import lanes
from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.errors import ChuteError, ConnectFailed, ConnectionLost, ForwardingRefused
from chutes_jupyter.relay import Relay
from chutes_jupyter.transports import transport_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chutes_jupyter.client.session import Session
    from chutes_jupyter.transports.base import Connection, Process, Stream

#: Where a job's server listens, seen from its worker.
REMOTE = "127.0.0.1"
_RELAY = "relay"


class Tunnels:
    """What leads to the ports of a worker's jobs.

    Parameters
    ----------
    session : Session
        The way to the worker.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        #: Carries all datagrams, and the streams where the server opens none: one channel.
        self.relay = Relay(self._channel)
        self._users: set[object] = set()
        #: The connection whose server opens no streams, and what it said.
        self._refused: tuple[Connection, ConnectFailed] | None = None

    def enter(self, user: object) -> None:
        """Note who uses this, until it leaves."""
        self._users.add(user)

    async def leave(self, user: object) -> None:
        """Note that somebody uses this no more; the relay ends with the last one."""
        self._users.discard(user)
        if not self._users:
            await self.relay.aclose()

    async def open_tcp(self, port: int) -> Stream:
        """Connect to a port on the worker.

        Raises
        ------
        ConnectFailed
            If nothing listens there.
        ConnectionLost
            If the worker can't be reached, or the connection to it broke.
        """
        connection = await self.session.connection()
        if self._refused is None or self._refused[0] is not connection:
            try:
                return await connection.open_tcp(REMOTE, port)
            except ForwardingRefused as refusal:
                self._refused = connection, refusal
            except ConnectFailed as refusal:
                if connection.tells_refusals:
                    raise
                stream = await self._relayed(port, refusal)
                # Somebody listens: so it was the server that refused.
                self._refused = connection, refusal
                return stream
        return await self._relayed(port, self._refused[1])

    async def open_own(self, job: str, port: int) -> Stream:
        """Connect to a port on the worker if a job's own processes listen there.

        Always by the relay: only who makes the connection can know whose socket took it. The
        worker's sshd would lead to whatever listens there by then, another user's service, too.

        Raises
        ------
        ConnectFailed
            If they don't.
        ConnectionLost
            If the worker can't be reached, or the connection to it broke.
        """
        return await self.relay.open_stream(port, job)

    async def check_own(self, job: str, port: int) -> None:
        """Look whether `open_own` would connect, without doing so; raises the same."""
        await (await self.relay.open_stream(port, job + lanes.ONLY_ASK)).aclose()

    async def _relayed(self, port: int, why: ConnectFailed) -> Stream:
        try:
            return await self.relay.open_stream(port)
        except ConnectionLost as error:
            raise ConnectionLost(f"{why} The agent's relay, used instead, failed: {error}") from why

    async def reachable(self) -> None:
        """Wait until the worker can be reached, with growing pauses between tries."""
        await self.session.patient_link(_nothing)

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[Process]:
        """Run the relay in a channel of the connection, or in a connection of its own."""
        await self.reachable()
        connection = await self.session.connection()
        async with contextlib.AsyncExitStack() as stack:
            try:
                process = await start_agent(connection, self.session.worker, _RELAY)
            except ConnectFailed as refusal:
                own = await self._own_connection(refusal)
                stack.push_async_callback(own.aclose)
                process = await start_agent(own, self.session.worker, _RELAY)
            stack.push_async_callback(process.aclose)
            yield process

    async def _own_connection(self, refusal: ConnectFailed) -> Connection:
        """Connect once more: the server takes no further session in the first connection."""
        try:
            return await transport_for(self.session.worker).connect()
        except ChuteError as error:
            raise ConnectFailed(
                f"{refusal} The agent's relay, which udp ports need, takes a session beside the "
                "one for jobs: let MaxSessions in its sshd_config be 2 or more. A connection of "
                f"its own failed, too: {error}"
            ) from error

    async def aclose(self) -> None:
        """End the relay."""
        await self.relay.aclose()


def _nothing(_reason: str | None) -> None:
    """Say nothing: what follows the job tells that its worker can't be reached."""
