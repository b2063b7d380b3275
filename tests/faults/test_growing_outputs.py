"""Outputs that grow without end: what the job has deleted does not stay here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, config_file
from chutes_jupyter.link import Reply
from chutes_jupyter.mirror import Mirror, MirrorFolder
from chutes_jupyter.replies import Refusal
from tests.client import conftest
from tests.client.rig import PATIENCE, Submit, until
from tests.test_mirror import JOB
from tests.test_mirror import Worker as Fake
from tests.test_mirror import here as mirrored

here, local, submit = conftest.here, conftest.local, conftest.submit
own_client = conftest.own_client

SIZE = 200_000
#: Four checkpoints of 200 kB at a time; with the word of the test, four others instead.
CHECKPOINTS = """
import os, shutil, time
out = job_data["output_dir"]
for turn in range(3):
    for number in range(4):
        folder = f"{out}/ckpt-{turn}-{number}"
        os.mkdir(folder)
        with open(folder + "/weights", "wb") as file:
            file.write(b"%d.%d." % (turn, number) * 50_000)
    while turn < 2 and not os.path.exists(job_data["gate"] + str(turn)):
        time.sleep(0.02)
    if turn < 2:
        for number in range(4):
            shutil.rmtree(f"{out}/ckpt-{turn}-{number}")
"""


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder that may change meanwhile."""
    total = 0
    # Not rglob: it raises where a folder vanishes under it, os.walk goes on.
    for at, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(at, name)).st_size
    return total


@pytest.mark.slow
def test_rotating_checkpoints_do_not_fill_this_machine(
    local: Worker, submit: Submit, tmp_path: Path
) -> None:
    with config_file().open("a") as file:
        # All the checkpoints together would not fit, those that are there at once do.
        file.write("[settings]\nmirror_limit_gb = 0.001\n")
    gate = str(tmp_path / "gate")
    job = submit(local, CHECKPOINTS, data={"gate": gate})
    outputs = job.output_dir.parent
    most = 0

    def all_here(turn: int) -> bool:
        nonlocal most
        most = max(most, size_of(outputs))
        return len(list(job.output_dir.glob(f"ckpt-{turn}-*/weights"))) == 4

    for turn in range(2):
        until(lambda turn=turn: all_here(turn), "the checkpoints come while the job runs")
        assert not job.done()
        Path(gate + str(turn)).touch()
    until(lambda: all_here(2), "the last ones come")
    job.wait(PATIENCE)
    assert job.mirror.state == "complete", job.mirror
    assert 4 * SIZE <= most <= 4 * SIZE + 20_000
    assert sorted(path.name for path in job.output_dir.iterdir()) == [
        f"ckpt-2-{number}" for number in range(4)
    ]
    for number in range(4):
        data = (job.output_dir / f"ckpt-2-{number}" / "weights").read_bytes()
        assert data == b"2.%d." % number * 50_000


# -- the same against a worker whose every answer is the test's


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "chute_outputs"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def mirror_of(
    worker: Fake, outputs: Path, executor: ThreadPoolExecutor, limit: int | None = None
) -> Mirror:
    return Mirror(
        worker,
        lambda: MirrorFolder.claim(outputs, "train", JOB),
        executor,
        limit=limit,
        label="train-3f9c2a",
        changed=lambda: None,
    )


async def until_here(outputs: Path, files: dict[str, bytes]) -> None:
    async with asyncio.timeout(20):
        while mirrored(outputs) != files:
            await asyncio.sleep(0.01)


def end(worker: Fake) -> None:
    worker.final = True
    worker.change()


@pytest.mark.anyio
async def test_what_vanishes_while_the_job_runs_vanishes_here_and_frees_the_limit(
    outputs: Path, executor: ThreadPoolExecutor
) -> None:
    worker = Fake(**{"ckpt-1": b"1" * 4000})
    worker.final = False
    mirror = mirror_of(worker, outputs, executor, limit=9000)
    running = asyncio.create_task(mirror.run())
    await until_here(outputs, worker.files)
    (outputs / "train-3f9c2a" / "mine.txt").write_text("the person's own")
    own = {"mine.txt": b"the person's own"}
    for number in range(2, 8):
        worker.files.pop(f"ckpt-{number - 2}", None)
        worker.change(**{f"ckpt-{number}": b"%d" % number * 4000})
        await until_here(outputs, {**worker.files, **own})
    end(worker)
    async with asyncio.timeout(20):
        assert (await running).state == "complete"
    assert mirrored(outputs) == {**worker.files, **own}


@pytest.mark.anyio
async def test_files_of_a_folder_that_can_not_be_read_just_now_stay(
    outputs: Path, executor: ThreadPoolExecutor
) -> None:
    worker = Fake(**{"sub/a": b"a", "sub2/b": b"b"})
    worker.final = False
    running = asyncio.create_task(mirror_of(worker, outputs, executor).run())
    await until_here(outputs, worker.files)
    both = dict(worker.files)
    worker.files.clear()
    worker.refused = [Refusal(path="sub", reason="folder can't be read: Permission denied")]
    worker.change()
    await until_here(outputs, {"sub/a": b"a"})
    worker.files.update(both)
    worker.refused = []
    end(worker)
    async with asyncio.timeout(20):
        assert (await running).state == "complete"
    assert mirrored(outputs) == both


@pytest.mark.anyio
async def test_half_a_file_that_the_job_deleted_does_not_stay(
    outputs: Path, executor: ThreadPoolExecutor
) -> None:
    """Each checkpoint is deleted while it is on its way: nothing of it may be left here."""

    class Rotating(Fake):
        @asynccontextmanager
        async def read(
            self, path: str, offset: int, *, hashed: bool
        ) -> AsyncIterator[AsyncIterator[Reply]]:
            async def frames() -> AsyncIterator[Reply]:
                yield Reply({"more": True}, bytes(3_000_000))
                self.reads.append((path, offset))
                await asyncio.sleep(3600)

            yield frames()

    worker = Rotating(**{"ckpt-1": bytes(4_000_000)})
    worker.final = False
    mirror = mirror_of(worker, outputs, executor)
    partial = outputs / ".chute" / "train-3f9c2a" / "partial"
    for number in (1, 2, 3):
        # A kernel that dies in the middle of each; the next one goes on.
        running = asyncio.create_task(mirror.run())
        async with asyncio.timeout(20):
            while len(worker.reads) < number or size_of(partial) != 3_000_000:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        worker.files = {f"ckpt-{number + 1}": bytes(4_000_000)}
        worker.version += 1
        mirror = mirror_of(worker, outputs, executor)
    assert len(list(partial.iterdir())) == 1


def test_what_the_job_deleted_while_nobody_followed_goes_too(
    local: Worker, submit: Submit, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = submit(
        local,
        "import os, time\npath = job_data['output_dir'] + '/model'\nopen(path, 'w').write('x')\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\nos.remove(path)",
    )
    until(lambda: (job.output_dir / "model").exists(), "the file comes while the job runs")
    jobs_module.close_client()
    gate.touch()
    again = jobs_module.attach(job.id)
    again.wait(PATIENCE)
    assert (again.state, again.mirror.state) == ("succeeded", "complete")
    assert not (again.output_dir / "model").exists()
