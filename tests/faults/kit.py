"""Faults by command, and by a seed: a line to a worker that breaks in every way."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from chutes_jupyter.config import Worker, Workers
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd
from tests.transports.proxy import Proxy


class Line:
    """A worker behind a line that can be cut, stopped and slowed; from any thread."""

    def __init__(self, worker: Worker, proxy: Proxy, portal: BlockingPortal) -> None:
        self.worker, self._proxy, self._portal = worker, proxy, portal

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._proxy.open

    @property
    def accepted(self) -> int:
        """How many connections there ever were."""
        return self._proxy.accepted

    def cut(self, *, one: random.Random | None = None, reset: bool = True) -> int:
        return self._do(lambda: self._proxy.cut(one=one, reset=reset))

    def cut_after(self, size: int, *, times: int = 1) -> None:
        self._do(lambda: self._proxy.cut_after(size, times=times))

    def stall(self) -> None:
        self._do(self._proxy.stall)

    def strand(self) -> None:
        self._do(self._proxy.strand)

    def release(self) -> None:
        self._do(self._proxy.release)

    def slow(self, rate: float) -> None:
        self._do(lambda: self._proxy.slow(rate))

    def flow(self) -> None:
        self._do(self._proxy.flow)

    def _do(self, action: Callable[[], Any]) -> Any:
        return self._portal.call(action)


@contextlib.contextmanager
def line_to(
    sshd: Sshd, home: Path, folder: Path, name: str = "cut1", transport: str | None = None
) -> Iterator[Line]:
    """Make the worker `name`, whose folder is `folder`, behind a line to an sshd."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Proxy(sshd.port)) as proxy,
    ):
        add_to_ssh_config(home, dataclasses.replace(sshd, port=proxy.port), name)
        worker = Worker(name, host=name, dir=str(folder), transport=transport)
        Workers.load().add(worker)
        yield Line(worker, proxy, portal)


class Injector:
    """Breaks a line again and again, at moments and in ways that a seed decides.

    The system's own timing decides what is hit, so a seed does not repeat a run to the byte;
    it repeats its pattern.

    Parameters
    ----------
    line : Line
        What breaks.
    seed : int
        Of its luck.
    answered : callable
        Whether an answer has come over the present connection.
    holes : bool
        Whether the line is also silent for seconds.
    """

    #: How the line breaks, and how often: at once; after so many bytes more, in the middle of
    #: a frame; one connection of several; after a stop; after a crawl; in a black hole.
    WAYS: ClassVar = {"cut": 40, "middle": 35, "one": 10, "stall": 7, "slow": 6, "hole": 4}
    #: How long every second cut, which is meant for what comes after the login, waits for that,
    #: in seconds.
    WORK: ClassVar = 20.0

    def __init__(
        self, line: Line, seed: int, answered: Callable[[], bool], *, holes: bool = True
    ) -> None:
        self.line, self.seed, self.answered = line, seed, answered
        self.struck: list[str] = []
        #: How many met a connection over which an answer had come.
        self.at_work = 0
        self._random = random.Random(seed)
        self._ways = {way: n for way, n in self.WAYS.items() if holes or way != "hole"}

    def __repr__(self) -> str:
        return f"<seed {self.seed}, {len(self.struck)} cuts, the last: {self.struck[-8:]}>"

    def strike(self, patience: float = 60.0) -> None:
        """Wait for a connection and for a random moment, and break it."""
        self._until(lambda: self.line.open > 0, patience)
        # Short waits hit the handshake and the start of the agent, long ones what comes after.
        longest = self._random.choice((0.1, 0.4, 1.0))
        time.sleep(self._random.uniform(0, longest))
        if len(self.struck) % 2:
            # Ways to log in differ in speed. Without this a slow one is cut in nearly every
            # login, and its client sits in ever longer pauses, as it should, while little of
            # what comes after is put to the test.
            within(self.WORK, lambda: self._works_for(self._random.uniform(0, longest)))
        self.at_work += self.answered()
        (way,) = self._random.choices(list(self._ways), list(self._ways.values()))
        while not getattr(self, f"_{way}")():
            # It had broken, or ended, by itself just before.
            self._until(lambda: self.line.open > 0, patience)
        self.struck.append(way)

    def _works_for(self, seconds: float) -> bool:
        if not self.answered():
            return False
        time.sleep(seconds)
        return self.answered()

    def _cut(self) -> bool:
        return self.line.cut(reset=self._random.random() < 0.7) > 0

    def _one(self) -> bool:
        return self.line.cut(one=self._random) > 0

    def _middle(self) -> bool:
        before = self.line.open
        self.line.cut_after(int(2 ** self._random.uniform(0, 19)))
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            if not self.line.open:
                return before > 0
            time.sleep(0.005)
        return self.line.cut() > 0  # too little passes: it breaks here

    def _stall(self) -> bool:
        self.line.stall()
        time.sleep(self._random.uniform(0.05, 1.0))
        late = self._random.random() < 0.5
        if late:  # what was held back arrives; then it breaks
            self.line.flow()
            time.sleep(self._random.uniform(0, 0.05))
        cut = self.line.cut() > 0
        self.line.flow()
        return cut

    def _slow(self) -> bool:
        self.line.slow(2 ** self._random.uniform(10, 18))
        time.sleep(self._random.uniform(0.1, 1.0))
        cut = self.line.cut() > 0
        self.line.flow()
        return cut

    def _hole(self) -> bool:
        """Let the client notice by itself; what was held back arrives after that."""
        self.line.stall()
        time.sleep(self._random.uniform(6.5, 8.0))
        self.line.flow()
        time.sleep(self._random.uniform(0, 0.1))
        self.line.cut()
        return True

    @staticmethod
    def _until(condition: Callable[[], bool], patience: float) -> None:
        if not within(patience, condition):
            raise AssertionError(f"nothing connected within {patience:g} s")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
