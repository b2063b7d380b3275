"""The client's end of one `serve` channel: requests out, replies in, side by side.

Any number of requests are under way at once. When the channel dies, every one of them fails
with `ConnectionLost`; what the agent says against the protocol ends the channel with
`AgentFailed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import wire
from chutes_jupyter.errors import AgentFailed, ConnectionLost, RequestRefused, WorkerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from chutes_jupyter.transports.base import Process

__all__ = ["AgentLink", "Reply"]

#: How long the agent may take for an answer, besides the wait that a request allows, in seconds.
PATIENCE = 60.0
#: Frames of one streamed reply that may lie here unread; more make the channel wait.
_QUEUED = 16
_READ = 256 * 1024
_MAX_MESSAGE = 64 * 1024
#: What a piece of a long answer may carry besides its bytes: many of them lie here unread.
_MAX_FIELDS, _MAX_FIELD = 32, 256


@dataclass(frozen=True)
class Reply:
    """One frame of an answer.

    Parameters
    ----------
    header : mapping
        Its fields, unchecked but for the protocol's own.
    body : bytes
        The raw bytes that came with it.
    """

    header: Mapping[str, Any]
    body: bytes

    @property
    def more(self) -> bool:
        """Whether further frames of the same answer follow."""
        return bool(self.header.get("more", False))


class _Pending:
    """A request whose answer has not come whole."""

    def __init__(self, *, worded: bool) -> None:
        self.queue: asyncio.Queue[Reply | None] = asyncio.Queue(_QUEUED)
        self.worded = worded
        self.abandoned = False

    async def put(self, reply: Reply) -> None:
        if not self.abandoned:
            await self.queue.put(reply)

    def abandon(self) -> None:
        """Take nothing more, and let go a reader that waits for room."""
        self.abandoned = True
        while not self.queue.empty():
            self.queue.get_nowait()

    def wake(self) -> None:
        """Let the one who waits see that the link is over."""
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(None)


class AgentLink:
    """Requests over one `serve` process; it stands just after the marker.

    Parameters
    ----------
    process : Process
        The channel.
    name : str
        What messages call the worker.
    """

    def __init__(self, process: Process, name: str) -> None:
        self.name = name
        self._process = process
        self._pending: dict[int, _Pending] = {}
        self._numbers = itertools.count(1)
        self._writing = asyncio.Lock()
        self._failure: WorkerError | None = None
        self._over = asyncio.Event()
        self._reader = asyncio.create_task(self._read_all(), name=f"chutes link {name}")

    @property
    def closed(self) -> bool:
        """Whether no request can be made any more."""
        return self._failure is not None

    async def wait_closed(self) -> None:
        """Wait until the link is over, for whatever reason."""
        await self._over.wait()

    async def request(
        self, op: str, body: bytes = b"", *, patience: float = PATIENCE, **fields: Any
    ) -> Reply:
        """Ask the agent and return its answer.

        Parameters
        ----------
        op : str
            The operation.
        body : bytes
            Raw bytes that go with it.
        patience : float
            How many seconds the answer may take, besides the field `wait`.
        **fields
            The request's fields, as JSON values.

        Raises
        ------
        RequestRefused
            If the agent answers that it can't.
        ConnectionLost
            If the channel is dead, dies before the answer, or stays silent too long.
        AgentFailed
            If the agent breaks the protocol.
        """
        answer = self.stream(op, body, patience=patience, **fields)
        async with contextlib.aclosing(answer):
            reply = await anext(answer)
        if reply.more:
            raise self._fail(AgentFailed(f"The agent on {self.name} answers {op!r} without end."))
        return reply

    async def stream(
        self,
        op: str,
        body: bytes = b"",
        *,
        patience: float = PATIENCE,
        worded: bool = False,
        **fields: Any,
    ) -> AsyncGenerator[Reply, None]:
        """Ask the agent and yield the frames of its answer; see `request`.

        Whoever does not read on makes every other answer of this link wait: read, or close.

        Parameters
        ----------
        worded : bool
            Whether each frame says something in its header; otherwise each brings bytes.
        """
        number = next(self._numbers)
        pending = _Pending(worded=worded)
        try:
            frame = wire.encode({**fields, "id": number, "op": op}, body)
        except wire.WireError as error:
            raise RequestRefused("too_large", f"{op!r} can't be sent: {error}") from error
        allowed = patience + float(fields.get("wait", 0) or 0)
        self._check()
        self._pending[number] = pending
        try:
            await self._within(allowed, self._write(frame))
            while True:
                reply = await self._within(allowed, self._next(pending))
                yield reply
                if not reply.more:
                    return
        finally:
            # What still comes for it is dropped until its last frame.
            pending.abandon()

    async def aclose(self) -> None:
        """End the link; requests under way fail."""
        if self._failure is None:
            self._fail(ConnectionLost(f"The connection to {self.name} was closed."))
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._process.aclose()

    # -- out --------------------------------------------------------------------------

    async def _write(self, frame: bytes) -> None:
        async with self._writing:
            self._check()
            try:
                await self._process.write(frame)
            except ConnectionLost as error:
                self._fail(error)
                raise

    async def _within(self, seconds: float, step: Any) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await step
        except TimeoutError:
            message = f"{self.name} has not answered for {seconds:.0f} s."
            raise self._fail(ConnectionLost(message)) from None

    # -- in ---------------------------------------------------------------------------

    async def _next(self, pending: _Pending) -> Reply:
        if pending.queue.empty():
            self._check()
        reply = await pending.queue.get()
        if reply is None:
            self._check()
            raise AssertionError("woken without a failure")
        if reply.header["ok"]:
            return reply
        error = reply.header["error"]
        raise RequestRefused(error["code"], error["message"])

    async def _read_all(self) -> None:
        decoder = wire.Decoder()
        try:
            while data := await self._process.read(_READ):
                for header, body in decoder.feed(data):
                    await self._deliver(header, body)
        except wire.WireError as error:
            self._fail(AgentFailed(f"The agent on {self.name} broke the protocol: {error}."))
        except WorkerError as error:
            self._fail(error)
        else:
            self._fail(ConnectionLost(self._ended()))

    def _ended(self) -> str:
        said = self._process.stderr_tail().strip()
        return f"The agent on {self.name} ended" + (f", saying:\n{said}" if said else ".")

    async def _deliver(self, header: wire.Header, body: bytes) -> None:
        number = header.get("id")
        pending = self._pending.get(number) if type(number) is int else None
        if pending is None or not _is_reply(header):
            raise AgentFailed(f"The agent on {self.name} sent a reply that nobody asked for.")
        bulk = header.get("more") and header["ok"] and not pending.worded
        if bulk and not (body and _is_small(header)):
            raise AgentFailed(f"The agent on {self.name} sent a long answer without bytes.")
        reply = Reply(header, body)
        if not header["ok"] or not reply.more:
            # An error is the last frame, whatever it says.
            self._pending.pop(header["id"], None)
        await pending.put(reply)

    # -- the end ----------------------------------------------------------------------

    def _check(self) -> None:
        if self._failure is not None:
            # A copy: one error raised in many tasks would gather all their tracebacks.
            raise type(self._failure)(*self._failure.args)

    def _fail(self, failure: WorkerError) -> WorkerError:
        """Note why the link is over, wake everybody, and return the reason."""
        if self._failure is None:
            self._failure = failure
            for pending in self._pending.values():
                pending.wake()
            self._over.set()
        return failure


def _is_small(header: wire.Header) -> bool:
    return len(header) <= _MAX_FIELDS and all(
        len(field) <= _MAX_FIELD
        if isinstance(field, str)
        else not isinstance(field, (list, dict)) and (type(field) is not int or abs(field) < 2**64)
        for field in header.values()
    )


def _is_reply(header: wire.Header) -> bool:
    if not isinstance(header.get("more", False), bool):
        return False
    if header.get("ok") is True:
        return True
    error = header.get("error")
    return (
        header.get("ok") is False
        and isinstance(error, dict)
        and isinstance(error.get("code"), str)
        and isinstance(error.get("message"), str)
        and len(error["code"]) <= 256
        and len(error["message"]) <= _MAX_MESSAGE
    )
