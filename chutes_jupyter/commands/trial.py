"""What `worker test` does: every step that a job needs, one line each."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.errors import (
    ChuteError,
    ConfigError,
    HostKeyError,
    LoginFailed,
    RequestRefused,
)
from chutes_jupyter.link import AgentLink
from chutes_jupyter.replies import Hello, Info, parse
from chutes_jupyter.transports import transport_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from chutes_jupyter.commands.surroundings import Surroundings
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import Connection


async def check_worker(worker: Worker, here: Surroundings) -> None:
    """Connect anew, start the agent and ask for what jobs need, saying each step.

    Raises
    ------
    ChuteError
        At the first step that fails; the message says what to do.
    """
    async with _connected(worker, here) as connection, _agent(connection, worker, here) as link:
        hello = parse(Hello, (await link.request("hello")).header)
        _say(here, "host", f"{hello.host}, as {hello.user}")
        _say(here, "agent", f"Python {hello.version} ({hello.python})")
        _say(here, "folder", hello.root)
        info = await _info(link, worker, here)
        found = info.interpreter
        kind = "Python" if found.implementation == "cpython" else found.implementation
        _say(here, "interpreter", f"{kind} {found.version} ({found.executable})")
        _say(here, "machine", _machine(info))
        _say(here, "GPUs", _gpus(info))
        if info.logout is None:
            _say(here, "logout", "jobs go on")
        else:
            _say(here, "logout", info.logout, word="WARNING")


@contextlib.asynccontextmanager
async def _connected(worker: Worker, here: Surroundings) -> AsyncIterator[Connection]:
    try:
        connection = await transport_for(worker).connect()
    except HostKeyError:
        _say(here, "host key", ok=False)
        raise
    except LoginFailed:
        _say(here, "host key", "as on record")
        _say(here, "login", ok=False)
        raise
    except ChuteError:
        _say(here, "connection", ok=False)
        raise
    _say(here, "connection", connection.description)
    if worker.host is not None:
        _say(here, "host key", "as on record")
    try:
        yield connection
    finally:
        await connection.aclose()


@contextlib.asynccontextmanager
async def _agent(
    connection: Connection, worker: Worker, here: Surroundings
) -> AsyncIterator[AgentLink]:
    with _failing(here, "agent"):
        link = AgentLink(await start_agent(connection, worker), connection.description)
    try:
        yield link
    finally:
        await link.aclose()


async def _info(link: AgentLink, worker: Worker, here: Surroundings) -> Info:
    with _failing(here, "interpreter"):
        try:
            reply = await link.request("info", python=worker.python, env=dict(worker.env))
        except RequestRefused as error:
            if error.code != "no_interpreter":
                raise
            command = f"{here.prog} worker add {worker.name} --python PATH"
            message = f"Worker {worker.name!r}: {error}. Name its jobs' Python with: {command}"
            raise ConfigError(message) from error
    return parse(Info, reply.header)


@contextlib.contextmanager
def _failing(here: Surroundings, what: str) -> Iterator[None]:
    try:
        yield
    except ChuteError:
        _say(here, what, ok=False)
        raise


def _say(
    here: Surroundings, what: str, found: str = "", *, ok: bool = True, word: str = "ok"
) -> None:
    # Workers may be strangers: what they say is shown without control characters.
    shown = "".join(char if char.isprintable() else "?" for char in found)
    here.say(f"{word if ok else 'NOT OK':<8}{what:<13}{shown}".rstrip())


def _machine(info: Info) -> str:
    cpus = f"{info.cpus} CPUs" if info.cpus is not None else "CPUs unknown"
    memory = f"{info.memory_mib / 1024:.1f} GiB" if info.memory_mib is not None else "unknown"
    return f"{cpus}, memory {memory}"


def _gpus(info: Info) -> str:
    if info.gpus is None:
        return "no GPU tools there: a job that asks for GPUs is not checked"
    if not info.gpus:
        return "none: a job that asks for GPUs is refused"
    return ", ".join(f"{gpu.name} ({gpu.memory_mib} MiB)" for gpu in info.gpus)
