"""A worker whose agent lies, and what a client must be able to do all the same."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from chutes_jupyter import bootstrap
from chutes_jupyter.agent import codec
from chutes_jupyter.client import JobClient
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.session import Session
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import ChuteError
from chutes_jupyter.store import Store
from tests.agent.rig import AGENT
from tests.clock import own_time

LIAR = Path(__file__).with_name("liar.py")
JOB = "ab" * 16
#: The loop may stand still for no longer, in seconds; the machine may be busy.
STILL = 3.0
#: How much a client may grow by whatever a worker sends, in bytes.
GROWTH = 400 * 1024 * 1024


def lay_out(root: Path, plan: str) -> Worker:
    """Put the liar where this version's agent belongs, with its plan."""
    home = root / "agents" / bootstrap.agent_bundle()[0]
    code = home / "chutes_jupyter"
    if not code.exists():
        shutil.copytree(AGENT, code / "agent", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(AGENT / "standin.py", code / "__init__.py")
        shutil.copy(LIAR, code / "agent" / "serve.py")
        (home / "ok").touch()
    (root / "plan.py").write_text(plan, encoding="utf-8")
    worker = Worker("local", dir=str(root))
    Workers.load().add(worker)
    return worker


@contextlib.contextmanager
def nothing_else_written(around: Path, allowed: list[Path]) -> Iterator[None]:
    """Check that below a folder only what is allowed appears or changes."""

    def look() -> dict[str, tuple[int, int]]:
        found = {}
        for path in around.rglob("*"):
            if not any(path.is_relative_to(other) for other in allowed):
                status = path.lstat()
                found[str(path)] = (status.st_size, 0 if path.is_dir() else status.st_mtime_ns)
        return {path: (0, 0) if Path(path).is_dir() else mark for path, mark in found.items()}

    before = look()
    yield
    assert look() == before


class Watch:
    """Looks at the loop all the time, and knows its longest stand-still.

    What other programs take of the processor is none of it.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = own_time()
        while True:
            await asyncio.sleep(0.02)
            now = own_time()
            self.longest = max(self.longest, now - last)
            last = now


@contextlib.asynccontextmanager
async def client(honest_root: Path) -> AsyncIterator[JobClient]:
    """A client that must stay alive: its loop, its memory, and its way to an honest worker."""
    made = JobClient(Store.open())
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    honest = Session(Worker("local", dir=str(honest_root)))
    await honest.request("ping")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        yield made
        async with asyncio.timeout(10):
            await honest.request("ping")
    finally:
        await honest.aclose()
        async with asyncio.timeout(20):
            await made.aclose()
        watching.cancel()
    assert watch.longest < STILL
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < GROWTH


async def tried(what: Callable[[], Awaitable[Any]], patience: float) -> Any:
    """Return what came of it: a value, one of our errors, or None when it waits on."""
    try:
        async with asyncio.timeout(patience):
            return await what()
    except TimeoutError:
        return None
    except (ChuteError, codec.CodecError) as error:
        return error


async def read_log(client: JobClient, live: Live) -> bytes:
    stream = client.log(live, follow=False)
    size = 0
    try:
        while (piece := await stream.next()) is not None:
            size += len(piece)
        return bytes(min(size, 100))
    finally:
        await stream.aclose()


async def value(client: JobClient, live: Live) -> Any:
    data = await client.value(live)
    return None if data is None else codec.loads(data)


async def everything(client: JobClient, patience: float = 1.0) -> dict[str, Any]:
    """Do all that a person does with a job; return what came of each."""
    came: dict[str, Any] = {}
    came["jobs"] = await tried(client.list_jobs, patience)
    came["info"] = await tried(lambda: client.worker_info("local"), patience)
    came["attach"] = live = await tried(lambda: client.attach(JOB), patience + 1)
    if isinstance(live, Live):
        came["wait"] = await tried(lambda: client.wait(live, outputs=True), patience)
        came["log"] = await tried(lambda: read_log(client, live), patience)
        came["lines"] = await tried(lambda: client.log_offset(live, 5), patience)
        await tried(lambda: client.keep_tail(live), patience)
        came["readings"] = await tried(lambda: client.readings(live), patience)
        came["value"] = await tried(lambda: value(client, live), patience)
        came["cancel"] = await tried(lambda: client.cancel(live), patience)
        came["files"] = live.list_files()
        came["live"] = live
    return came


def leftovers(folder: Path) -> list[str]:
    """Return the files that a mirror put into the folder of a job."""
    found = folder / f"job-{JOB[:6]}"
    return sorted(p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file())
