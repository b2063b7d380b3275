"""The moments of the cut run: what the client got before a cut, and cuts that wait for a state."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from chutes_jupyter.client.session import Session
from chutes_jupyter.job import Job
from chutes_jupyter.models import TERMINAL
from tests.client.rig import start
from tests.faults.kit import Line, within

#: Collects for some milliseconds: what it leaves has to be hashed.
LEAVES = """
import hashlib, os, time
with open(job_data["starts"], "a") as file:
    file.write(job_data["tag"] + "\\n")
data = os.urandom(4 << 20)
with open(os.path.join(job_data["output_dir"], "left"), "wb") as file:
    file.write(data)
limit = time.monotonic() + 60
while not os.path.exists(job_data["go"]) and time.monotonic() < limit:
    time.sleep(0.005)
return hashlib.sha256(data).hexdigest()
"""


@contextlib.contextmanager
def answers_over(line: Line) -> Iterator[Callable[[], bool]]:
    """Tell, when asked, whether the client got an answer since the newest connection was made."""
    newest = 0
    original = Session._answered

    def noted(session: Session) -> None:
        nonlocal newest
        newest = line.accepted
        original(session)

    with mock.patch.object(Session, "_answered", noted):
        yield lambda: line.open > 0 and newest == line.accepted


class Collecting(threading.Thread):
    """Runs jobs that leave a file, one after another, and cuts the line while they collect.

    Parameters
    ----------
    line : Line
        What is cut.
    folder : Path
        Where the run has its files.
    number : int
        So many cuts; what breaks by itself meanwhile lets some be missed, up to half.
    answered : callable
        Whether an answer has come over the present connection.
    """

    def __init__(self, line: Line, folder: Path, number: int, answered: Callable[[], bool]) -> None:
        super().__init__(name="cuts while jobs collect", daemon=True)
        self.jobs: list[tuple[str, Job, bool]] = []
        #: For each cut whether the job collected still when it was made.
        self.struck: list[bool] = []
        self.error: BaseException | None = None
        self._line, self._folder, self._number = line, folder, number
        self._answered = answered
        self.start()

    def run(self) -> None:
        try:
            for number in range(2 * self._number):
                if len(self.struck) < self._number:
                    self._one(f"leaves-{number}")
        except BaseException as error:
            self.error = error

    def _one(self, tag: str) -> None:
        go = self._folder / f"go-{tag}"
        starts = self._folder / "starts"
        data = {"tag": tag, "starts": str(starts), "go": str(go)}
        job = start(self._line.worker, LEAVES, data=data)
        self.jobs.append((tag, job, False))
        within(60.0, lambda: job.done() or tag in starts.read_text().split())
        within(10.0, self._answered)
        go.touch()
        self.aim(job)

    def aim(self, job: Job) -> None:
        """Cut when the worker's own journal says that a job collects."""
        file = self._folder / "worker" / "jobs" / job.id / "events.jsonl"

        def says(state: bytes) -> bool:
            return file.exists() and b'"%b"' % state in file.read_bytes()

        within(600.0, lambda: says(b"collecting") or job.done())
        if says(b"collecting") and self._line.cut():
            self.struck.append(not any(says(state.encode()) for state in TERMINAL))
