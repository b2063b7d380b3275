"""What is known of a job, as plain properties."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chutes_jupyter.client.results import LARGE
from chutes_jupyter.client.words import outage
from chutes_jupyter.preflight import amount

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.preflight import Item
    from chutes_jupyter.store import JobRecord


class JobFacts:
    """What this process knows of one job, readable from any thread and without waiting.

    Parameters
    ----------
    live : Live
        Where it is kept up to date.
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    @property
    def id(self) -> str:
        """128 random bits as 32 hexadecimal digits."""
        return self._live.id

    @property
    def label(self) -> str:
        """The id as it is shown and typed: ``train-3f9c2a``."""
        return self._live.label

    @property
    def name(self) -> str:
        """The name of the job function."""
        return self._live.name

    @property
    def worker(self) -> str:
        """The name of the worker."""
        return self._live.worker

    @property
    def state(self) -> str:
        """The state that the worker last confirmed; see `confirmed_at`."""
        return self._live.state

    @property
    def created_at(self) -> float:
        """When it was submitted, in seconds since the epoch, by this machine's clock."""
        return self._live.created

    @property
    def started_at(self) -> float | None:
        """When the function began to run, in seconds since the epoch, by the worker's clock."""
        return self._live.started

    @property
    def ended_at(self) -> float | None:
        """When the job ended, by the worker's clock."""
        return self._live.ended

    @property
    def confirmed_at(self) -> float | None:
        """When the worker last confirmed what is shown, by this machine's clock."""
        return self._live.confirmed

    @property
    def elapsed(self) -> float | None:
        """For how many seconds the function has run; None before it began."""
        return self._live.elapsed

    @property
    def timeout(self) -> int | None:
        """Its limit in seconds, or None."""
        return self._live.timeout

    @property
    def reason(self) -> str | None:
        """Why it ended as it did; of a `pending` job what it waits for on its worker."""
        return self._live.reason

    @property
    def undeclared(self) -> list[int]:
        """Ports that it listens on and did not declare; `show_port` opens one."""
        return [each.port for each in self._live.offered]

    @property
    def gpus(self) -> str | None:
        """The GPUs that the worker gave it, in words: ``GPU 0 (1 x NVIDIA H100)``; or None."""
        return self._live.gpus

    @property
    def trouble(self) -> str | None:
        """Why its worker can't be reached at present, or None."""
        return self._live.trouble

    @property
    def trouble_since(self) -> float | None:
        """Since when its worker can't be reached, by this machine's clock, or None."""
        return self._live.trouble_since

    @property
    def outage(self) -> str:
        """For how long its worker can't be reached, and how old the state is, in words, or ""."""
        return outage(self._live, time.time())

    @property
    def sent(self) -> tuple[Item, ...]:
        """What went along with it: names, how each travels, and sizes; empty after `attach`."""
        return self._live.sent

    @property
    def carried(self) -> str:
        """What is on its way: ``its result arrives: 120 MB of 3.2 GB``; "" where nothing is."""
        return self._live.carried

    @property
    def notices(self) -> list[str]:
        """What the person should read."""
        return list(self._live.notices)

    @property
    def record(self) -> JobRecord:
        """What a list of jobs shows of it."""
        return self._live.record()

    @property
    def withheld(self) -> str | None:
        """Why what it returned is brought by `result` alone: a pickle, or large; or None."""
        if self._live.untrusted is not None:
            return f"Only job.result() brings what it returned: {self._live.untrusted}"
        size = self._live.value_size
        if size is None or size <= LARGE:
            return None
        return f"job.result() brings what it returned: {amount(size)}"

    def done(self) -> bool:
        """Whether it has ended."""
        return self._live.terminal

    @property
    def tail(self) -> str:
        """The end of the log; kept up to date while somebody subscribes."""
        return self._live.tail.decode("utf-8", "replace")
