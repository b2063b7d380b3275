"""Between the loop of the server's handlers and the background one, where the client is."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from chutes_jupyter import portal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

P = ParamSpec("P")
T = TypeVar("T")

#: How many items wait for a reader that is slower than what is read.
_AHEAD = 4


async def ask(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run an async function in the background loop; cancelled here, it is cancelled there."""
    return await asyncio.wrap_future(portal.spawn(function, *args, **kwargs))


@contextlib.asynccontextmanager
async def across(
    source: Callable[[], AsyncGenerator[T, None]],
) -> AsyncGenerator[AsyncIterator[T], None]:
    """Iterate in the background loop, and hand over here what comes, a few items ahead.

    Parameters
    ----------
    source : callable
        Makes the iterator, there; it is closed there at the end.
    """
    pump = _Pump(source)
    running = portal.spawn(pump.run)
    try:
        yield pump.items()
    finally:
        running.cancel()


class _Pump(Generic[T]):
    def __init__(self, source: Callable[[], AsyncGenerator[T, None]]) -> None:
        self._source = source
        self._queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue(_AHEAD)

    async def run(self) -> None:
        """Iterate, as fast as what comes is taken (in the background loop)."""
        try:
            async with contextlib.aclosing(self._source()) as items:
                async for item in items:
                    await self._queue.put((item,))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            await self._queue.put(error)
        else:
            await self._queue.put(None)

    async def items(self) -> AsyncIterator[T]:
        """Yield what comes (in the loop of whoever asks)."""
        while True:
            found = await ask(self._queue.get)
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found[0]
