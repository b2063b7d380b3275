"""What a worker says is shown to people: it must not speak to their terminal or browser."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chutes_jupyter import errors, job
from chutes_jupyter.client import JobClient
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.outcome import outcome
from chutes_jupyter.client.words import describe
from chutes_jupyter.commands import Surroundings, execute, tables
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.harmless import harmless
from chutes_jupyter.kernel import tracebacks
from chutes_jupyter.kernel.record import Record
from chutes_jupyter.kernel.view import facts
from chutes_jupyter.replies import EventPage, Hello, JobPage, parse
from chutes_jupyter.store import JobRecord, Store
from tests.client.rig import start
from tests.hostile import liar, rig

EVIL = "\x1b[2J\x1b]0;gone\x07\x1bP1$r\x1b\\\x9b31m\rover\x08\u202e\u2028"
EVIL += "<script>alert(1)</script>\ud800"
FORBIDDEN = set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2028, 0xD800]))


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\x1b[]0;m\x07\r\n\tab\x9b\ud800"))
def test_no_text_is_obeyed_by_a_terminal_and_every_text_can_be_written(text: str) -> None:
    shown = harmless(text)
    assert not set(shown) & FORBIDDEN
    shown.encode("utf-8")
    assert harmless(shown) == shown
    assert "\n" not in harmless(text, lines=False)


@pytest.mark.parametrize("text", ["plain", "a\n\tb", "größe → 日本語 🎉", "שלום عليكم", "e\u0301"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    "kind", [getattr(errors, name) for name in errors.__all__ if name != "RequestRefused"]
)
def test_every_error_about_a_worker_quotes_it_harmlessly(kind: Any) -> None:
    if issubclass(kind, errors.WorkerError):
        assert not set(str(kind(EVIL))) & FORBIDDEN


def test_a_refusal_quotes_the_worker_harmlessly() -> None:
    refused = errors.RequestRefused(EVIL, EVIL)
    assert not set(str(refused) + refused.code) & FORBIDDEN
    assert "over" in str(refused)


def evil_live() -> Live:
    frame = {"file": EVIL, "line": 1, "function": EVIL, "lines": [EVIL]}
    story = {"type": EVIL, "said": EVIL, "notes": [EVIL], "frames": [frame]}
    story["bases"] = [[EVIL, EVIL], ["os", "path.__class__"], ["builtins", "exec"]]
    raised = {"type": EVIL, "message": EVIL, "traceback": EVIL, "raised": [story]}
    page = {
        "events": [
            liar.state(1, "starting"),
            {"n": 2, "t": 1.0, "type": "notice", "message": EVIL},
            liar.state(3, "failed", reason=EVIL, error=raised),
        ],
        "state": "failed",
        "terminal": True,
    }
    live = Live(JobRecord(id=rig.JOB, name="job", worker="local", output_dir="/nowhere"))
    live.apply(parse(EventPage, page).events)
    return live


def test_reasons_notices_and_tracebacks_are_harmless_in_text_and_html() -> None:
    live = evil_live()
    assert live.error is not None
    parts = [describe(live), live.reason or "", *live.notices, live.error.traceback]
    shown = tracebacks.lines(live.error.raised)
    assert not set("".join([*parts, *shown])) & FORBIDDEN
    with pytest.raises(errors.JobFailed) as caught:
        outcome(live, None)
    assert type(caught.value) is errors.JobFailed
    known, nothing = facts(job.Job(live)), {"count": 0}
    record = Record(known, nothing, 0.0, "", tables.value(EVIL))
    html = record._repr_html_() + repr(record)
    assert "<script" not in html
    assert not set(html) & FORBIDDEN


DEEP = [{"type": "E", "said": "", "parts": [n + 1] * 2} for n in range(60)]
FRAME: dict[str, Any] = {"file": "", "line": 1, "function": ""}
WORSE: dict[str, Any] = {
    "itself": [{"type": "E", "said": "", "before": 0}],
    "an earlier one": [
        {"type": "E", "said": "", "parts": [1]},
        {"type": "E", "said": "", "before": 0},
    ],
    "one that is not there": [{"type": "E", "said": "", "before": 1}],
    "the same one again and again": [*DEEP, {"type": "E", "said": ""}],
    "too many": [{"type": "E", "said": ""}] * 101,
    "too much": [{"type": "E", "said": "x" * 60_000}] * 27,
    "too many empty lines": [
        {"type": "E", "said": "", "frames": [{**FRAME, "lines": [""] * 20}] * 100}
    ]
    * 50,
    "no list": {"type": "E"},
}


@pytest.mark.parametrize("raised", WORSE.values(), ids=WORSE.keys())
def test_exceptions_that_would_show_without_end_are_refused(raised: Any) -> None:
    error = {"type": "E", "message": "", "traceback": "", "raised": raised}
    page = {"events": [liar.state(1, "failed", error=error)], "state": "failed", "terminal": True}
    with pytest.raises(errors.AgentFailed, match="malformed"):
        parse(EventPage, page)


def test_a_worker_that_is_tested_says_who_it_is_harmlessly() -> None:
    said = {**liar.hello({}), "host": EVIL, "user": EVIL, "root": EVIL, "python": EVIL}
    hello = parse(Hello, said)
    assert not set(hello.host + hello.user + hello.root + hello.python) & FORBIDDEN
    assert "\n" not in hello.host


def test_a_job_that_raises_what_is_no_unicode_ends_as_failed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Workers.load().add(Worker("local", dir=str(tmp_path / "worker")))
    running = start("local", "raise ValueError('no such file: ' + chr(0xdcff) + chr(27) + '[2J')")
    with pytest.raises(errors.JobFailed, match="no such file: \ufffd"):
        running.result(30)
    assert running.state == "failed"


@pytest.mark.parametrize(
    "value", [10**5000, [10**5000], "x" * 10**6], ids=["number", "inside", "text"]
)
def test_what_a_function_returned_can_always_be_shown(value: Any) -> None:
    shown = tables.value(value)
    assert 0 < len(shown) <= 2002


# -- Jobs that a worker makes up ---------------------------------------------------------------


def made_up(**changes: Any) -> dict[str, Any]:
    return {"jobs": [{**liar.summary(), **changes}], "next": None}


PORT = {"name": "web", "port": 8080, "proto": "http"}


@pytest.mark.parametrize(
    "changes",
    [
        {"ports": [{**PORT, "port": 80}]},
        {"ports": [{**PORT, "name": "Web"}]},
        {"ports": [{**PORT, "name": "\x1b[2J"}]},
        {"created": 1e12},
        {"started": 10**4000},
        {"name": "a/b"},
    ],
    ids=str,
)
def test_a_job_that_nobody_can_declare_is_refused_before_it_is_recorded(changes: Any) -> None:
    with pytest.raises(errors.AgentFailed, match="malformed"):
        parse(JobPage, made_up(**changes))


@pytest.mark.parametrize(
    "ports",
    [
        [{"port": 22}],
        [{"port": 65536}],
        [{"port": "7860"}],
        [{"port": 7860}, {"port": 7860, "everywhere": True}],
        [{"port": 7860 + number} for number in range(17)],
        [{"port": 7860, "everywhere": "\x1b[2J"}],
    ],
    ids=str,
)
def test_no_worker_offers_what_no_job_can_listen_on(ports: Any) -> None:
    event = {"n": 1, "t": 1.0, "type": "listening", "ports": ports}
    with pytest.raises(errors.AgentFailed, match="malformed"):
        parse(EventPage, {"events": [event], "state": "running", "terminal": False})


def test_every_job_that_is_taken_can_be_listed(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = "def jobs(ask):\n    return {'jobs': [dict(summary(), ports=[{'name': 'web',"
    plan += " 'port': 80, 'proto': 'http'}], reason='\\x1b[2J')], 'next': None}"
    rig.lay_out(tmp_path / "worker", plan)
    shown: list[str] = []
    for _ in range(2):  # what was recorded at the first must not break the second
        execute(["jobs", "--full"], Surroundings(shown.append))
        job.close_client()
    assert not set("".join(shown)) & FORBIDDEN


def test_a_worker_does_not_choose_where_its_files_land(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, secret = tmp_path / "here", tmp_path / "autostart"
    for folder in (here, secret):
        folder.mkdir()
    monkeypatch.chdir(here)
    plan = f"def jobs(ask):\n    told = {str(secret / 'made-up.ipynb')!r}\n"
    plan += "    return {'jobs': [dict(summary(), notebook=told)], 'next': None}"
    rig.lay_out(tmp_path / "worker", plan)

    async def attach() -> Path | None:
        client = JobClient(Store.open())
        try:
            live = await client.attach(rig.JOB)
            await client.wait(live, outputs=True)
            return live.output_dir
        finally:
            await client.aclose()

    assert asyncio.run(attach()) == here / "chute_outputs" / f"job-{rig.JOB[:6]}"
    assert list(secret.iterdir()) == []
    assert rig.leftovers(here / "chute_outputs") == ["a", "deep/b"]


def test_a_made_up_job_beside_a_notebook_that_is_here_lands_beside_it(tmp_path: Path) -> None:
    from chutes_jupyter.client.folders import _notebook_folder

    notebook = tmp_path / "mine.ipynb"
    notebook.touch()
    assert _notebook_folder(str(notebook)) == tmp_path
    for other in ("/etc/passwd", str(tmp_path / "none.ipynb"), "x\0y", "mine.ipynb", "a" * 70_000):
        assert _notebook_folder(other) == Path.cwd()
