"""Logs over their limit: head and tail stay, and the gap is told where it is, once."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent.journal import JobDir
from chutes_jupyter.agent.logs import LogWriter, read, read_index
from chutes_jupyter.cli import main
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.logs import LogStream, gap_marker
from chutes_jupyter.config import Worker, config_file
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.job import Job
from chutes_jupyter.link import Reply
from chutes_jupyter.store import JobRecord
from tests.agent.rig import Agent, agent
from tests.client import conftest, test_cuts
from tests.client.rig import PATIENCE, Submit, until

here, local, submit = conftest.here, conftest.local, conftest.submit
own_client, line = conftest.own_client, test_cuts.line

KIB = 1024
LIMIT = 64 * KIB
#: Lines of 16 bytes, by which every part of a log says where in the whole it belongs.
LINES = """
import sys, time
for number in range(job_data["lines"]):
    sys.stdout.write(f"{number:015d}\\n")
    if number % job_data.get("step", 1 << 60) == 0:
        time.sleep(0.001)
return "said"
"""
MARKER = re.compile(
    r"\n\[… ([0-9,]+) bytes of the log are missing here: "
    r"it is over the limit of ([^()]+) \(log_limit\) …\]\n"
)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


def printed(lines: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(lines))


def read_all(worker: Agent, job: str) -> tuple[list[tuple[int, bytes]], list[tuple[int, int]]]:
    """Return the pieces of a log, joined where they meet, and its gaps."""
    pieces: list[tuple[int, bytes]] = []
    gaps = []
    offset = 0
    while True:
        header, body = worker.ask("log", job=job, offset=offset, limit=10_000, wait=5.0)
        assert header["ok"], header
        skipped = header.get("skipped", 0)
        if skipped:
            gaps.append((offset, skipped))
        if skipped or not pieces:
            pieces.append((offset + skipped, body))
        else:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + body)
        offset += skipped + len(body)
        if header["end"]:
            assert offset == header["size"]
            return pieces, gaps


def test_head_and_tail_are_kept_and_the_disk_holds_no_more(worker: Agent) -> None:
    job = worker.start(LINES, {"lines": 20_000, "step": 50}, log_limit=LIMIT)
    events = worker.follow(job)
    whole = printed(20_000)
    pieces, gaps = read_all(worker, job)
    assert [whole[at : at + len(data)] for at, data in pieces] == [data for _, data in pieces]
    (_, head), (start, tail) = pieces
    assert (len(head), gaps) == (LIMIT // 2, [(LIMIT // 2, start - LIMIT // 2)])
    assert start + len(tail) == len(whole)
    assert LIMIT // 4 <= len(tail) <= LIMIT // 2
    folder = worker.root / "jobs" / job
    kept = list(folder.glob("log*"))
    assert sum(p.stat().st_size for p in kept if p.suffix != ".idx") <= LIMIT
    assert sum(p.stat().st_size for p in kept if p.suffix == ".idx") <= 5 * 4096
    notices = [event["message"] for event in events if event["type"] == "notice"]
    assert notices == [
        "the log is over its limit of 65,536 bytes (log_limit): its first 32,768 bytes and its "
        "newest, at least 24,576, are kept"
    ]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_log_up_to_its_limit_is_whole(worker: Agent, over: int) -> None:
    source = f"import os\nos.write(1, b'x' * {LIMIT + over})"
    job = worker.start(source, log_limit=LIMIT)
    notices = [event for event in worker.follow(job) if event["type"] == "notice"]
    pieces, gaps = read_all(worker, job)
    assert bool(gaps) == bool(notices) == (over > 0)
    assert len(b"".join(data for _, data in pieces)) == LIMIT + over - sum(s for _, s in gaps)


def test_the_index_is_bounded_and_tells_streams_apart_on_both_sides(tmp_path: Path) -> None:
    job = JobDir(str(tmp_path), "a" * 32)
    os.makedirs(job.path)
    writer = LogWriter(job, LIMIT)
    for number in range(30_000):
        writer.add(b"oe"[number % 2 : number % 2 + 1] * 9, 1 + number % 2)
    writer.close()
    count, index = read_index(job, 0, 100_000)
    records = list(struct.iter_unpack("!QBd", index))
    assert count == len(records) <= 5 * 4096 // 17
    starts = [start for start, _, _ in records]
    assert starts == sorted(starts)
    head, tail = read(job, 0, LIMIT), read(job, LIMIT // 2, LIMIT)
    assert (len(head.data), tail.offset + tail.skipped + len(tail.data)) == (LIMIT // 2, 270_000)
    for piece in (head, tail):
        # Every part has its own first records, however many others there were no room for.
        at = piece.offset + piece.skipped
        first = next(stream for start, stream, _ in records if start == at)
        assert piece.data[:1] == {1: b"o", 2: b"e"}[first]
    assert read_index(job, 7, 3) == (count, index[7 * 17 : 10 * 17])


def test_the_tail_goes_over_segments_and_not_over_the_gap(worker: Agent) -> None:
    job = worker.start(LINES, {"lines": 20_000}, log_limit=LIMIT)
    worker.end(job)
    whole = printed(20_000)
    header, body = worker.ask("log", job=job, tail=20_000, limit=1 << 20)
    assert (body, header.get("skipped", 0), header["end"]) == (whole[-20_000:], 0, True)
    header, body = worker.ask("log", job=job, tail=1 << 20, limit=1 << 20)
    assert (header["offset"], header["offset"] + header["skipped"] + len(body)) == (
        LIMIT // 2,
        len(whole),
    )
    assert body == whole[-len(body) :]


# -- what a person sees


def check_text(text: str, total: int, limit: str = "64 KiB") -> list[int]:
    """Every byte is in its place, or a marker says it is missing; return the gaps' sizes."""
    whole = printed(total).decode()
    at, gaps = 0, []
    parts = MARKER.split(text)
    for data, missing, told in zip(
        parts[::3], [*parts[1::3], "0"], [*parts[2::3], limit], strict=True
    ):
        assert whole[at : at + len(data)] == data, (at, data[:50])
        assert told == limit
        gaps.append(int(missing.replace(",", "")))
        at += len(data) + gaps[-1]
    assert at == len(whole)
    return gaps[:-1]


def test_a_log_with_a_gap_reads_the_same_in_every_way(
    local: Worker, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    job = submit(local, LINES, data={"lines": 50_000}, log_limit=LIMIT)
    assert job.result(PATIENCE) == "said"
    text = job.logs()
    assert len(check_text(text, 50_000)) == 1
    assert "".join(job.logs(follow=True)) == text
    assert job.logs(tail=3) == printed(50_000)[-48:].decode()
    assert "".join(job.logs(follow=True, tail=3)) == printed(50_000)[-48:].decode()
    # More lines than the tail has: it begins with the gap.
    many = "".join(job.logs(follow=True, tail=4000))
    assert MARKER.match(many)
    assert text.endswith(many)
    assert "the log is over its limit of 65,536 bytes" in "\n".join(job.notices)
    assert main(["logs", job.label]) == 0
    assert capsys.readouterr().out == text


def test_the_panel_s_tail_is_the_end_of_a_log_over_its_limit(local: Worker, submit: Submit) -> None:
    job = submit(local, LINES, data={"lines": 50_000, "step": 500}, log_limit=LIMIT)
    job.subscribe(lambda: None)
    job.wait(PATIENCE)
    end = printed(50_000).decode()
    until(lambda: job.tail.endswith(end[-160:]), "the tail is the end")
    assert job.tail == end[-len(job.tail) :]
    assert len(job.tail) >= LIMIT // 4


def follow_slowly(job: Job, more: str) -> str:
    """Read the first pieces of a log, then let it grow by far, and read on."""
    pieces = job.stream_log()
    text = next(pieces)
    Path(more).touch()
    until(job.done, "the job goes on without its reader")
    return text + "".join(pieces)


SLOW = """
import os, sys, time
def say(numbers):
    sys.stdout.write("".join(f"{n:015d}\\n" for n in numbers)); sys.stdout.flush()
say(range(1000))
while not os.path.exists(job_data["more"]):
    time.sleep(0.02)
for first in range(1000, 40_000, 1000):
    say(range(first, first + 1000))
"""


def test_someone_slow_is_told_once_what_he_missed(
    local: Worker, submit: Submit, tmp_path: Path
) -> None:
    more = str(tmp_path / "more")
    job = submit(local, SLOW, data={"more": more}, log_limit=LIMIT)
    gaps = check_text(follow_slowly(job, more), 40_000)
    assert len(gaps) == 1


def test_cuts_do_not_double_the_marker(
    line: test_cuts.Line, submit: Submit, tmp_path: Path
) -> None:
    more = str(tmp_path / "more")
    job = submit(line.worker, SLOW, data={"more": more}, log_limit=LIMIT)
    pieces = job.stream_log()
    text = next(pieces)
    Path(more).touch()
    until(job.done, "the job goes on without its reader")
    line.cut()
    for piece in pieces:
        text += piece
        line.cut()
    assert len(check_text(text, 40_000)) == 1


def test_a_live_follower_of_a_fast_log_sees_every_byte_or_a_marker(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, LINES, data={"lines": 300_000}, log_limit=1024 * KIB)
    check_text("".join(job.logs(follow=True)), 300_000, "1 MiB")
    # Afterwards several pieces on both sides of the gap, some of them asked for ahead.
    assert len(check_text(job.logs(), 300_000, "1 MiB")) == 1


def test_the_setting_of_the_workers_file_holds_for_jobs_that_say_nothing(
    local: Worker, submit: Submit
) -> None:
    with config_file().open("a") as file:
        file.write("[settings]\nlog_limit = '64k'\n")
    job = submit(local, LINES, data={"lines": 10_000})
    job.wait(PATIENCE)
    assert len(check_text(job.logs(), 10_000)) == 1
    job = submit(local, LINES, data={"lines": 10_000}, log_limit=None)
    job.wait(PATIENCE)
    assert job.logs() == printed(10_000).decode()


def test_the_marker_names_the_limit_in_the_words_of_the_option() -> None:
    marker = gap_marker(1_234_567_890, 1024**3).decode()
    assert marker == (
        "\n[… 1,234,567,890 bytes of the log are missing here: it is over the limit of 1 GiB "
        "(log_limit) …]\n"
    )
    assert "limit of 100,001 bytes (" in gap_marker(5, 100_001).decode()
    assert "over its limit (log_limit)" in gap_marker(5, None).decode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "says",
    [
        {"skipped": -1},
        {"skipped": 2**63},
        {"skipped": 8},
        {"skipped": True},
        {"skipped": 1, "limit": -1},
    ],
)
async def test_a_gap_that_can_not_be_is_the_agent_s_fault(says: dict[str, Any]) -> None:
    class Liar:
        async def persist(self, op: str, **fields: Any) -> Reply:
            return Reply({"offset": 0, "size": 10, "end": False, **says}, b"abc")

    live = Live(JobRecord(id="a" * 32, name="job", worker="gpu1", event=1, created=1.0))
    with pytest.raises(AgentFailed):
        await LogStream(Liar(), live, follow=False).next()  # type: ignore[arg-type]
