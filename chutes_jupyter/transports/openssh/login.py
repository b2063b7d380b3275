"""Logging in by hand: `ssh` asks, a person answers, and the master that comes of it is shared."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.config import state_dir
from chutes_jupyter.files import write_private
from chutes_jupyter.harmless import harmless
from chutes_jupyter.transports.openssh import askpass, control, words
from chutes_jupyter.transports.questions import Question

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from chutes_jupyter.config import Worker

    Ask = Callable[[Question], Awaitable[str | None]]

#: Seconds between two looks whether another process made the master meanwhile.
_LOOK = 0.25
_LONGEST_PROMPT = 2000


async def login(worker: Worker, ask: Ask) -> bool:
    """Make the master of a worker; see `chutes_jupyter.transports.login`."""
    host = worker.host or ""
    at = await control.place(host)
    found = await control.reach(at)
    if found is not None:
        found.close()
        return False
    control.forget(at)
    with control.attempt_folder() as attempt:
        async with _answering(attempt, ask) as (environment, asked):
            outcome = await control.start(
                at, attempt, askpass=environment, until=lambda process: _until(process, at)
            )
    found = await control.reach(at)
    if found is None:
        raise (await words.Failed.read(outcome, worker.name, host, asked=bool(asked))).error
    found.close()
    if asked:
        at.asked.touch(mode=0o600)
    return True


async def _until(process: asyncio.subprocess.Process, at: control.Place) -> None:
    """Wait for ssh; or for another process's master, beside which it would wait for ever."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await process.wait()
                return
        if at.alive:
            # It may be its own, which takes a moment to go to the background.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(4 * _LOOK):
                    await process.wait()
            return


@contextlib.asynccontextmanager
async def _answering(attempt: Path, ask: Ask) -> AsyncIterator[tuple[dict[str, str], list[str]]]:
    """Answer what ssh asks; yields its environment, and what was asked so far."""
    asked: list[str] = []
    one_at_a_time = asyncio.Lock()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = _question(await reader.readline())
            async with one_at_a_time:
                found = await ask(question)
            asked.append(question.kind)
            writer.write(json.dumps(found).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # it has gone, or is not ours: then it gets no answer
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    place = attempt / "ask"
    server = await asyncio.start_unix_server(accept, place, limit=askpass.LONGEST)
    place.chmod(0o600)
    try:
        yield (
            {
                "SSH_ASKPASS": str(_program()),
                "SSH_ASKPASS_REQUIRE": "force",
                askpass.SOCKET: str(place),
            },
            asked,
        )
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _question(line: bytes) -> Question:
    said = json.loads(line)
    prompt, hint = said["prompt"], said["hint"]
    if not isinstance(prompt, str) or not isinstance(hint, str):
        raise TypeError("not a question")
    kinds = {"confirm": "confirm", "none": "notice"}
    # A host may have worded it: nothing that a terminal would obey.
    return Question(harmless(prompt)[:_LONGEST_PROMPT], kinds.get(hint, "secret"))


def _program() -> Path:
    """Return the program that ssh runs to ask; it takes the question for its one argument."""
    file = state_dir() / "askpass"
    words = [sys.executable, "-I", "-S", askpass.__file__]
    text = f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'.encode()
    if not file.exists() or file.read_bytes() != text:
        write_private(file, text)
    file.chmod(0o700)
    return file
