"""The mirror against a worker that lies, changes its mind, or breaks off."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from chutes_jupyter.errors import ConnectionLost, RequestRefused
from chutes_jupyter.link import Reply
from chutes_jupyter.mirror import Mirror, MirrorFolder, MirrorStatus, Snapshot, room
from chutes_jupyter.mirror.folder import Placed
from chutes_jupyter.replies import Entry, Refusal

pytestmark = pytest.mark.anyio

JOB = "3f9c2a" + "0" * 26
PIECE = 1000


class Worker:
    """A source of outputs whose every answer the test decides."""

    def __init__(self, **files: bytes) -> None:
        self.files = dict(files)
        self.times: dict[str, int] = {}
        self.refused: list[Refusal] = []
        self.version = 1
        self.final = True
        self.reads: list[tuple[str, int]] = []
        self.cut_after: int | None = None
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.endless = False
        self.changing = False
        self.news_came = asyncio.Event()

    def entry(self, path: str) -> Entry:
        data = self.files[path]
        return Entry(
            path=path,
            size=len(data),
            mtime_ns=self.times.get(path, 10**18),
            sha256=hashlib.sha256(data).hexdigest() if self.final else None,
            quiet=True,
        )

    def change(self, **files: bytes) -> None:
        self.files.update(files)
        for path in files:
            self.times[path] = self.times.get(path, 10**18) + 10**9
        self.version += 1
        self.news_came.set()

    async def listing(self) -> Snapshot:
        entries = [self.entry(path) for path in self.files]
        return Snapshot(self.version, self.final, entries, self.refused)

    async def news(self, version: int) -> None:
        while self.version <= version:
            self.news_came.clear()
            await self.news_came.wait()

    @asynccontextmanager
    async def read(
        self, path: str, offset: int, *, hashed: bool
    ) -> AsyncIterator[AsyncIterator[Reply]]:
        self.reads.append((path, offset))
        yield self._frames(path, offset, hashed)

    async def _frames(self, path: str, offset: int, hashed: bool) -> AsyncIterator[Reply]:
        if path not in self.files:
            raise RequestRefused("not_found", "no such file")
        entry, rest = self.entry(path), self.files[path][offset:]
        for start in range(0, len(rest), PIECE):
            if self.cut_after is not None and start >= self.cut_after:
                self.cut_after = None
                raise ConnectionLost("cut")
            yield Reply({"more": True}, self.spoil(rest[start : start + PIECE]))
        while self.endless:
            yield Reply({"more": True}, bytes(PIECE))
        end = {
            "more": False,
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "sha256": hashlib.sha256(rest).hexdigest() if hashed else None,
            "changed": self.changing,
        }
        yield Reply(end, b"")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "chute_outputs"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


Make = Callable[..., Mirror]


@pytest.fixture
def make(outputs: Path, executor: ThreadPoolExecutor) -> Make:
    def made(worker: Worker, limit: int | None = None) -> Mirror:
        return Mirror(
            worker,
            lambda: MirrorFolder.claim(outputs, "train", JOB),
            executor,
            limit=limit,
            label="train-3f9c2a",
            changed=lambda: None,
        )

    return made


def here(outputs: Path) -> dict[str, bytes]:
    root = outputs / "train-3f9c2a"
    found = {}
    # Not rglob: it raises where a folder vanishes under it, os.walk goes on.
    for at, _, names in os.walk(root):
        for file in (Path(at, name) for name in names):
            with suppress(FileNotFoundError):
                found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found


async def run(mirror: Mirror, *, again: bool = False) -> MirrorStatus:
    async with asyncio.timeout(20):
        return await mirror.run(again=again)


async def reaches(mirror: Mirror, **wanted: object) -> bool:
    """Wait until the status of a mirror at work is as wanted, or for as long as that may take."""
    for _ in range(200):
        if all(getattr(mirror.status, name) == value for name, value in wanted.items()):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_what_came_while_the_job_runs_is_told_though_no_news_follow(make: Make) -> None:
    worker = Worker(**{f"file-{n}": b"x" for n in range(9)})
    worker.final = False
    mirror = make(worker)
    running = asyncio.ensure_future(run(mirror))
    # All of them arrive faster than progress is told.
    assert await reaches(mirror, files_done=9, done=9)
    assert mirror.status.state == "arriving"
    running.cancel()


async def test_a_file_that_arrived_damaged_is_tried_again_though_no_news_follow(
    make: Make, outputs: Path
) -> None:
    worker = Worker(a=b"x" * 10)
    worker.final = False
    spoiled: list[bytes] = []

    def spoil(data: bytes) -> bytes:
        spoiled.append(data)
        return data if len(spoiled) > 1 else b"y" * len(data)

    worker.spoil = spoil
    mirror = make(worker)
    running = asyncio.ensure_future(run(mirror))
    assert await reaches(mirror, files_done=1)
    assert here(outputs) == {"a": b"x" * 10}
    running.cancel()


async def test_it_brings_what_there_is(make: Make, outputs: Path) -> None:
    worker = Worker(**{"a": b"x" * 3500, "deep/er/b": b"", "c": b"1"})
    mirror = make(worker)
    status = await run(mirror)
    assert (status.state, status.done, status.files_done) == ("complete", 3501, 3)
    assert here(outputs) == worker.files
    assert {file.state for file in mirror.list_files()} == {"here"}
    assert sorted(p.name for p in (outputs / ".chute" / "train-3f9c2a").iterdir()) == [
        "done.json",
        "job",
        "lock",
        "placed.jsonl",
    ]


async def test_without_outputs_no_folder_is_made(make: Make, outputs: Path) -> None:
    assert (await run(make(Worker()))).state == "complete"
    assert not outputs.exists()


EVIL = ["../evil", "/tmp/evil", "a/../../evil", "..", "a//b", "", "a\0b", "./x", "a/."]


async def test_paths_that_lead_out_bring_nothing_and_are_reported(
    make: Make, outputs: Path, tmp_path: Path
) -> None:
    worker = Worker(**dict.fromkeys(EVIL, b"evil"), good=b"good")
    mirror = make(worker)
    assert (await run(mirror)).state == "complete"
    assert set(mirror.refused) == set(EVIL)
    assert [path for path, _ in worker.reads] == ["good"]
    assert here(outputs) == {"good": b"good"}
    assert {path.name for path in tmp_path.iterdir()} == {"chute_outputs", "home"}


async def test_a_link_here_is_not_followed(make: Make, outputs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    worker = Worker(**{"linked/x": b"x", "target": b"new"})
    worker.final = False
    folder = MirrorFolder.claim(outputs, "train", JOB)
    folder.path.mkdir()
    (folder.path / "linked").symlink_to(outside)
    (folder.path / "target").symlink_to(outside / "precious")
    (outside / "precious").write_bytes(b"old")
    worker.final = True
    status = await run(make(worker))
    assert status.state == "stopped"
    assert "linked" in str(status.reason)
    assert (outside / "precious").read_bytes() == b"old"
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (folder.path / "target").read_bytes() == b"new"
    assert not (folder.path / "target").is_symlink()


async def test_damage_on_the_way_is_noticed(make: Make, outputs: Path) -> None:
    worker = Worker(a=b"x" * 5000)
    worker.spoil = lambda data: b"y" * len(data)
    status = await run(make(worker))
    assert status.state == "stopped"
    assert "hash" in str(status.reason)
    assert here(outputs) == {}
    worker.spoil = lambda data: data
    assert (await run(make(worker))).state == "complete"
    assert here(outputs) == {"a": b"x" * 5000}


async def test_a_worker_that_sends_without_end_is_left(make: Make, outputs: Path) -> None:
    worker = Worker(a=b"x" * 5000)
    worker.endless = True
    assert (await run(make(worker))).state == "stopped"
    assert here(outputs) == {}


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    make: Make, outputs: Path
) -> None:
    worker = Worker(a=b"first")
    worker.final = False
    worker.changing = True
    going = asyncio.create_task(run(make(worker)))
    while not worker.reads:
        await asyncio.sleep(0.01)
    assert here(outputs) == {}
    worker.changing = False
    worker.final = True
    worker.change(a=b"second one")
    assert (await going).state == "complete"
    assert here(outputs) == {"a": b"second one"}


async def test_after_a_cut_it_goes_on_where_it_was(make: Make, outputs: Path) -> None:
    data = bytes(range(256)) * 40_000
    worker = Worker(a=data)
    worker.cut_after = 5_000_000
    assert (await run(make(worker))).state == "complete"
    assert here(outputs) == {"a": data}
    (_, first), (_, second) = worker.reads
    assert first == 0
    assert 2_000_000 < second <= 5_000_000


async def test_another_process_goes_on_where_one_was_killed(make: Make, outputs: Path) -> None:
    data = bytes(range(256)) * 40_000
    worker = Worker(a=data)
    folder = MirrorFolder.claim(outputs, "train", JOB)
    partial = folder.partial(worker.entry("a"))
    partial.write([data[:3_000_000]])
    partial.close()
    assert (await run(make(worker))).state == "complete"
    assert worker.reads == [("a", 3_000_000)]
    assert here(outputs) == {"a": data}


async def test_a_spoilt_beginning_is_noticed_and_brought_anew(make: Make, outputs: Path) -> None:
    worker = Worker(a=b"x" * 5000)
    partial = MirrorFolder.claim(outputs, "train", JOB).partial(worker.entry("a"))
    partial.write([b"y" * 2000])
    partial.close()
    assert (await run(make(worker))).state == "complete"
    assert worker.reads == [("a", 2000), ("a", 0)]
    assert here(outputs) == {"a": b"x" * 5000}


async def test_what_is_here_is_not_brought_again(make: Make, outputs: Path) -> None:
    worker = Worker(a=b"aa", b=b"bb")
    worker.final = False
    going = asyncio.create_task(run(make(worker)))
    noted = outputs / ".chute" / "train-3f9c2a" / "placed.jsonl"
    while not noted.exists() or len(noted.read_text().splitlines()) < 2:
        await asyncio.sleep(0.01)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    del worker.files["b"]
    worker.final = True
    worker.version += 1
    assert (await run(make(worker))).state == "complete"
    assert sorted(path for path, _ in worker.reads) == ["a", "b"]
    assert here(outputs) == {"a": b"aa"}


async def test_a_file_of_the_same_size_and_time_is_told_by_its_hash(
    make: Make, outputs: Path
) -> None:
    worker = Worker(a=b"one")
    worker.final = False
    going = asyncio.create_task(run(make(worker)))
    while not here(outputs):
        await asyncio.sleep(0.01)
    worker.files["a"] = b"two"  # written again within one tick of the worker's clock
    worker.final = True
    worker.version += 1
    worker.news_came.set()
    assert (await going).state == "complete"
    assert here(outputs) == {"a": b"two"}


async def test_only_one_works_at_a_time(make: Make, outputs: Path) -> None:
    worker = Worker(a=b"aa")
    folder = MirrorFolder.claim(outputs, "train", JOB)
    held = folder.try_lock()
    assert held is not None
    assert MirrorFolder.claim(outputs, "train", JOB).try_lock() is None
    mirror = make(worker)
    going = asyncio.create_task(run(mirror))
    while "another process" not in str(mirror.status.reason):
        await asyncio.sleep(0.01)
    assert worker.reads == []
    held.close()
    assert (await going).state == "complete"
    assert here(outputs) == {"a": b"aa"}


async def test_past_its_limit_it_says_so(make: Make, outputs: Path) -> None:
    worker = Worker(big=bytes(3000), small=b"s")
    status = await run(make(worker, limit=2000))
    assert status.state == "stopped"
    assert "limit" in str(status.reason)
    assert here(outputs) == {"small": b"s"}
    assert (await run(make(worker))).state == "complete"


async def test_what_can_not_be_written_is_named_and_the_rest_comes(
    make: Make, outputs: Path
) -> None:
    folder = MirrorFolder.claim(outputs, "train", JOB)
    (folder.path / "mine").mkdir(parents=True)
    (folder.path / "mine" / "notes").write_text("the person's own")
    worker = Worker(mine=b"a file of this name", other=b"o")
    status = await run(make(worker))
    assert status.state == "stopped"
    assert "'mine'" in str(status.reason)
    assert here(outputs) == {"mine/notes": b"the person's own", "other": b"o"}


async def test_a_full_disk_stops_it_until_there_is_room(
    make: Make, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    monkeypatch.setattr(room, "PAUSE", 0.05)
    worker = Worker(a=b"a", b=b"b")
    mirror = make(worker)
    full = True
    seen: list[MirrorStatus] = []

    class Full(MirrorFolder):
        def place(self, *args: object) -> None:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().place(*args)  # type: ignore[arg-type]

    def changed() -> None:
        nonlocal full
        seen.append(mirror.status)
        full = full and mirror.status.state != "stopped"

    mirror._make_folder = lambda: Full.claim(outputs, "train", JOB)
    mirror._changed = changed
    assert (await run(mirror)).state == "complete"
    stops = [status for status in seen if status.state == "stopped"]
    assert f"the disk of {outputs / 'train-3f9c2a'} is full" in str(stops[0].reason)
    assert here(outputs) == worker.files


async def test_half_a_note_of_one_file_does_not_take_the_next_with_it(outputs: Path) -> None:
    folder = MirrorFolder.claim(outputs, "train", JOB)
    index = outputs / ".chute" / "train-3f9c2a" / "placed.jsonl"
    index.write_text('{"path": "torn", "si')
    again = MirrorFolder.claim(outputs, "train", JOB)
    again._note(Placed("whole", 1, 2, "0" * 64, 3))
    folder.reload()
    assert list(folder.placed) == ["whole"]


def test_a_folder_belongs_to_one_job(outputs: Path) -> None:
    first = MirrorFolder.claim(outputs, "train", JOB)
    other = JOB[:6] + "f" * 26
    second = MirrorFolder.claim(outputs, "train", other)
    assert first.path.name == "train-3f9c2a"
    assert second.path.name == "train-3f9c2affffff"
    assert MirrorFolder.claim(outputs, "train", JOB).path == first.path
    assert MirrorFolder.claim(outputs, "train", other).path == second.path
