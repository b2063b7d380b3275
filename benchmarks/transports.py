"""asyncssh and the `ssh` program side by side, over the same sshd: what a person waits for.

`python -m benchmarks.transports` prints the table of docs/transports.md.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import http.client
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chutes_jupyter import JobFunction
from chutes_jupyter.client.session import Session
from chutes_jupyter.config import TRANSPORTS, Worker, Workers
from chutes_jupyter.job import close_client
from tests.conftest import add_to_ssh_config, end_masters
from tests.faults.kit import line_to
from tests.sshd import Sshd

from . import measure
from .__main__ import FOLDER, own_settings
from .cases import GIBIBYTE, LINES, log, output, start
from .jobs import hello, pages, run, talk, wait, write
from .measure import Case

CONNECTIONS = 32


def cases(server: Sshd, home: Path, folder: Path, python: str) -> dict[str, Case]:
    """Return the cases by their short names; ours is the ssh program, the peer asyncssh.

    Parameters
    ----------
    server : Sshd
        The sshd of both.
    home : Path
        The home whose ~/.ssh names it.
    folder : Path
        Where the workers' folders are made.
    python : str
        The interpreter of the jobs.
    """
    workers = {kind: f"{kind}1" for kind in TRANSPORTS}
    for kind, name in workers.items():
        add_to_ssh_config(home, server, name)
        place = str(folder / name)
        Workers.load().add(Worker(name, name, python=python, dir=place, transport=kind))

    def both(name: str, make: Callable[[str], Callable[[], float]], repeat: int = 1) -> Case:
        ours, peer = make(workers["openssh"]), make(workers["asyncssh"])
        return Case(name, ours, peer, repeat=repeat)

    def on(
        function: JobFunction, timer: Callable[..., Callable[[], float]]
    ) -> Callable[[str], Callable[[], float]]:
        return lambda name: timer(function.options(worker=name))

    return {
        "login": both("a new connection, to its first answer", login, repeat=5),
        "second": both("the same, beside one of another process", second, repeat=5),
        "start": both("submit to the first output byte, warm", on(hello, start), repeat=5),
        "log": both(f"{LINES:,} printed lines, whole", on(talk, log)),
        "log_program": both(f"{LINES:,} lines of a program, whole", on(run, log)),
        "get": both("32 GETs over a forward, one after another", on(pages, one_after_another)),
        "gets": both("32 GETs over a forward, all at once", on(pages, all_at_once)),
        "output": both(
            f"an output of {GIBIBYTE >> 30} GiB, checked and in place",
            lambda name: output(write.options(worker=name), folder / name),
        ),
        "cut": both(
            "a line that goes dead, to the word of it",
            lambda name: cut(server, home, folder, name.removesuffix("1")),
        ),
    }


async def _answer(name: str) -> float:
    session = Session(Workers.load().get(name))
    began = time.perf_counter()
    await session.request("ping")
    took = time.perf_counter() - began
    await session.aclose()
    return took


def login(name: str) -> Callable[[], float]:
    """Return a timer of a connection where there is no other."""

    def once() -> float:
        end_masters()
        return asyncio.run(_answer(name))

    return once


def second(name: str) -> Callable[[], float]:
    """Return a timer of a connection where a master may be there already."""

    def once() -> float:
        asyncio.run(_answer(name))
        return asyncio.run(_answer(name))

    return once


@contextlib.contextmanager
def served(function: JobFunction) -> Iterator[tuple[str, int]]:
    """Run a job that serves pages, and yield the address of its forward."""
    job = function.submit()
    try:
        assert job.ports["web"].url  # waits until it answers
        address = job.ports["web"].address
        assert address
        yield address
    finally:
        job.cancel()
        job.wait(timeout=60)


def _get(address: tuple[str, int]) -> None:
    page = http.client.HTTPConnection(*address, timeout=60)
    page.request("GET", "/")
    assert page.getresponse().read() == b"x" * 1000
    page.close()


def one_after_another(function: JobFunction) -> Callable[[], float]:
    """Return a timer of GETs, each on a connection of its own."""

    def once() -> float:
        with served(function) as address:
            _get(address)
            began = time.perf_counter()
            for _ in range(CONNECTIONS):
                _get(address)
            return time.perf_counter() - began

    return once


def all_at_once(function: JobFunction) -> Callable[[], float]:
    """Return a timer of GETs side by side."""

    def once() -> float:
        with served(function) as address, concurrent.futures.ThreadPoolExecutor(32) as pool:
            _get(address)
            began = time.perf_counter()
            list(pool.map(lambda _: _get(address), range(CONNECTIONS)))
            return time.perf_counter() - began

    return once


def cut(server: Sshd, home: Path, folder: Path, kind: str) -> Callable[[], float]:
    """Return a timer from when no byte passes any more until a job says so."""
    turn = iter(range(1000))

    def once() -> float:
        name = f"{kind}-cut{next(turn)}"
        place = folder / name
        with line_to(server, home, place, name, kind) as line:
            job = wait.options(worker=name).submit(ack=True)
            while job.state != "running":
                time.sleep(0.01)
            time.sleep(1.0)  # as in the middle of a job
            line.stall()
            began = time.perf_counter()
            while not job.trouble:
                time.sleep(0.005)
            took = time.perf_counter() - began
            line.flow()
            line.cut()
            job.cancel()
            job.wait(timeout=60)
        shutil.rmtree(place)
        return took

    return once


def main() -> None:
    """Time the cases that are asked for, or all, and print a row for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transports")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="run-") as name, own_settings(Path(name)):
        home = Path(name) / "home"
        home.mkdir()
        os.environ["HOME"] = str(home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        server = Sshd.start()
        try:
            every = cases(server, home, Path(name), sys.executable)
            print("| | asyncssh | openssh | openssh / asyncssh |\n|---|---|---|---|")
            for short in options.cases or every:
                case = every[short]
                ours, peer = measure.run(case, options.rounds)
                ratio = ours.median / peer.median
                print(f"| {case.name} | {peer} | {ours} | {ratio:.2f} |", flush=True)
        finally:
            close_client()
            end_masters()
            server.remove()


if __name__ == "__main__":
    main()
