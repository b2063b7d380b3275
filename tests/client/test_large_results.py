"""Large results come through a file: resumed, checked, bounded in memory, and gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chutes_jupyter.client import results
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.results import LARGE
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import AgentFailed, ResultError
from chutes_jupyter.files import write_private
from chutes_jupyter.job import Job
from chutes_jupyter.link import Reply
from chutes_jupyter.mirror import MirrorFolder
from chutes_jupyter.replies import LargeResult
from chutes_jupyter.store import JobRecord
from tests.client.rig import PATIENCE, Submit, until
from tests.faults.kit import Line

#: An array of this many bytes, and what is beside it.
SIZE = 2 * LARGE
RETURNS = f"""
import numpy as np
return {{"a": np.arange({SIZE} // 8), "rest": ["x", b"y" * {LARGE // 4}]}}
"""


def ours(job: Job) -> Path:
    """Return where we keep what belongs to a job and is no output."""
    return job.output_dir.parent / ".chute" / job.output_dir.name


def left(job: Job) -> list[str]:
    folder = ours(job) / "result"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_large_result_is_mapped_and_nothing_of_it_stays(local: Worker, submit: Submit) -> None:
    job = submit(local, RETURNS)
    found = job.result(PATIENCE)
    array = found["a"]
    assert np.array_equal(array, np.arange(SIZE // 8))
    assert found["rest"] == ["x", b"y" * (LARGE // 4)]
    assert (array.flags.owndata, array.flags.aligned, array.flags.writeable) == (False, True, True)
    array += 1
    assert array[:3].tolist() == [1, 2, 3]
    assert job.result() is found
    assert left(job) == []
    assert not job.output_dir.exists()
    assert job.carried == ""
    # What is left of it is known to `clean`.
    execute(["clean", job.id], Surroundings(lambda text: None))
    assert not ours(job).exists()


def test_it_is_not_brought_unasked(local: Worker, submit: Submit) -> None:
    job = submit(local, RETURNS)
    job.wait(PATIENCE)
    size = SIZE + LARGE // 4
    assert job.withheld == f"job.result() brings what it returned: {size / 1e6:.3g} MB"
    small = submit(local, "return 1")
    assert small.result(PATIENCE) == 1
    assert small.withheld is None


def test_what_was_pickled_comes_so_too(local: Worker, submit: Submit) -> None:
    job = submit(local, f"import re\nreturn [re.compile('a+'), b'x' * {SIZE}]")
    pattern, data = job.result(PATIENCE)
    assert pattern.fullmatch("aaa")
    assert data == b"x" * SIZE
    assert left(job) == []


def test_over_the_limit_it_stays_there_until_the_limit_is_raised(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, RETURNS)
    job.wait(PATIENCE)
    path = Workers.load().path
    before = path.read_bytes()
    write_private(path, b"[settings]\nmirror_limit_gb = 0.02\n" + before)
    with pytest.raises(ResultError, match=r"20,000,000 of a job may come .* mirror_limit_gb"):
        job.result(PATIENCE)
    write_private(path, before)
    assert len(job.result(PATIENCE)["a"]) == SIZE // 8


def test_without_room_it_says_how_much_lacks(
    local: Worker, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(local, RETURNS)
    job.wait(PATIENCE)
    with monkeypatch.context() as patched:
        patched.setattr(results, "free", lambda path: 12_345_678)
        with pytest.raises(ResultError, match=r"12,345,678 are free in .*: make room, and ask"):
            job.result(PATIENCE)
    assert len(job.result(PATIENCE)["a"]) == SIZE // 8


@pytest.mark.slow
def test_it_goes_on_where_a_cut_left_it(line: Line, submit: Submit) -> None:
    size = 150_000_000
    job = submit(
        line.worker,
        "import hashlib, os\npiece = os.urandom(1_000_000)\n"
        f"whole = piece * {size // 1_000_000}\nreturn whole, hashlib.sha256(whole).hexdigest()",
    )
    job.wait(PATIENCE)
    line.slow(40e6)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(job.result, 2 * PATIENCE)
        arrived = 0

        def more() -> bool:
            nonlocal arrived
            with contextlib.suppress(OSError):
                for path in (ours(job) / "result").iterdir():
                    now = path.stat().st_size
                    assert now >= arrived, "it began anew"
                    assert path.stat().st_mode & 0o777 == 0o600
                    if now > arrived + 10_000_000:
                        arrived = now
                        return True
            return False

        for _ in range(3):
            until(more, "more of it is here")
            assert re.fullmatch(r"its result arrives: .* MB of 150 MB", job.carried)
            assert job.carried in repr(job)
            line.cut()
        line.flow()
        line.cut()
        whole, digest = coming.result()
    assert hashlib.sha256(whole).hexdigest() == digest
    assert left(job) == []


@pytest.mark.slow
def test_it_takes_no_memory_until_it_is_used(home: Path, tmp_path: Path) -> None:
    script = """
        import re, threading, time
        import numpy as np
        from chutes_jupyter import Chute
        chute = Chute("me", "demo", "x")

        @chute.job()
        def work(self, **job_data):
            import numpy as np
            return np.ones(20_000_000)

        def used():
            with open("/proc/self/status") as file:
                return int(re.search(r"RssAnon:\\s+(\\d+) kB", file.read())[1]) // 1000

        job = work.submit()
        job.wait(60)
        before, peak, over = used(), 0, threading.Event()
        def watch():
            global peak
            while not over.wait(0.01):
                peak = max(peak, used())
        watching = threading.Thread(target=watch)
        watching.start()
        array = job.result(60)
        over.set()
        watching.join()
        assert array.nbytes == 160_000_000 and array[::500_000].sum() == 40
        print(peak - before)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) < 80  # of 160 MB


# -- A worker that sends something else ----------------------------------------------------------


class Bulk:
    """A way to a worker that sends what the test says."""

    def __init__(self, *answers: bytes, size: int, digest: str | None = None) -> None:
        self._answers, self._size, self._digest = list(answers), size, digest
        self.offsets: list[int] = []

    async def patient_link(self, trouble: Any) -> None:
        return

    @contextlib.asynccontextmanager
    async def stream(self, op: str, **fields: Any) -> AsyncIterator[AsyncIterator[Reply]]:
        assert op == "result"
        self.offsets.append(fields["offset"])
        yield self._frames(self._answers.pop(0))

    async def _frames(self, data: bytes) -> AsyncIterator[Reply]:
        for start in range(0, len(data), 1000):
            yield Reply({"more": True}, data[start : start + 1000])
        digest = self._digest or hashlib.sha256(data).hexdigest()
        end = {"more": False, "size": self._size, "mtime_ns": 1, "sha256": digest, "changed": False}
        yield Reply(end, b"")


def bring(bulk: Bulk, folder: Path, size: int) -> bytes:
    record = JobRecord(id="ab" * 16, name="work", worker="gpu1", created=0.0)
    found = LargeResult(size=size, mtime_ns=1)
    with ThreadPoolExecutor(1) as pool:
        way = results._Large(Live(record), bulk, "codec", found, pool)  # type: ignore[arg-type]
        place = MirrorFolder.claim(folder, "work", record.id)
        return bytes(asyncio.run(way.bring(place)))


GOOD = os.urandom(10_000)
BAD = b"\0" + GOOD[1:]


def test_a_damaged_result_comes_once_more(tmp_path: Path) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    bulk = Bulk(BAD, GOOD, size=len(GOOD), digest=digest)
    assert bring(bulk, tmp_path, len(GOOD)) == GOOD
    assert bulk.offsets == [0, 0]
    with pytest.raises(ResultError, match="arrived damaged"):
        bring(Bulk(BAD, BAD, size=len(GOOD), digest=digest), tmp_path, len(GOOD))


@pytest.mark.parametrize(
    "bulk",
    [
        lambda: Bulk(GOOD + b"x", size=len(GOOD)),
        lambda: Bulk(GOOD[:-1], size=len(GOOD)),
        lambda: Bulk(GOOD, size=len(GOOD) + 1),
    ],
    ids=["more", "less", "another"],
)
def test_other_than_what_was_said_is_refused(tmp_path: Path, bulk: Callable[[], Bulk]) -> None:
    with pytest.raises(AgentFailed, match="sends another result of work-ababab than it said"):
        bring(bulk(), tmp_path, len(GOOD))
    assert [path for path in tmp_path.rglob("result/*") if path.is_file()] == []


# -- The way there -------------------------------------------------------------------------------


def test_what_takes_long_to_send_shows_how_far_it_is(line: Line, submit: Submit) -> None:
    submit(line.worker, "return 1").result(PATIENCE)
    line.slow(2e6)
    job = submit(line.worker, "return len(job_data['x'])", data={"x": os.urandom(8_000_000)})
    until(lambda: job.carried, "it is on its way")
    assert re.fullmatch(r"on its way to the worker: .* of 8 MB", job.carried)
    assert job.state == "pending"
    assert "on its way to the worker" in repr(job)
    line.flow()
    assert job.result(PATIENCE) == 8_000_000
    assert job.carried == ""
