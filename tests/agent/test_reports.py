"""What the job's own process writes down: progress, metrics and results, on both Pythons."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from chutes_jupyter.agent import bundles, showing, telling
from tests import interpreters
from tests.agent.rig import PATIENCE, Agent, agent


@pytest.fixture(params=["oldest", "newest"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    python = interpreters.oldest() if request.param == "oldest" else interpreters.newest()
    with agent(tmp_path / "root", str(python)) as running:
        yield running


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root", str(interpreters.newest())) as running:
        yield running


class Written:
    """What a job has written down."""

    def __init__(self, worker: Agent, job: str) -> None:
        self.path = worker.root / "jobs" / job

    @property
    def progress(self) -> dict[str, Any] | None:
        file = self.path / "progress.json"
        return json.loads(file.read_text()) if file.exists() else None

    def metric(self, name: str) -> list[tuple[float, float]]:
        lines = (self.path / "metrics.jsonl").read_text().splitlines()
        found = [point for point in map(json.loads, lines) if point["name"] == name]
        return [(point["step"], point["value"]) for point in found]

    @property
    def shown(self) -> list[dict[str, Any]]:
        items = json.loads((self.path / "displays.json").read_text())["items"]
        files = [self.path / "displays" / f"{item['n']}.json" for item in items]
        assert [file.stat().st_size for file in files] == [item["size"] for item in items]
        return [json.loads(file.read_bytes()) for file in files]


def ended(worker: Agent, source: str, state: str = "succeeded") -> Written:
    job = worker.start(source)
    last = worker.end(job)
    assert last["state"] == state, last
    return Written(worker, job)


def notices(worker: Agent, job: str) -> list[str]:
    return [event["message"] for event in worker.follow(job) if event["type"] == "notice"]


def test_the_last_words_are_there_however_short_the_job(worker: Agent) -> None:
    written = ended(worker, "for n in range(1, 8): self.progress(n, 7, unit='step', left=7 - n)")
    assert written.progress is not None
    facts = {key: written.progress[key] for key in ("done", "total", "unit", "metrics")}
    assert facts == {"done": 7, "total": 7, "unit": "step", "metrics": {"left": 0}}
    assert written.metric("left") == [(n, 7 - n) for n in range(1, 8)]


def test_a_flood_is_thinned_and_ends_with_its_last_value(worker: Agent) -> None:
    source = "for n in range(100_000): self.metric('x', n); self.progress(n + 1, 100_000)"
    written = ended(worker, source)
    points = written.metric("x")
    assert points[: telling.DENSE] == [(n, n) for n in range(telling.DENSE)]
    assert len(points) < 8 * telling.DENSE
    assert points[-1] == (99_999, 99_999)
    assert points == sorted(points)
    assert written.progress is not None
    assert written.progress["done"] == 100_000


def test_ten_thousand_results_leave_the_newest(newest: Agent) -> None:
    job = newest.start("for n in range(10_000): display(n)")
    assert newest.end(job)["state"] == "succeeded"
    written = Written(newest, job)
    texts = [shown["data"]["text/plain"] for shown in written.shown]
    assert texts == [str(n) for n in range(10_000 - showing.MOST, 10_000)]
    assert len(os.listdir(written.path / "displays")) == showing.MOST
    assert len([text for text in notices(newest, job) if "newest 200 are kept" in text]) == 1
    # The log has all of them, as before.
    assert newest.log(job).count(b"\n") == 10_000


def test_a_flood_does_not_keep_a_cancel_waiting(newest: Agent) -> None:
    job = newest.start(
        "import itertools\n"
        "for n in itertools.count():\n"
        "    self.metric('x', n)\n"
        "    self.progress(n)\n"
        "    if self.cancel_event.is_set(): break\n"
        "return n"
    )
    newest.follow(job, until="running")
    newest.ask("cancel", job=job)
    assert newest.end(job)["state"] == "cancelled"
    # It saw the event by itself, before anything was sent to it by force.
    assert Written(newest, job).metric("x")[-1] == (newest.value(job), newest.value(job))


def test_numbers_of_every_kind(worker: Agent) -> None:
    source = """
import fractions, math
class Tensor:
    def item(self): return 1.25
    def __float__(self): raise RuntimeError("requires grad")
for value in (True, 3, 0.5, fractions.Fraction(1, 4), Tensor(), math.nan, math.inf, -math.inf):
    self.metric("n", value)
self.progress(Tensor(), math.pi)
"""
    written = ended(worker, source)
    values = [value for _, value in written.metric("n")]
    assert repr(values) == "[1.0, 3.0, 0.5, 0.25, 1.25, nan, inf, -inf]"
    assert written.progress is not None
    assert written.progress["done"] == 1.25


WRONG = {
    "self.progress('half')": "TypeError: done must be one number, not 'half' (str)",
    "self.progress(1, [2])": "TypeError: total must be one number, not [2] (list)",
    "self.progress(-1)": "ValueError: done must not be negative, but is -1",
    "self.progress(float('nan'))": "ValueError: done must be a finite number, not nan",
    "self.progress(1, unit=3)": "TypeError: unit must be a text, not 3",
    "self.progress(1, x=None)": "TypeError: x must be one number, not None (NoneType)",
    "self.metric(3, 1)": "TypeError: a metric's name must be a text, not 3",
    "self.metric('', 1)": "ValueError: a metric's name has 1 to 200 characters: ''",
    "self.metric('x', 10**400)": "TypeError: x must be one number",
    "self.metric('x', 1, 'a')": "TypeError: step must be one number, not 'a' (str)",
}


def test_what_is_no_number_is_said(newest: Agent) -> None:
    jobs = {call: newest.start(call) for call in WRONG}
    for call, job in jobs.items():
        last = newest.end(job)
        assert last["state"] == "failed", call
        assert WRONG[call] in last["reason"]


def test_a_list_of_jobs_stays_short_whatever_they_tell(newest: Agent) -> None:
    jobs = [
        newest.start(
            "self.progress(1, 2, description='\\u1234' * 200, unit='u',"
            " **{'m' * 150 + str(n): n for n in range(190)})"
        ),
        newest.start(
            "open(job_data['output_dir'] + '/../progress.json', 'w').write("
            "'{\"done\": \"' + 'x' * 10_000 + '\"}')"
        ),
    ]
    for job in jobs:
        assert newest.end(job)["state"] == "succeeded"
    header, _ = newest.ask("jobs", ids=jobs)
    first, second = (each["progress"] for each in header["jobs"])
    assert (first["done"], first["total"], first["unit"]) == (1, 2, "u")
    assert len(json.dumps(first)) < 800
    assert second is None


def test_more_metrics_than_a_job_may_have_are_said_once(newest: Agent) -> None:
    job = newest.start("for n in range(300): self.metric(f'm{n}', n)")
    assert newest.end(job)["state"] == "succeeded"
    assert [text for text in notices(newest, job) if "at most 200 metrics" in text]
    lines = (Written(newest, job).path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == telling.MOST_NAMES


def test_children_and_threads_of_the_job(worker: Agent) -> None:
    source = """
import os, threading
self.progress(1, 2)
child = os.fork()
if child == 0:
    for n in range(1000): self.progress(99), self.metric("child", n), display("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
threads = [
    threading.Thread(target=lambda: [self.metric("n", n) for n in range(200)]) for _ in range(8)
]
for thread in threads: thread.start()
for thread in threads: thread.join()
self.progress(2, 2)
"""
    written = ended(worker, source)
    assert written.progress is not None
    assert written.progress["done"] == 2
    assert written.metric("child") == []
    assert len(written.metric("n")) >= telling.DENSE
    assert not (written.path / "displays.json").exists()


def test_a_fork_in_the_middle_of_a_write_ends_all_the_same(newest: Agent) -> None:
    """A child must not wait for a lock that a thread of its parent had."""
    source = """
import os, threading
stop = threading.Event()
def flood():
    while not stop.is_set(): self.metric("x", 1)
threads = [threading.Thread(target=flood) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(50):
    child = os.fork()
    if child == 0:
        self.metric("y", 1); self.progress(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
"""
    ended(newest, source)


def test_what_was_told_stays_when_the_process_is_killed(newest: Agent) -> None:
    written = ended(
        newest,
        "import os, time\nself.progress(5, 9, loss=0.5)\ntime.sleep(0.3)\nself.progress(6, 9)\n"
        "display('seen')\nos.kill(os.getpid(), 9)",
        "failed",
    )
    assert written.progress is not None
    assert written.progress["done"] == 6
    assert written.metric("loss") == [(5, 0.5)]
    assert [shown["data"] for shown in written.shown] == [{"text/plain": "seen"}]


def test_no_place_to_write_ends_no_job(newest: Agent) -> None:
    job = newest.start(
        "import os\n"
        "folder = os.path.dirname(job_data['output_dir'])\n"
        "for name in ('progress.json', 'metrics.jsonl', 'displays.json'):\n"
        "    os.makedirs(os.path.join(folder, name, 'in the way'))\n"
        "self.progress(1, 2)\nself.metric('x', 1)\ndisplay(1)\nreturn 'done'"
    )
    assert newest.end(job)["state"] == "succeeded"
    assert newest.value(job) == "done"
    said = " ".join(notices(newest, job))
    assert "progress and metrics were not written" in said
    assert "results were not written" in said
    header, _ = newest.ask("readings", job=job, stamps={}, metrics=0, sample=0)
    assert header["ok"] is False or header["progress"] is None


def test_results_in_every_form(worker: Agent) -> None:
    source = """
class Rich:
    def _repr_html_(self): return "<b>rich</b>"
    def _repr_png_(self): return b"\\x89PNG", {"width": 7}
    def _repr_json_(self): return {"a": [1, None]}
    def _repr_latex_(self): raise RuntimeError("no latex")
    def __repr__(self): return "Rich()"
class Whole:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/markdown": "*w*", "no mime": "x", "image/png": "!!!", "a/b+json": {1}}
class All:
    def __getattr__(self, name): return lambda *args, **kwargs: "made up"
    def __repr__(self): return "All()"
display(Rich(), metadata={"text/html": {"isolated": True}})
display(Whole(), include=["text/markdown"])
display(All())
class Broken:
    def __repr__(self): return 1 / 0
display(Broken())
display({"text/plain": "raw", "text/html": "<i>"}, raw=True)
display("grün \\ud800")
"""
    job = worker.start(source)
    assert worker.end(job)["state"] == "succeeded"
    shown = Written(worker, job).shown
    assert shown[0] == {
        "data": {
            "text/html": "<b>rich</b>",
            "image/png": "iVBORw==",
            "application/json": '{"a": [1, null]}',
            "text/plain": "Rich()",
        },
        "metadata": {"image/png": {"width": 7}, "text/html": {"isolated": True}},
    }
    assert [each["data"] for each in shown[1:]] == [
        {"text/markdown": "*w*"},
        {"text/plain": "All()"},
        {"text/plain": ANY},
        {"text/plain": "raw", "text/html": "<i>"},
        {"text/plain": "grün ?"},
    ]
    log = worker.log(job).decode()
    assert "RuntimeError: no latex" in log
    assert "ZeroDivisionError" in log
    assert "Broken object at" in shown[3]["data"]["text/plain"]
    for line in ("Rich()", "All()", "raw", "grün \\ud800"):
        assert line in log.splitlines()


def test_an_update_takes_the_place_of_what_was_shown(worker: Agent) -> None:
    source = """
first = display("one", display_id=True)
display("two", display_id="named")
for n in range(100): first.update(f"one, {n}")
assert display("three") is None
first.update("last")
"""
    assert [each["data"]["text/plain"] for each in ended(worker, source).shown] == [
        "last",
        "two",
        "three",
    ]


def test_what_is_too_large_is_left_out_and_said(newest: Agent) -> None:
    source = """
class Large:
    def _repr_html_(self): return "x" * (5 << 20)
    def _repr_markdown_(self): return "small"
    def __repr__(self): return "Large()"
display(Large())
display("y" * (300 << 10))
for n in range(20): display({"text/html": str(n % 10) * (3 << 20)}, raw=True)
"""
    shown = ended(newest, source).shown
    # 32 MiB in all: the first of them had to go.
    assert sum(len(json.dumps(each)) for each in shown) < showing.MOST_BYTES
    assert shown[-1]["data"]["text/html"][0] == "9"
    job = newest.start(source.split("for n", maxsplit=1)[0])
    newest.end(job)
    large, long = (each["data"] for each in Written(newest, job).shown)
    assert large["text/markdown"] == "small"
    assert "text/html" not in large
    assert "text/html of 5.0 MiB was left out" in large["text/plain"]
    assert len(long["text/plain"]) < bundles.MOST_TEXT + 100
    assert "45056 more characters were left out" in long["text/plain"]


def test_only_what_is_new_is_read(newest: Agent) -> None:
    job = newest.start(
        "self.progress(1, 2)\nself.metric('x', 1)\ndisplay('a')\nself.cancel_event.wait_blocking()"
    )
    newest.follow(job, until="running")
    known: dict[str, Any] = {"stamps": {}, "metrics": 0, "sample": 0}
    seen: dict[str, Any] = {}
    while not (seen.get("progress") and seen.get("displays") and seen.get("metrics")):
        header, body = newest.ask("readings", job=job, wait=PATIENCE, **known)
        assert header["ok"], header
        seen.update({k: header[k] for k in ("progress", "displays") if header[k]})
        seen["metrics"] = seen.get("metrics", b"") + body
        known["stamps"], known["metrics"] = header["stamps"], len(seen["metrics"])
    header, body = newest.ask("readings", job=job, **known)
    assert (header["progress"], header["displays"], header["end"], body) == (None, None, False, b"")
    item = seen["displays"]["items"][0]
    header, body = newest.ask("display", job=job, number=item["n"], offset=0)
    assert len(body) == header["size"] == item["size"]
    header, _ = newest.ask("display", job=job, number=77, offset=0)
    assert header["error"]["code"] == "not_found"
    newest.ask("cancel", job=job)
    newest.end(job)
    header, _ = newest.ask("readings", job=job, wait=PATIENCE, **known)
    assert header["end"] is True
