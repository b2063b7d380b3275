"""Logins under way: questions that somebody answers in a browser, one request after the other.

Everything here runs in the background loop. What is typed goes from the request to the `ssh`
program that asked for it, and is kept nowhere.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast

from chutes_jupyter.server.problems import ApiError
from chutes_jupyter.server.shapes.workers import LoginAnswer
from chutes_jupyter.transports.login import Question, login

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.config import Worker

#: Nobody answers a question for longer than this, in seconds: ssh's own server gives up then.
PATIENCE = 120.0
#: How long a login may take between two questions, in seconds.
_CONNECTING = 60.0
#: Logins that are under way at once.
_MOST = 20


class Talks:
    """All logins under way.

    Parameters
    ----------
    done : callable
        Told the name of a worker that somebody has logged in to.
    log_in : callable
        What logs in, and asks.
    """

    def __init__(
        self,
        done: Callable[[str], object],
        log_in: Callable[..., Awaitable[bool]] = login,
    ) -> None:
        self._done, self._log_in = done, log_in
        self._talks: dict[str, _Talk] = {}

    async def begin(self, worker: Worker) -> LoginAnswer:
        """Begin a login, and return its first question, or that there is none."""
        if len(self._talks) >= _MOST:
            raise ApiError(
                HTTPStatus.CONFLICT, "too_many_logins", f"{_MOST} logins are under way already."
            )
        talk = _Talk(worker, self._log_in)
        self._talks[talk.id] = talk
        return await self._next(talk)

    async def go_on(self, worker: Worker, number: str, said: str | None) -> LoginAnswer:
        """Answer the question of a login; None gives it up."""
        talk = self._talks.get(number)
        if talk is None or talk.worker.name != worker.name:
            raise ApiError(
                HTTPStatus.CONFLICT,
                "login_over",
                f"This login to {worker.name} is over: nobody answered it in time, or it failed.",
                "Begin anew, with an empty body.",
            )
        talk.answer(said)
        return await self._next(talk)

    async def _next(self, talk: _Talk) -> LoginAnswer:
        try:
            question = await talk.next()
        except BaseException:
            self._end(talk)
            raise
        if question is None:
            already = not talk.fresh
            self._end(talk)
            self._done(talk.worker.name)
            return LoginAnswer(done=True, already=already, talk="", prompt="", notices=talk.notices)
        talk.expire(lambda: self._end(talk))
        return LoginAnswer(
            done=False,
            already=False,
            talk=talk.id,
            prompt=question.prompt,
            kind=cast("Literal['secret', 'confirm']", question.kind),
            notices=talk.notices,
        )

    def _end(self, talk: _Talk) -> None:
        self._talks.pop(talk.id, None)
        talk.close()


class _Talk:
    def __init__(self, worker: Worker, log_in: Callable[..., Awaitable[bool]]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.worker = worker
        self.notices: list[str] = []
        self.fresh = False
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._answer: asyncio.Future[str | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.ensure_future(log_in(worker, self._ask))

    async def _ask(self, question: Question) -> str | None:
        if question.kind == "notice":
            self.notices.append(question.prompt)
            return None
        self._answer = asyncio.get_running_loop().create_future()
        self._questions.put_nowait(question)
        said = await self._answer
        if question.kind == "confirm" and (said or "").strip().lower() != "yes":
            return None
        return said

    def answer(self, said: str | None) -> None:
        """Give the answer that is waited for."""
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(said)

    async def next(self) -> Question | None:
        """Return the next question; None once it is done."""
        asked = asyncio.ensure_future(self._questions.get())
        try:
            await asyncio.wait(
                [asked, self._task], timeout=_CONNECTING, return_when=asyncio.FIRST_COMPLETED
            )
            if asked.done():
                return asked.result()
            if self._task.done():
                self.fresh = self._task.result()
                return None
        finally:
            asked.cancel()
        raise ApiError(
            HTTPStatus.GATEWAY_TIMEOUT,
            "wait_timeout",
            f"{self.worker.name} did not answer within {_CONNECTING:g} s.",
        )

    def expire(self, end: Callable[[], None]) -> None:
        """End it if nobody answers."""
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, end)

    def close(self) -> None:
        """End it, and the ssh that it started."""
        if self._timer is not None:
            self._timer.cancel()
        self._task.cancel()
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
