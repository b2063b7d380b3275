"""`worker login`: whoever typed it is asked, here and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.config import Workers
from chutes_jupyter.errors import LoginFailed, UsageError
from chutes_jupyter.transports.login import Question, login

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from chutes_jupyter.commands.surroundings import Surroundings
    from chutes_jupyter.config import Worker

    Pending = tuple[Question, Callable[[str | None], None]]

_PATIENCE = 5.0


def log_in(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Log in to a worker, asking for what it wants to know."""
    worker = Workers.load().get(arguments.name)
    if worker.host is None:
        raise UsageError("worker login: the worker 'local' is this machine and needs no login")
    if _log_in(worker, here):
        here.say(
            f"Logged in to {worker.name} ({worker.host}), for all your notebooks and terminals "
            "here."
        )
    else:
        here.say(f"You are logged in to {worker.name} ({worker.host}) already.")


def _log_in(worker: Worker, here: Surroundings) -> bool:
    # The background thread talks to ssh; only this one may ask, in a notebook as in a terminal.
    pending: queue.SimpleQueue[Pending] = queue.SimpleQueue()

    async def ask(question: Question) -> str | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()

        def give(said: str | None) -> None:
            loop.call_soon_threadsafe(_settle, answer, said)

        pending.put((question, give))
        return await answer

    ended = threading.Event()

    async def run() -> bool:
        try:
            return await login(worker, ask)
        finally:
            ended.set()

    done = portal.spawn(run)
    try:
        while not done.done():
            with contextlib.suppress(queue.Empty):
                question, give = pending.get(timeout=0.1)
                give(_answer(question, worker, here))
        return done.result()
    except BaseException:
        done.cancel()
        ended.wait(_PATIENCE)  # ssh is ended, and what lay there for it is removed
        raise


def _settle(answer: asyncio.Future[str | None], said: str | None) -> None:
    if not answer.done():
        answer.set_result(said)


def _answer(question: Question, worker: Worker, here: Surroundings) -> str | None:
    if question.kind == "notice":
        here.say(question.prompt)
        return None
    try:
        said = here.secret(question.prompt)
    except EOFError as error:
        raise LoginFailed(
            f"worker {worker.name!r} asks {question.prompt!r}, and nobody answers."
        ) from error
    except NotImplementedError as error:
        raise LoginFailed(
            f"This notebook has nobody to ask {question.prompt!r}. Log in from a terminal, with: "
            f"jupyter chute worker login {worker.name}"
        ) from error
    if question.kind == "confirm" and said.strip().lower() != "yes":
        return None
    return said
