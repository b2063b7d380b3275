"""The log for who shows it: in parts with their places, streams told apart, near its end."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from chutes_jupyter import portal
from chutes_jupyter.agent import logs as agent_logs
from chutes_jupyter.client import logindex
from chutes_jupyter.client.logfeed import LogFeed, LogPart
from chutes_jupyter.client.logs import PIECE, last_lines
from chutes_jupyter.config import Worker
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.job import Job
from tests.client.rig import PATIENCE, Submit

TALKS = """
import os, time
for number in range(300):
    os.write(1, f"out {number}\\n".encode())
    time.sleep(0.002)
    os.write(2, f"err {number} é\\n".encode())
    time.sleep(0.002)
"""


def parts_of(job: Job, begin: int | None = 0, window: int = 1 << 30) -> list[LogPart]:
    """Read a log as a panel does, to its end."""

    async def read() -> list[LogPart]:
        control, _ = current_client().way_to(job.worker)
        feed = LogFeed(control, job._live, begin, window)
        found: list[LogPart] = []
        try:
            while (part := await feed.next()) is not None:
                found.append(part)
        finally:
            await feed.aclose()
        return found

    return portal.call(read)


def by_stream(parts: Sequence[LogPart]) -> dict[int, bytes]:
    """Return what each stream wrote."""
    found = {logindex.STDOUT: b"", logindex.STDERR: b""}
    for part in parts:
        ends = [*(start for start, _ in part.runs[1:]), len(part.data)]
        for (start, stream), end in zip(part.runs, ends, strict=True):
            found[stream] += part.data[start:end]
    return found


def test_streams_are_told_apart_while_the_log_grows_and_afterwards(
    worker: Worker, submit: Submit
) -> None:
    job = submit(worker, TALKS)
    live = parts_of(job)
    job.wait(PATIENCE)
    for parts in (live, parts_of(job)):
        assert [part.begin for part in parts[1:]] == [part.end for part in parts[:-1]]
        found = by_stream(parts)
        assert found[1] == b"".join(b"out %d\n" % n for n in range(300))
        assert found[2] == b"".join(f"err {n} é\n".encode() for n in range(300))


def test_from_anywhere_in_it_the_streams_are_right(local: Worker, submit: Submit) -> None:
    job = submit(local, TALKS)
    job.wait(PATIENCE)
    whole = by_stream(parts_of(job))
    for begin in (1, 777, 4321):
        rest = by_stream(parts_of(job, begin))
        assert all(whole[stream].endswith(rest[stream]) for stream in whole)
        assert sum(map(len, rest.values())) == sum(map(len, whole.values())) - begin
    assert parts_of(job, begin=sum(map(len, whole.values()))) == []


def test_one_that_grows_faster_than_it_is_read_goes_on_at_its_end(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, "import os\nfor n in range(3000):\n    os.write(1, b'%01023d\\n' % n)")
    job.wait(PATIENCE)
    window = 600 * 1024
    parts = parts_of(job, begin=0, window=window)
    resets = [part for part in parts if part.reset]
    assert len(resets) == 1
    assert resets[0].begin == 3000 * 1024 - window
    assert parts[-1].end == 3000 * 1024
    ending = parts_of(job, begin=None, window=1000)
    assert ending[0].reset
    assert ending[0].begin == 3000 * 1024 - 1000


def test_the_records_are_the_agents() -> None:
    assert logindex.RECORD.format == agent_logs.RECORD.format
    assert (logindex.STDOUT, logindex.STDERR) == (agent_logs.STDOUT, agent_logs.STDERR)


class _Reply:
    def __init__(self, body: bytes, records: object = 2) -> None:
        self.header, self.body = {"records": records}, body


class _Session:
    def __init__(self, *replies: _Reply) -> None:
        self.replies = list(replies)

    async def persist(self, *_args: object, **_fields: object) -> _Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.mark.parametrize(
    "reply",
    [
        _Reply(b"short"),
        _Reply(struct.pack("!QBd", 5, 1, 0.0) + struct.pack("!QBd", 4, 1, 0.0)),
        _Reply(struct.pack("!QBd", 5, 1, 0.0) * 5000),
        _Reply(b"", records="many"),
    ],
)
def test_a_worker_that_lies_about_them_is_found_out(
    local: Worker, submit: Submit, reply: _Reply
) -> None:
    live = submit(local, "return None")._live
    index = logindex.LogIndex(_Session(reply), live)  # type: ignore[arg-type]

    async def look() -> None:
        await index.marks(0, 100)

    with pytest.raises(AgentFailed):
        portal.call(look)


def last_of(job: Job, lines: int, most: int) -> list[tuple[int, bytes]]:
    return job._last_runs(lines, most, PATIENCE)


def test_the_last_lines_come_with_their_streams(worker: Worker, submit: Submit) -> None:
    job = submit(worker, TALKS)
    job.wait(PATIENCE)
    runs = last_of(job, 20, 1 << 20)
    assert {stream for stream, _ in runs} == {1, 2}
    assert b"".join(data for _, data in runs).count(b"\n") == 20
    assert all(data.startswith((b"out", b"err")[stream - 1]) for stream, data in runs)
    assert b"out 299\n" in b"".join(data for stream, data in runs if stream == 1)


def test_of_a_line_that_is_rewritten_for_hours_only_the_end_is_read(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, "import os\nfor n in range(3000):\n    os.write(2, b'\\r%01023d' % n)")
    job.wait(PATIENCE)
    control, _ = current_client().way_to(job.worker)
    begin = portal.call(last_lines, control, job._live, 5, 300_000)
    assert 300_000 <= 3000 * 1024 - begin < 300_000 + 2 * PIECE
    size = sum(len(data) for _, data in last_of(job, 5, 300_000))
    assert 300_000 <= size < 300_000 + 2 * PIECE
    assert sum(len(data) for _, data in last_of(job, 5, 1 << 30)) == 3000 * 1024


def test_a_job_that_said_nothing_has_no_last_lines(local: Worker, submit: Submit) -> None:
    job = submit(local, "return 1")
    job.wait(PATIENCE)
    assert last_of(job, 5, 1000) == []
