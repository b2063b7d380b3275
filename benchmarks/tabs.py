"""A tab beside jupyter-server-proxy over `ssh -L`: the same app on the same sshd, in one run.

`python -m benchmarks.tabs PYTHON`; PYTHON is of an environment with the group `bench` and nothing
of ours. It is asked as a browser asks: our tab by its own host and key, the peer with Jupyter's
token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chutes_jupyter.config import Workers
from chutes_jupyter.job import close_client
from tests.client.rig import start
from tests.freeport import free_port
from tests.jupyter import jupyter
from tests.tabs.jupyter import jupyter_server
from tests.tabs.servers import served

from .__main__ import FOLDER, own_settings
from .rig import worker_over_sshd

MIB = 1024 * 1024
BODY, UPLOAD = 200 * MIB, 1024 * MIB
SECONDS, ROUNDS = 4.0, 3

APP = """
import asyncio
from aiohttp import web

async def small(request):
    return web.Response(text="x" * 1000)

async def body(request):
    size = int(request.query["size"])
    answer = web.StreamResponse(headers={"Content-Length": str(size)})
    await answer.prepare(request)
    for _ in range(size // 2**20):
        await answer.write(bytes(2**20))
    return answer

async def slow(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"first")
    await asyncio.sleep(3)
    await answer.write(b"second")
    return answer

async def size(request):
    total = 0
    async for piece in request.content.iter_any():
        total += len(piece)
    return web.Response(text=str(total))

app = web.Application()
app.add_routes([web.get("/", small), web.get("/body", body), web.get("/slow", slow),
                web.post("/size", size)])
runner = web.AppRunner(app)
await runner.setup()
await web.TCPSite(runner, "127.0.0.1", job_data["port"]).start()
await self.cancel_event.wait()
await runner.cleanup()
"""


@dataclass
class Way:
    """One way to the app."""

    name: str
    base: str
    headers: dict[str, str]
    pid: int

    def session(self, connections: int = 1) -> aiohttp.ClientSession:
        """Return a client that asks over so many connections."""
        return aiohttp.ClientSession(
            headers=self.headers,
            connector=aiohttp.TCPConnector(limit=connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=300),
        )

    async def rate(self, connections: int) -> float:
        """Return the requests a second over so many connections."""
        count = 0
        end = time.perf_counter() + SECONDS
        async with self.session(connections) as session:

            async def ask() -> None:
                nonlocal count
                while time.perf_counter() < end:
                    async with session.get(f"{self.base}/") as answer:
                        assert answer.status == 200, answer.status
                        await answer.read()
                    count += 1

            await asyncio.gather(*(ask() for _ in range(connections)))
        return count / SECONDS

    async def down(self) -> str:
        """Return how a large body comes down."""
        began, got = time.perf_counter(), 0
        asked = {"size": BODY}
        async with (
            self.session() as session,
            session.get(f"{self.base}/body", params=asked) as answer,
        ):
            if answer.status != 200:
                return f"status {answer.status}"
            async for piece in answer.content.iter_any():
                got += len(piece)
        if got != BODY:
            return f"{got:,} bytes of it"
        return f"{time.perf_counter() - began:.2f} s"

    async def first(self) -> float:
        """Return the milliseconds to the first byte of a stream that goes on for 3 s."""
        async with self.session() as session:
            began = time.perf_counter()
            async with session.get(f"{self.base}/slow") as answer:
                await answer.content.readany()
                return (time.perf_counter() - began) * 1000

    async def up(self) -> str:
        """Return how a gigabyte goes up, and what more memory the Jupyter server takes for it."""
        before = peak(self.pid)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(UPLOAD // MIB):
                yield bytes(MIB)

        began = time.perf_counter()
        headers = {"Content-Length": str(UPLOAD)}
        async with (
            self.session() as session,
            session.post(f"{self.base}/size", data=body(), headers=headers) as answer,
        ):
            text = await answer.text()
            if answer.status != 200 or text != str(UPLOAD):
                return f"status {answer.status}"
        took = time.perf_counter() - began
        return f"{took:.1f} s, {(peak(self.pid) - before) / 1024:.0f} MiB more"


def peak(pid: int) -> int:
    """Return the most memory that a process ever had, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def told(attempt: Any) -> str:
    """Return what an attempt comes to, also where it fails."""
    try:
        return str(await attempt)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"failed: {type(error).__name__}"


async def compare(ways: list[Way]) -> None:
    """Measure both ways, one after the other in each round, and print the medians."""
    for way in ways:
        await way.rate(4)  # warm
    for connections in (1, 32):
        rates: dict[str, list[float]] = {way.name: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                rates[way.name].append(await way.rate(connections))
        words = ", ".join(f"{n} {statistics.median(r):.0f}" for n, r in rates.items())
        print(f"requests a second, {connections} connections: {words}", flush=True)
    for what, attempt in (
        ("first byte of a stream, ms", rounded),
        ("200 MiB down", lambda way: way.down()),
        ("1 GiB up", lambda way: way.up()),
    ):
        words = ", ".join([f"{way.name} {await told(attempt(way))}" for way in ways])
        print(f"{what}: {words}", flush=True)


async def rounded(way: Way) -> str:
    """Return the median of some first bytes."""
    return f"{statistics.median([await way.first() for _ in range(ROUNDS)]):.0f}"


@contextlib.contextmanager
def peer(python: str, folder: Path, host: str, options: list[str], number: int) -> Iterator[Way]:
    """Run jupyter-server-proxy for a port that `ssh -L` leads to."""
    local = free_port()
    tunnel = ["ssh", *options, "-N", "-L", f"127.0.0.1:{local}:127.0.0.1:{number}", host]
    folder.mkdir()
    env = {**os.environ, "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    with (
        subprocess.Popen(tunnel) as ssh,
        jupyter("jupyter_server", env, root=folder, log=folder / "log", python=python) as server,
    ):
        try:
            base = f"http://127.0.0.1:{server.port}/proxy/{local}"
            headers = {"Authorization": f"token {server.token}"}
            yield Way("the peer", base, headers, server.process.pid)
        finally:
            ssh.terminate()


def main(python: str) -> int:
    """Run both ways and compare them."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="tabs-") as name,
        own_settings(Path(name)),
        worker_over_sshd(Path(name)) as (worker, host, options),
    ):
        folder = Path(name)
        job = served(start, APP, Workers.load().get(worker), free_port()).wait()
        with (
            jupyter_server(folder) as jupyter,
            peer(python, folder / "peer", host, list(options), job.number) as other,
        ):
            tab = jupyter.enter(jupyter.open(job.id)["url"])
            ours = Way("ours", tab.base, tab.headers, jupyter.pid)
            asyncio.run(compare([ours, other]))
        job.job.cancel()
        job.job.wait(60)
        close_client()
    return 0


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1]).absolute())))
