"""The cut run: a job, and many small ones, while the line to their worker breaks.

`make faults` runs it in full, once for each of SEEDS; a small one is in the tests.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import logging
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from chutes_jupyter import job as jobs_module
from chutes_jupyter import portal
from chutes_jupyter.client.live import Live
from chutes_jupyter.config import TRANSPORTS
from chutes_jupyter.job import Job
from chutes_jupyter.models import TERMINAL
from tests.client.rig import start
from tests.conftest import end_masters
from tests.faults.kit import Injector, Line, line_to
from tests.faults.moments import Collecting, answers_over
from tests.sshd import Sshd

#: Paced by the cuts: of the batches, so many are done when so many cuts have been made.
BIG = """
import hashlib, os, random, time
with open(job_data["starts"], "a") as file:
    file.write(job_data["tag"] + "\\n")
luck = random.Random(job_data["seed"])
folder, hashes = job_data["output_dir"], {}
batches, lines, files = job_data["batches"], job_data["lines"], job_data["files"]
pads = ["", " and more", " " + "=" * 70, " \\u00e9\\u4e2d"]

def write(name, data, mode="wb"):
    with open(os.path.join(folder, name), mode) as file:
        file.write(data)

def write_one(number):
    name, data = "file-%03d" % number, luck.randbytes(int(2 ** luck.uniform(0, 22)))
    half = luck.choice((0, len(data) // 2))
    write(name, data[:half])
    write(name, data[half:], "ab")
    hashes[name] = hashlib.sha256(data).hexdigest()

growing = b""
for batch in range(batches):
    for number in range(lines * batch // batches, lines * (batch + 1) // batches):
        print(number, luck.choice(pads))
    for number in range(files * 4 // 5 * batch // batches, files * 4 // 5 * (batch + 1) // batches):
        write_one(number)
    piece = luck.randbytes(luck.randrange(2000))
    growing += piece
    write("growing", piece, "ab")
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        with open(job_data["cuts"]) as file:
            done = int(file.read() or 0)
        if done >= job_data["cuts_while"] * batch // batches:
            break
        time.sleep(0.02)
for number in range(files * 4 // 5, files):
    write_one(number)
hashes["growing"] = hashlib.sha256(growing).hexdigest()
return hashes
"""

SMALL = """
with open(job_data["starts"], "a") as file:
    file.write(job_data["tag"] + "\\n")
print("small", job_data["tag"])
"""
ENDLESS = SMALL + "import time\nwhile True:\n    time.sleep(0.02)\n"

#: For the end of the run, once nothing breaks any more, in seconds.
PATIENCE = 120.0


@dataclass(frozen=True)
class Size:
    """How much of everything there is."""

    cuts: int
    lines: int
    files: int
    submits: int
    cancels: int
    collects: int
    holes: bool = True


FULL = Size(cuts=200, lines=1_000_000, files=200, submits=80, cancels=40, collects=20)
LITTLE = Size(cuts=20, lines=100_000, files=25, submits=6, cancels=3, collects=4, holes=False)


@dataclass
class Figures:
    """What came out: `lost` and `doubled` say of what, and are empty if all is well."""

    seed: int
    size: Size
    cuts: int = 0
    at_work: int = 0
    collecting: int = 0
    connections: int = 0
    events: int = 0
    seconds: float = 0.0
    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ways: collections.Counter[str] = field(default_factory=collections.Counter)
    moments: collections.Counter[str] = field(default_factory=collections.Counter)

    def note(self, big: Job) -> None:
        """Note what the big job does just before a cut."""
        arriving = big.done() and big.mirror.state == "arriving"
        self.moments["its outputs arriving" if arriving else big.state] += 1

    def __str__(self) -> str:
        ends = ", ".join(f"{n} {state}" for state, n in sorted(self.ends.items()))
        ways = ", ".join(f"{n} {way}" for way, n in self.ways.most_common())
        moments = ", ".join(f"{state}: {n}" for state, n in self.moments.most_common())
        faults = [*self.lost, *self.doubled, *self.wrong]
        return "\n  ".join(
            [
                f"seed {self.seed}: {self.cuts} cuts, {self.size.lines:,} lines, "
                f"{self.size.files} files, {len(self.lost)} lost, {len(self.doubled)} doubled, "
                f"{len(self.wrong)} wrong, {self.seconds:.0f} s",
                f"{self.connections} connections, {self.events} events; small jobs: {ends}",
                f"cuts: {ways}; {self.at_work} over a connection with an answer; "
                f"{self.collecting} while a job collected; with the big job {moments}",
                *faults[:20],
            ]
        )


@contextlib.contextmanager
def applied_events() -> Iterator[dict[str, list[int]]]:
    """Note every event that becomes part of what the client knows, by job."""
    seen: dict[str, list[int]] = collections.defaultdict(list)
    original = Live._apply_one

    def noted(live: Live, event: Any) -> None:
        seen[live.id].append(event.n)
        original(live, event)

    with mock.patch.object(Live, "_apply_one", noted):
        yield seen


class Reader(threading.Thread):
    """Follows a log from its first byte on, as it comes."""

    def __init__(self, job: Job) -> None:
        super().__init__(name="reads the log", daemon=True)
        self.data = bytearray()
        self.error: BaseException | None = None
        self._log = jobs_module.current_client().log(job._live, offset=0, follow=True)
        self.start()

    def run(self) -> None:
        try:
            while (piece := portal.call(self._log.next)) is not None:
                self.data += piece
        except BaseException as error:
            self.error = error


class Traffic(threading.Thread):
    """Submits small jobs, and cancels some of them, all the while."""

    def __init__(self, line: Line, starts: Path, size: Size, seed: int) -> None:
        super().__init__(name="submits and cancels", daemon=True)
        self.jobs: list[tuple[str, Job, bool]] = []
        self.cuts = 0
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self._line, self._starts = line, starts
        self._random = random.Random(seed + 1)
        self._plan = [False] * size.submits + [True] * size.cancels
        self._random.shuffle(self._plan)
        self.start()

    def run(self) -> None:
        try:
            while self._plan or not self.stop.is_set():
                # After the plan some more, so that there is always something to break; but who
                # cuts at each of them leaves little time for anything else.
                planned = bool(self._plan)
                ends = self._plan.pop() if planned else False
                self._one(f"small-{len(self.jobs)}", ends, cuts=planned)
                while sum(not job.done() for _, job, _ in self.jobs) > 4:
                    time.sleep(0.02)
        except BaseException as error:
            self.error = error

    def _one(self, tag: str, ends: bool, *, cuts: bool) -> None:
        data = {"tag": tag, "starts": str(self._starts)}
        job = start(self._line.worker, ENDLESS if ends else SMALL, data=data)
        self.jobs.append((tag, job, ends))
        if cuts and self._random.random() < 0.5:
            # Now, and not at the injector's next moment: in the middle of the submit.
            time.sleep(self._random.uniform(0, 0.02))
            self.cuts += self._line.cut(reset=self._random.random() < 0.5) > 0
        if ends:
            time.sleep(self._random.choice((0, 0.05, 0.5)))
            for _ in range(self._random.choice((1, 2))):
                job.cancel(wait=0)
            if self._random.random() < 0.5:
                self.cuts += self._line.cut() > 0
        time.sleep(self._random.uniform(0, 0.3 if cuts else 1.0))


def run(
    seed: int, size: Size, sshd: Sshd, home: Path, folder: Path, transport: str | None = None
) -> Figures:
    """Do it all, and say what came out."""
    figures = Figures(seed, size)
    starts, cuts = folder / "starts", folder / "cuts"
    starts.touch()
    cuts.write_text("0")
    began = time.monotonic()
    with (
        line_to(sshd, home, folder / "worker", transport=transport) as line,
        applied_events() as seen,
        answers_over(line) as answered,
    ):
        injector = Injector(line, seed, answered, holes=size.holes)
        try:
            start(line.worker, "return 1").result(PATIENCE)  # the worker can be reached
            data = {
                "tag": "big", "seed": seed, "starts": str(starts), "cuts": str(cuts),
                "lines": size.lines, "files": size.files, "batches": max(20, size.cuts),
                "cuts_while": size.cuts * 4 // 5,
            }  # fmt: skip
            big = start(line.worker, BIG, data=data)
            line.cut()  # during its submit
            end = big.subscribe(lambda: None)
            reader, traffic = Reader(big), Traffic(line, starts, size, seed)
            collecting = Collecting(line, folder, size.collects, answered)
            aimed = threading.Thread(target=collecting.aim, args=(big,), daemon=True)
            aimed.start()
            break_it(injector, size.cuts, cuts, reader, lambda: figures.note(big))
            traffic.stop.set()
            wait_for(traffic, lambda: not traffic.is_alive(), "the small jobs are submitted")
            wait_for(collecting, lambda: not collecting.is_alive(), "jobs have collected")
            aimed.join(PATIENCE)
            hashes = big.result(PATIENCE)
            wait_for(reader, lambda: not reader.is_alive(), "the log has ended")
            end()
            judge_big(figures, big, reader, hashes, folder / "worker", size)
            small = [*traffic.jobs, *collecting.jobs]
            judge_small(figures, small, folder / "worker")
            judge_left(figures, collecting.jobs)
            time.sleep(1.0)  # what still lies in dying connections may arrive
            judge_starts(figures, starts, small)
            judge_events(figures, seen, folder / "worker")
        except BaseException as error:
            error.add_note(f"the cut run: {injector!r}")
            raise
        figures.ways = collections.Counter(injector.struck)
        figures.ways["at a submit or cancel"] = traffic.cuts
        figures.ways["at collecting"] = len(collecting.struck)
        figures.at_work, figures.collecting = injector.at_work, sum(collecting.struck)
        figures.cuts = figures.ways.total()
        figures.connections = line.accepted
    figures.seconds = time.monotonic() - began
    return figures


def break_it(
    injector: Injector, number: int, cuts: Path, reader: Reader, note: Callable[[], None]
) -> None:
    """Break the line so many times; the job goes on with each."""
    for done in range(1, number + 1):
        note()
        injector.strike()
        beside = cuts.with_suffix(".new")
        beside.write_text(str(done))
        beside.replace(cuts)
        if reader.error:
            raise reader.error


def wait_for(thread: Any, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.05)
    if thread.error:
        raise thread.error


# -- what came out


def worker_events(worker: Path, job: str) -> list[dict[str, Any]]:
    file = worker / "jobs" / job / "events.jsonl"
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def judge_big(
    figures: Figures,
    big: Job,
    reader: Reader,
    hashes: dict[str, str],
    worker: Path,
    size: Size,
) -> None:
    """The log byte by byte, the files hash by hash."""
    theirs = (worker / "jobs" / big.id / "log").read_bytes()
    if bytes(reader.data) != theirs:
        figures.wrong.append(f"log: {len(reader.data)} bytes here, {len(theirs)} on the worker")
    numbers = collections.Counter(map(int, re.findall(rb"^(\d+) ", bytes(reader.data), re.M)))
    figures.lost += [f"line {n}" for n in range(size.lines) if n not in numbers]
    figures.doubled += [f"line {n}" for n, times in numbers.items() if times > 1]
    for name, digest in hashes.items():
        here = big.output_dir / name
        if not here.exists():
            figures.lost.append(f"file {name}")
        elif hashlib.sha256(here.read_bytes()).hexdigest() != digest:
            figures.wrong.append(f"file {name}: another hash")
    extra = {path.name for path in big.output_dir.iterdir()} - set(hashes)
    figures.wrong += [f"file {name}: nobody wrote it" for name in extra]
    if len(hashes) != size.files + 1:
        figures.wrong.append(f"{len(hashes)} files were written")


def judge_small(figures: Figures, jobs: Sequence[tuple[str, Job, bool]], worker: Path) -> None:
    """Every small job has ended, as it should, and leaves no process behind."""
    for tag, job, cancelled in jobs:
        job.wait(PATIENCE, outputs=False)
        figures.ends[job.state] += 1
        events = worker_events(worker, job.id)
        states = [event["state"] for event in events if event["type"] == "state"]
        if states and states[-1] != job.state:
            figures.wrong.append(f"{tag} is {job.state} here and {states[-1]} on the worker")
        if not states and (job.state not in TERMINAL - {"succeeded"} or not job.reason):
            figures.wrong.append(f"{tag} is {job.state} ({job.reason}) and never started")
        if not cancelled and states and job.state != "succeeded":
            figures.wrong.append(f"{tag} started and is {job.state}: {job.reason}")
        if cancelled and job.state not in ("cancelled", "failed"):
            figures.wrong.append(f"{tag} was cancelled and is {job.state}")
        if pids := processes_of(job.id):
            figures.wrong.append(f"{tag} is {job.state}, and lives: pid {pids}")


def judge_left(figures: Figures, jobs: Sequence[tuple[str, Job, bool]]) -> None:
    """What jobs left that were cut off while they collected is here, and as they wrote it."""
    for tag, job, _ in jobs:
        if job.state == "succeeded":
            digest = job.result(PATIENCE)
            left = job.output_dir / "left"
            if not left.exists():
                figures.lost.append(f"file of {tag}")
            elif hashlib.sha256(left.read_bytes()).hexdigest() != digest:
                figures.wrong.append(f"file of {tag}: another hash")


def judge_starts(figures: Figures, starts: Path, jobs: Sequence[tuple[str, Job, bool]]) -> None:
    """Every job ran once, or never where it says so."""
    times = collections.Counter(starts.read_text().split())
    figures.doubled += [f"start of {tag}" for tag, n in times.items() if n > 1]
    if not times["big"]:
        figures.lost.append("start of big")
    for tag, job, _ in jobs:
        if job.state == "succeeded" and not times[tag]:
            figures.lost.append(f"start of {tag}")
        if times[tag] and not job.record.event:
            figures.wrong.append(f"{tag} is {job.state} ({job.reason}), and started")


def judge_events(figures: Figures, seen: dict[str, list[int]], worker: Path) -> None:
    """Every number of every journal was applied once; no job was `starting` twice."""
    for folder in (worker / "jobs").iterdir():
        events = worker_events(worker, folder.name)
        figures.events += len(events)
        written = [event["n"] for event in events]
        applied = collections.Counter(seen.get(folder.name, ()))
        figures.lost += [f"event {n} of {folder.name}" for n in written if n not in applied]
        figures.doubled += [f"event {n} of {folder.name}" for n, k in applied.items() if k > 1]
        starting = sum(event.get("state") == "starting" for event in events)
        if starting > 1:
            figures.doubled.append(f"starting of {folder.name}")


def processes_of(job: str) -> list[int]:
    """Return the processes that carry a job's id in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if job.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
    return found


def main() -> int:
    """Run in full for each of SEEDS, and print a line of figures for each."""
    # Many writes at once on a socket that was just reset: asyncio counts them aloud.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    seeds = [int(word) for word in os.environ.get("SEEDS", "1 2 3").split()]
    size = LITTLE if "--little" in sys.argv else FULL
    well = True
    sshd = Sshd.start()
    try:
        for seed in seeds:
            for transport in TRANSPORTS:
                print(f"seed {seed} over {transport} …", flush=True)
                with tempfile.TemporaryDirectory(prefix="chutes-cuts-") as name:
                    figures = run_alone(seed, size, sshd, Path(name), transport)
                print(figures, flush=True)
                well = well and not (figures.lost or figures.doubled or figures.wrong)
    finally:
        sshd.remove()
    return 0 if well else 1


def run_alone(seed: int, size: Size, sshd: Sshd, folder: Path, transport: str) -> Figures:
    """Run outside of pytest: with a home of its own."""
    home = folder / "home"
    home.mkdir()
    os.environ["HOME"] = str(home)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        os.environ[name] = str(home / name.lower())
    for name in ("SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        os.environ.pop(name, None)
    before = Path.cwd()
    os.chdir(home)
    try:
        return run(seed, size, sshd, home, folder, transport)
    finally:
        jobs_module.close_client()
        end_masters()
        os.chdir(before)


if __name__ == "__main__":
    sys.exit(main())
