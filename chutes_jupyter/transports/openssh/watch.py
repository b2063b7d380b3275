"""Watching one master: whether it stands, asked every second, and noticed at once when it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from chutes_jupyter.transports.openssh import control
from chutes_jupyter.transports.openssh.mux import MuxError, MuxSocket

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two questions whether the master answers.
_TICK = 1.0


class Watch:
    """A conversation with a master. While it lasts, the master knows that it is used.

    Parameters
    ----------
    at : Place
        Where the master is.
    master : MuxSocket
        The conversation.
    lost : callable
        Told once why it ended; not after `aclose`.
    """

    def __init__(self, at: control.Place, master: MuxSocket, lost: Callable[[str], object]) -> None:
        self.at, self._master, self._lost = at, master, lost
        self._over = False
        self._questions: deque[asyncio.Future[bool]] = deque()
        self._tasks = [
            asyncio.create_task(self._listen(), name="chutes ssh listens"),
            asyncio.create_task(self._tick(), name="chutes ssh asks"),
        ]

    async def converse(self) -> MuxSocket:
        """Return a further conversation with the master.

        Raises
        ------
        MuxError
            If it is gone, or hangs.
        """
        try:
            async with asyncio.timeout(control.HANGS):
                return await MuxSocket.open(self.at.socket)
        except TimeoutError as error:
            raise MuxError("it hangs") from error

    async def stands(self) -> bool:
        """Ask the master whether it lives; what it said before was no accident then."""
        if self._over:
            return False
        answer = asyncio.get_running_loop().create_future()
        self._questions.append(answer)
        try:
            self._master.ask_alive()
            async with asyncio.timeout(control.HANGS):
                return await asyncio.shield(answer)
        except MuxError as error:
            self.lose(f"ssh ended ({error})")
        except TimeoutError:
            await control.end_hung(self.at)
            self.lose(f"ssh has not answered for {control.HANGS:g} s")
        return False

    async def _listen(self) -> None:
        try:
            while True:
                await self._master.next_alive()
                if self._questions:
                    answer = self._questions.popleft()
                    if not answer.done():
                        answer.set_result(True)
        except MuxError:
            self.lose("ssh lost it")

    async def _tick(self) -> None:
        while await self.stands():  # noqa: ASYNC110 - it is asked; nothing here could tell
            await asyncio.sleep(_TICK)

    def lose(self, reason: str) -> None:
        """Note that the master is of no use any more."""
        if not self._over:
            self._end()
            self._lost(reason)

    def _end(self) -> None:
        self._over = True
        for answer in self._questions:
            if not answer.done():
                answer.set_result(False)
        self._questions.clear()

    async def aclose(self) -> None:
        """End the conversation; the master stays for others, for a while."""
        self._end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._master.close()
