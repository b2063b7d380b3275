"""Named lies over the real local transport; every one that broke something has its name here."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.client.session import Session
from tests.hostile import rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


async def against(plan: str, tmp_path: Path, home: Path, patience: float = 1.0) -> dict[str, Any]:
    """Do everything with a worker that lies by that plan, and check what must always hold."""
    rig.lay_out(tmp_path / "worker", plan)
    mirrored = tmp_path / "notebooks" / "chute_outputs"
    own = [mirrored / f"job-{rig.JOB[:6]}", mirrored / ".chute"]
    (mirrored / "another").mkdir(parents=True)
    (mirrored / "another" / "file").write_text("mine")
    (tmp_path / "worker" / "asked").write_text("")
    allowed = [home, tmp_path / "worker", tmp_path / "honest", *own]
    with rig.nothing_else_written(tmp_path, allowed):
        async with rig.client(tmp_path / "honest") as client:
            came = await rig.everything(client, patience)
    # Whatever it answers, it is not asked as fast as it answers.
    asked = Counter((tmp_path / "worker" / "asked").read_text().split())
    assert max(asked.values(), default=0) < 400, asked
    return came


async def test_without_a_plan_it_tells_of_one_job(tmp_path: Path, home: Path, here: Path) -> None:
    came = await against("", tmp_path, home, patience=10)
    assert came["value"] == [1, "two"]
    assert came["live"].state == "succeeded"
    told = came["live"].readings
    assert (told.progress.done, told.metrics["loss"][0].value) == (1, 0.5)
    assert told.displays[0].data == {"text/plain": "shown"}
    assert told.usage[0].gpus[0].utilisation == 7
    assert [(f.path, f.state) for f in came["files"]] == [("a", "here"), ("deep/b", "here")]
    assert rig.leftovers(here / "chute_outputs") == ["a", "deep/b"]


RUNNING = "EVENTS[2:] = []\n"
#: What a lie about readings begins with: the honest answer's fields.
FIRST = "def first(ask, honest=readings):\n    return honest(ask)[0]\n"
LIES = {
    "events without end": RUNNING + "def events(ask):\n"
    "    n = ask['after']\n"
    "    page = [{'n': n + i + 1, 't': 1, 'type': 'x'} for i in range(10_000)]\n"
    "    return {'events': page, 'state': 'running', 'terminal': False}",
    "no events, at once, for ever": RUNNING + "def events(ask):\n"
    "    return {'events': EVENTS[ask['after']:], 'state': 'running', 'terminal': False}",
    "notices without end": RUNNING + "def events(ask):\n"
    "    n = ask['after']\n"
    "    page = [{'n': n + i + 1, 't': 1, 'type': 'notice', 'message': str(n + i) * 900}\n"
    "            for i in range(150)]\n"
    "    return {'events': page, 'state': 'running', 'terminal': False}",
    "a port that is ready under ever other names": RUNNING + "def events(ask):\n"
    "    n = ask['after']\n"
    "    page = [{'n': n + i + 1, 't': 1, 'type': 'port', 'name': str(n + i), 'ready': True}\n"
    "            for i in range(10_000)]\n"
    "    return {'events': page, 'state': 'running', 'terminal': False}",
    "a log that grows for ever": "def log(ask):\n"
    "    offset = ask.get('offset', 0)\n"
    "    return {'offset': offset, 'size': offset + 2**40, 'end': False}, bytes(250_000)",
    "a log without bytes": "def log(ask):\n"
    "    return {'offset': ask.get('offset', 0), 'size': 2**60, 'end': False}",
    "a listing of a million": "def outputs(ask):\n    return listing([], total=1_000_000)",
    "a listing that lacks what it has": "def outputs(ask):\n    return listing([], total=100_000)",
    "a listing that changes all the time": "V = [1]\n"
    "def outputs(ask):\n"
    "    V[0] += 1\n"
    "    return listing([entry('a')], total=9, version=V[0])",
    "a listing of endless names": "def outputs(ask):\n"
    "    page = [entry(str(ask['start'] + i) + 'x' * 16_000) for i in range(60)]\n"
    "    return listing(page, total=200_000)",
    "a listing that is never new": RUNNING
    + "EVENTS.append({'n': 3, 't': 1, 'type': 'outputs', 'version': 2**53, 'final': True})\n"
    "def events(ask):\n"
    "    return {'events': EVENTS[ask['after']:], 'state': 'running', 'terminal': False}\n"
    "def outputs(ask):\n"
    "    return listing([entry('a')], final=False)",
    "files that take turns": "def outputs(ask):\n"
    "    return listing([entry('a'), entry('a/b'), entry('a/b/c')])",
    "files of no end": "def read(ask):\n"
    "    while True:\n"
    "        yield {'more': True}, bytes(1000_000)",
    "files of no bytes": "def read(ask):\n    while True:\n        yield {'more': True}, b''",
    "files of single bytes": "def outputs(ask):\n"
    "    return listing([entry('a', size=2**62), entry('b', size=2**62)])\n"
    "def read(ask):\n"
    "    while True:\n"
    "        yield {'more': True}, b'x'",
    "jobs without end": "N = [0]\n"
    "def jobs(ask):\n"
    "    page = []\n"
    "    for i in range(300):\n"
    "        N[0] += 1\n"
    "        page.append(dict(summary(), id='%032x' % N[0]))\n"
    "    return {'jobs': page, 'next': '%032x' % N[0]}",
    "pages of no jobs": "N = [0]\n"
    "def jobs(ask):\n"
    "    N[0] += 1\n"
    "    return {'jobs': [], 'next': '%032x' % N[0]}",
    "huge numbers": "def raw(ask, fields, body):\n"
    "    text = b'{\"id\":%d,\"ok\":true,\"size\":%s}' % (ask['id'], b'9' * 500_000)\n"
    "    return struct.pack('!II', len(text), 0) + text",
    "numbers that just can be read": "def events(ask):\n"
    "    return {'events': [{'n': 10**4000, 't': 10**4000, 'type': 'x'}]}",
    "deep nesting": "def raw(ask, fields, body):\n"
    "    text = b'{\"id\":%d,\"ok\":true,\"x\":%s}' % (ask['id'], b'[' * 900 + b']' * 900)\n"
    "    return struct.pack('!II', len(text), 0) + text",
    "too deep nesting": "def raw(ask, fields, body):\n"
    "    text = b'[' * 1_000_000\n"
    "    return struct.pack('!II', len(text), 0) + text",
    "answers twice": "honest_raw = raw\n"
    "def raw(ask, fields, body):\n"
    "    return honest_raw(ask, fields, body) * 2",
    "large pieces' fields": "def result(ask):\n"
    "    while True:\n"
    "        yield {'more': True, 'has_value': True, 'x': [[]] * 200_000}, b'x'",
    "half a frame": "def raw(ask, fields, body):\n    return struct.pack('!II', 1000, 0) + b'{'",
    "metrics without end": "def readings(ask):\n"
    "    return dict(first(ask), end=False), LINE * 6000",
    "metrics of ever other names": "N = [0]\n"
    "def readings(ask):\n"
    "    N[0] += 2000\n"
    "    lines = [LINE.replace(b'loss', b'm%d' % (N[0] + i)) for i in range(2000)]\n"
    "    return dict(first(ask), end=False), b''.join(lines)",
    "half a line of metrics": "def readings(ask):\n    return first(ask), LINE[:-1]",
    "metrics of no shape": "def readings(ask):\n    return first(ask), b'[[[[\\n'",
    "metrics with deep nesting": "def readings(ask):\n"
    "    return first(ask), b'[' * 200_000 + b'\\n'",
    "samples without end": "def readings(ask):\n"
    "    n = ask['sample']\n"
    "    return dict(first(ask), usage=[sample(n + i + 1) for i in range(1500)], end=False)",
    "a sample twice": "def readings(ask):\n    return dict(first(ask), usage=[sample(1)] * 2)",
    "a progress of no number": "def readings(ask):\n"
    "    return dict(first(ask), progress=told(done=float('nan')))",
    "results that change all the time": "V = [1]\n"
    "def readings(ask):\n"
    "    V[0] += 1\n"
    "    items = [shown(i + 1, v=V[0]) for i in range(200)]\n"
    "    return dict(first(ask), displays={'items': items}, end=False)",
    "results that are never there": "def readings(ask):\n"
    "    items = [shown(i + 1, size=7) for i in range(200)]\n"
    "    return dict(first(ask), displays={'items': items}, end=False)",
    "more results than fit": "def readings(ask):\n"
    "    items = [shown(i + 1, size=8 * 2**20) for i in range(200)]\n"
    "    return dict(first(ask), displays={'items': items}, end=False)",
    "a result of single bytes": "def readings(ask):\n"
    "    return dict(first(ask), displays={'items': [shown(1, size=2**20)]}, end=False)\n"
    "def display(ask):\n"
    "    return {'stamp': 1, 'size': 2**20}, b'x'",
    "a result that is no JSON": "OBJECT = b'{' * 45",
    "a picture that is no base64": 'OBJECT = b\'{"data":{"image/png":"###"},"metadata":{}}\'',
    "a result of no bytes": "def result(ask):\n"
    "    while True:\n"
    "        yield {'more': True, 'has_value': True}, b''",
    "a state after the end": "EVENTS.append(state(5, 'running'))",
    "nothing at all": "def raw(ask, fields, body):\n    return b''",
    "its end at once": "def begin():\n    send(wire.MARKER)\n    sys.exit(0)",
    "words before it is asked": "def begin():\n    send(wire.MARKER + b'hello')",
    "its first word twice": "def begin():\n    send(wire.MARKER)\n    send(wire.MARKER)",
    "a flood before its first word": "def begin():\n    while True:\n        send(b'x' * 65536)",
    "a need without end": "def begin():\n    while True:\n        send(b'\\0chutes-agent:need\\0')",
    "a flood of complaints": "def begin():\n"
    "    send(wire.MARKER)\n"
    "    for _ in range(3000):\n"
    "        os.write(2, b'x' * 65536)",
}


#: What some lies must end in: what was tried, and what the error says.
ENDS = {
    "a result of no bytes": ("value", "without bytes"),
    "large pieces' fields": ("value", "without bytes"),
    "a listing that lacks what it has": ("mirror", "lists 100000 outputs of .* and sends 0"),
    "a listing of a million": ("mirror", "malformed"),
    "a listing of endless names": ("mirror", "longer than 64 MiB|^None$"),
    "metrics of ever other names": ("readings", "metrics without end"),
    "half a line of metrics": ("readings", "half a line"),
    "metrics of no shape": ("readings", "malformed metrics"),
    "metrics with deep nesting": ("readings", "malformed metrics"),
    "a sample twice": ("readings", "sample twice"),
    "a progress of no number": ("readings", "malformed"),
    "more results than fit": ("readings", "results without end"),
    "a result of single bytes": ("readings", "a result without end"),
    "a result that is no JSON": ("readings", "malformed a result"),
    "a picture that is no base64": ("readings", "no base64"),
    "a state after the end": ("wait", "ended .* twice"),
    "huge numbers": ("info", "broke the protocol"),
    "too deep nesting": ("info", "broke the protocol"),
    "answers twice": ("attach", "No job"),
    "words before it is asked": ("info", "spoke before it was asked|broke the protocol"),
    "its first word twice": ("info", "spoke before it was asked|broke the protocol"),
    "a flood before its first word": ("info", "256 KiB"),
    "a need without end": ("info", "256 KiB"),
    "its end at once": ("info", "ended"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_raises_our_errors_and_the_client_lives_on(
    lie: str, tmp_path: Path, home: Path, here: Path
) -> None:
    compile(LIES[lie], lie, "exec")
    came = await against(FIRST + LIES[lie], tmp_path, home, patience=0.7)
    if "live" in came:
        came["readings"] = came["live"].notices
        came["mirror"] = came["live"].mirror.reason
    what, words = ENDS.get(lie, ("jobs", ""))
    assert re.search(words, str(came[what])), came


async def test_a_log_that_grows_as_it_is_read_ends_where_it_ended_at_first(
    tmp_path: Path, home: Path, here: Path
) -> None:
    plan = "def log(ask):\n    offset = ask.get('offset', 0)\n"
    plan += "    return {'offset': offset, 'size': offset + 500_000, 'end': False}, bytes(250_000)"
    came = await against(plan, tmp_path, home, patience=5)
    assert came["log"] == bytes(100)


async def test_a_worker_that_hangs_up_on_every_request_is_asked_with_growing_pauses(
    tmp_path: Path, home: Path
) -> None:
    plan = "def ping(ask):\n    sys.exit(0)"
    session = Session(rig.lay_out(tmp_path / "worker", plan))
    said: list[str | None] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(6):
            await session.persist("ping", trouble=said.append)
    await session.aclose()
    # The pauses 0.2, 0.3, 0.6, 1.0, 1.7 … with their jitter; without growth it were 25 times.
    assert 2 <= (tmp_path / "worker" / "asked").read_text().split().count("ping") <= 10
    assert "ended" in str(said[-1])
