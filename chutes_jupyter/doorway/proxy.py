"""The program that `ssh` runs to reach a job: ``python -m chutes_jupyter.doorway.proxy FOLDER``.

It makes a connection of its own to the worker, starts the agent's program `door` there, and
passes bytes both ways. Threads read and write, since no event loop takes pipes everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.agent import wire
from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.doorway.folder import GONE, DoorFolder
from chutes_jupyter.errors import AgentFailed, ChuteError, ConnectionLost, DoorShut
from chutes_jupyter.harmless import harmless
from chutes_jupyter.replies import DoorFacts, DoorRefusal, parse
from chutes_jupyter.transports import transport_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.doorway.folder import Told
    from chutes_jupyter.transports.base import Process

CHUNK = 64 * 1024
#: The longest answer, in bytes, and how long it may take, in seconds.
_ANSWER, _PATIENCE = 256 * 1024, 60.0
_PROGRAM = "door"


def main(words: Sequence[str]) -> int:
    """Be the way to the job of a folder until either side closes; return the exit status."""
    # Ctrl-C is for the other end, or for ssh, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder = DoorFolder(Path(words[0]))
    try:
        asyncio.run(_run(folder))
    except DoorShut as error:
        if error.code in GONE:
            folder.forget_key()
        _say(str(error))
        return 1
    except ChuteError as error:
        _say(f"{type(error).__name__}: {error}")
        return 1
    return 0


async def _run(folder: DoorFolder) -> None:
    told = folder.read()
    connection = await transport_for(told.worker).connect()
    try:
        process = await start_agent(connection, told.worker, _PROGRAM)
        try:
            async with asyncio.timeout(_PATIENCE):
                await _ask(process, told, connection.description)
            await _splice(process)
        finally:
            await process.aclose()
    except TimeoutError:
        raise AgentFailed(f"{connection.description} did not answer for {_PATIENCE:g} s.") from None
    finally:
        await connection.aclose()


async def _ask(process: Process, told: Told, where: str) -> None:
    """Ask for the door of the job, and return when what follows is SSH."""
    await process.write(wire.encode({"op": _PROGRAM, "job": told.job, "keys": list(told.keys)}))
    beginning = await _exactly(process, wire.LEAD, where)
    try:
        size = wire.length(beginning)
        if size > _ANSWER:
            raise wire.WireError(f"an answer of {size} bytes")
        rest = await _exactly(process, size, where)
        ((header, _),) = wire.Decoder().feed(beginning + rest)
    except wire.WireError as error:
        raise AgentFailed(f"The agent on {where} broke the protocol: {error}.") from error
    if header.get("ok") is not True:
        fault = parse(DoorRefusal, header).error
        raise DoorShut(f"{fault.message}.", fault.code)
    # The rest of it went into the files of the folder.
    parse(DoorFacts, header)


async def _exactly(process: Process, size: int, where: str) -> bytes:
    data = b""
    while len(data) < size:
        piece = await process.read(size - len(data))
        if not piece:
            raise AgentFailed(f"The agent on {where} has ended. {process.stderr_tail()}".rstrip())
        data += piece
    return data


async def _splice(process: Process) -> None:
    """Pass bytes both ways until the worker's end closes."""
    loop = asyncio.get_running_loop()

    def upwards() -> None:
        try:
            while data := os.read(0, CHUNK):
                asyncio.run_coroutine_threadsafe(process.write(data), loop).result()
            loop.call_soon_threadsafe(process.write_eof)
        except (ConnectionLost, OSError, RuntimeError):
            return  # the other way says so

    # Nothing ends a thread that reads: the process ends with it.
    threading.Thread(target=upwards, name="upwards", daemon=True).start()
    while data := await process.read(CHUNK):
        await asyncio.to_thread(_write, data)
    await process.wait()
    if words := process.stderr_tail().strip():
        _say(words)


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


def _say(text: str) -> None:
    """Say something on the terminal of `ssh`, which may be in raw mode."""
    shown = harmless(text).rstrip("\n") + "\n"
    if sys.stderr.isatty():
        shown = "\r" + shown.replace("\n", "\r\n")
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(shown)
        sys.stderr.flush()


if __name__ == "__main__":
    STATUS = main(sys.argv[1:])
    # Not sys.exit: the reading thread would be waited for.
    os._exit(STATUS)
