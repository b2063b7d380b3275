"""News as they come: of all jobs, of one, and a log; gone on from after a break."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.server.bridge import across
from chutes_jupyter.server.client import Api, ApiProblem, StreamEvent
from chutes_jupyter.server.openapi import BASE
from chutes_jupyter.server.streams import Sent, StreamHandler, sent
from tests.client.rig import Submit, until
from tests.server.rig import Server, serving, waits_for

PATIENCE = 60.0


def upto(events: Iterator[StreamEvent], name: str) -> list[StreamEvent]:
    """Return the events until one of that name, it included."""
    found = []
    for event in events:
        found.append(event)
        if event.name == name:
            return found
    raise AssertionError(f"the stream ended without {name}: {found}")


def states(events: Iterator[StreamEvent], job: str, last: str) -> list[StreamEvent]:
    """Return what a stream says of a job, until it is in that state."""
    found = []
    for event in events:
        if event.name == "job" and event.data["id"] == job:
            found.append(event)
            if event.data["state"] == last:
                return found
    raise AssertionError(f"the stream ended: {found}")


def test_a_log_is_followed_to_its_end_and_gone_on_from(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit("local", f"print('eins ä')\n{waits_for(go)}print('zwei ü')")
    with api.stream(f"/jobs/{job.id}/log/live") as events:
        first = next(events)
        assert (first.name, first.data["text"]) == ("log", "eins ä\n")
        assert first.id == str(first.data["next"]) == str(len("eins ä\n".encode()))
    # A break: the reader comes again, with the id of the last event that it saw.
    with api.stream(f"/jobs/{job.id}/log/live", last=first.id) as events:
        go.touch()
        *pieces, end = upto(events, "end")
        assert "".join(each.data["text"] for each in pieces) == "zwei ü\n"
        assert end.data["state"] in ("collecting", "succeeded", "running")
        assert next(events, None) is None
    with api.stream(f"/jobs/{job.id}/log/live", lines=1) as events:
        assert next(events).data["text"] == "zwei ü\n"


def test_a_log_is_cut_between_characters(api: Api, submit: Submit) -> None:
    text = "ä€😀" * 40_000
    job = submit("local", f"print({text!r})")
    job.wait(PATIENCE)
    with api.stream(f"/jobs/{job.id}/log/live") as events:
        *pieces, _ = upto(events, "end")
    assert len(pieces) > 1
    assert "".join(each.data["text"] for each in pieces) == text + "\n"
    offset = 0
    for each in pieces:
        offset += len(each.data["text"].encode())
        assert each.data["next"] == offset
    with api.stream(f"/jobs/{job.id}/log/live", last=pieces[0].id) as events:
        *rest, _ = upto(events, "end")
    assert "".join(each.data["text"] for each in (pieces[0], *rest)) == text + "\n"


def test_a_log_is_saved_whole(server: Server, api: Api, submit: Submit) -> None:
    job = submit("local", "print('\\x1b[31mred\\x1b[0m')\nprint('<script>')")
    job.wait(PATIENCE)
    found = httpx.get(
        f"{api.base}/jobs/{job.id}/log/file",
        headers={"Authorization": f"token {server.token}"},
        trust_env=False,
    )
    assert found.text == "\x1b[31mred\x1b[0m\n<script>\n"
    assert found.headers["Content-Disposition"].startswith("attachment")
    assert job.label in found.headers["Content-Disposition"]
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Content-Security-Policy"].startswith("sandbox;")


def test_news_of_a_job_that_another_process_submits(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with api.stream("/events") as events:
        hello = next(events)
        assert hello.name == "hello"
        assert hello.data["reset"]
        job = submit("local", waits_for(go))
        seen = states(events, job.id, "running")
        cursor = seen[-1].id
    # While nobody watches it ends, and another one comes.
    go.touch()
    job.wait(PATIENCE)
    other = submit("local", "return 1")
    other.wait(PATIENCE)
    with api.stream("/events", last=cursor) as events:
        hello = next(events)
        assert hello.data == {"cursor": cursor, "reset": False}
        found = {}
        for event in events:
            if event.name == "job":
                found[event.data["id"]] = event.data["state"]
            if found.get(job.id) == found.get(other.id) == "succeeded":
                break


def test_a_list_says_where_its_news_begin(api: Api, submit: Submit) -> None:
    page = api.jobs()
    job = submit("local", "return 1")
    job.wait(PATIENCE)
    with api.stream("/events", cursor=page.cursor) as events:
        assert not next(events).data["reset"]
        assert states(events, job.id, "succeeded")
        api.remove(job.id)
        *_, gone = upto(events, "gone")
        assert gone.data == {"id": job.id}


@pytest.mark.parametrize("cursor", ["", "x", "-", "deadbeef-3", "deadbeef--3", "9" * 50])
def test_a_cursor_that_means_nothing_here_begins_anew(api: Api, cursor: str) -> None:
    with api.stream("/events", cursor=cursor) as events:
        assert next(events).data["reset"]


def test_one_job_is_followed_to_its_end(api: Api, submit: Submit, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit("local", waits_for(go), ack=True)
    with api.stream(f"/jobs/{job.id}/live") as events:
        states(events, job.id, "running")
        go.touch()
        *_, end = upto(events, "end")
    assert end.data == {"state": "succeeded"}


def test_a_stream_of_a_job_that_is_none_is_an_error(api: Api) -> None:
    with pytest.raises(ApiProblem, match="job_not_found"), api.stream("/jobs/nothing/log/live"):
        pass


def test_a_reader_that_does_not_read_holds_up_nobody(
    server: Server, api: Api, submit: Submit
) -> None:
    job = submit("local", "for _ in range(200):\n    print('x' * 100_000)")
    job.wait(PATIENCE)
    address = f"{server.url.rstrip('/')}{BASE}/jobs/{job.id}/log/live"
    token = {"Authorization": f"token {server.token}"}
    with httpx.stream("GET", address, headers=token, trust_env=False, timeout=60) as answer:
        head = next(answer.iter_raw(1000))
        assert b"event: log" in head
        # 20 MB wait, and nobody takes them: others are answered all the same.
        assert api.job(job.id).state == "succeeded"
        assert api.cancel(job.id).told


class Stuck(StreamHandler):
    """A stream whose reader has stopped reading."""

    def __init__(self) -> None:
        self.initialize()
        self.written: list[bytes | str] = []
        self.read = asyncio.Event()

    def set_header(self, name: str, value: object) -> None:
        pass

    def write(self, chunk: bytes | str) -> None:
        self.written.append(chunk)

    async def flush(self) -> None:
        await self.read.wait()

    async def finish(self, **_: object) -> None:
        pass


@pytest.mark.anyio
async def test_nothing_is_gathered_for_a_reader_that_does_not_read() -> None:
    drawn = 0

    async def many() -> AsyncGenerator[Sent, None]:
        nonlocal drawn
        for number in range(1000):
            drawn = number + 1
            yield sent("log", {"number": number})

    handler = Stuck()
    async with across(many) as events:
        sending = asyncio.create_task(handler.send_events(events))
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert len(handler.written) == 1  # not even the first is out
        assert drawn <= 10
        handler.read.set()
        await asyncio.wait_for(sending, 30)
        assert drawn == 1000
        assert len(handler.written) == 1001
    handler = Stuck()
    async with across(many) as events:
        handler.read.set()
        handler.flush = waits_after(handler, 2)
        sending = asyncio.create_task(handler.send_events(events))
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert len(handler.written) == 2
        assert drawn <= 10
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def waits_after(handler: Stuck, count: int) -> Callable[[], Awaitable[None]]:
    """Return a flush that never ends once so much was written."""

    async def flush() -> None:
        if len(handler.written) >= count:
            await asyncio.Event().wait()

    return flush


def test_many_watch_and_leave(server: Server, api: Api, submit: Submit, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = submit("local", waits_for(go), ack=True)
    seen: list[str] = []

    def watch() -> None:
        with (
            Api(server.url, server.token) as mine,
            mine.stream("/events") as events,
        ):
            next(events)
            ready.release()
            seen.append(states(events, job.id, "succeeded")[-1].data["state"])

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=watch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert ready.acquire(timeout=PATIENCE)
    go.touch()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == ["succeeded"] * 8
    until(lambda: api.about().api == 1, "it answers on")
    assert jobs_module.current_client().store.get(job.id).state == "succeeded"


def test_a_server_ends_at_once_although_somebody_watches(
    surroundings: Mapping[str, str], place: Path, submit: Submit, tmp_path: Path
) -> None:
    job = submit("local", waits_for(tmp_path / "never"), ack=True)
    with serving(place / "ends", surroundings) as server, Api(server.url, server.token) as api:
        until(lambda: api.job(job.id).state == "running", "it runs", PATIENCE)
        with (
            api.stream("/events") as news,
            Api(server.url, server.token) as other,
            other.stream(f"/jobs/{job.id}/live") as events,
        ):
            next(news)
            next(events)
            server.process.terminate()
            assert server.process.wait(30) is not None
            with pytest.raises(httpx.TransportError):
                list(news)
        log = server.log.read_text()
    assert "Task was destroyed" not in log
    assert "Traceback" not in log
    assert job.state == "running"  # a job needs no server
