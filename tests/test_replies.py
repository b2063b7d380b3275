"""What a worker says is bounded and of the expected shape, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.replies import (
    DoorFacts,
    EventPage,
    Hello,
    JobPage,
    Listing,
    LogPiece,
    ReadEnd,
    parse,
    path_fault,
    printable,
)

EVENT = {"n": 1, "t": 1.5, "type": "state", "state": "running", "python": "3.11.2"}
ENTRY = {"path": "a", "size": 1, "mtime_ns": 5, "sha256": None, "quiet": True}
JOB = {
    "id": "0" * 32,
    "name": "train",
    "state": "running",
    "event": 2,
    "created": 1,
    "started": None,
    "ended": None,
    "reason": None,
    "notebook": None,
    "ports": [{"name": "web", "port": 8080, "proto": "http"}],
    "timeout": None,
    "upload": True,
}


def events(**changes: Any) -> dict[str, Any]:
    return {"events": [{**EVENT, **changes}], "state": "running", "terminal": False}


def listing(**changes: Any) -> dict[str, Any]:
    entries = [{**ENTRY, **changes}]
    return {"version": 1, "final": False, "total": 1, "entries": entries, "refused": []}


def jobs(**changes: Any) -> dict[str, Any]:
    return {"jobs": [{**JOB, **changes}], "next": None}


def test_whole_replies_are_taken() -> None:
    page = parse(EventPage, {**events(), "unknown": "field"})
    assert page.events[0].state == "running"
    assert parse(EventPage, events(type="news", state=None)).events[0].type == "news"
    assert parse(Listing, listing()).entries[0].path == "a"
    assert parse(JobPage, jobs(name="größe")).jobs[0].name == "größe"


BROKEN: list[tuple[Any, dict[str, Any]]] = [
    (EventPage, events(n=0)),
    (EventPage, events(n="1")),
    (EventPage, events(n=True)),
    (EventPage, events(t=float("nan"))),
    (EventPage, events(state="exploded")),
    (EventPage, events(state=None)),
    (EventPage, events(type="notice")),
    (EventPage, events(reason="x" * 70_000)),
    (EventPage, events(error={"type": "E", "message": "m"})),
    (EventPage, {"events": {}, "state": None, "terminal": False}),
    (EventPage, {}),
    (Listing, listing(size=-1)),
    (Listing, listing(size=2**64)),
    (Listing, listing(size=1.0)),
    (Listing, listing(sha256="short")),
    (Listing, listing(sha256="g" * 64)),
    (Listing, listing(sha256="0" * 64 + "\n")),
    (Listing, listing(path="x" * 20_000)),
    (Listing, listing(path=["a"])),
    (Listing, {**listing(), "total": 10**9}),
    (JobPage, jobs(id="../../etc")),
    (JobPage, jobs(id="0" * 32 + "\n")),
    (JobPage, jobs(name="../up")),
    (JobPage, jobs(name="a/b")),
    (JobPage, jobs(name="")),
    (JobPage, jobs(ports=[{"name": "web", "port": 0, "proto": "http"}])),
    (JobPage, {**jobs(), "next": "x"}),
    (LogPiece, {"offset": -1, "size": 1, "end": False}),
    (ReadEnd, {"size": 1, "mtime_ns": 1, "sha256": "0" * 63, "changed": False}),
    (Hello, {"protocol": 1}),
]


@pytest.mark.parametrize(("model", "header"), BROKEN)
def test_a_malformed_reply_is_refused(model: Any, header: dict[str, Any]) -> None:
    with pytest.raises(AgentFailed, match="malformed"):
        parse(model, header)


GOOD = ["a", "a/b", ".hidden", "..a", "a..", "...", "-x", "new\nline", "a b", "grün", "x" * 255]
BAD = ["", "/", "/a", "..", "../a", "a/../b", "a/..", "a//b", "a/", "./a", "a/.", "a\0b"]
BAD += ["x" * 256, "ü" * 128, "not\ufffdutf8"]
BAD_ON_WINDOWS = ["a\\b", "..\\a", "c:x", "c:\\x", "a:stream", "CON", "nul.txt", "com1", "LPT9.x"]
BAD_ON_WINDOWS += [
    "end.",
    "end ",
    "a/end./b",
    "new\nline",
    "a<b",
    'a"b',
    "a|b",
    "a?",
    "a*",
    "aux/b",
]


def test_only_names_below_the_folder_are_taken() -> None:
    assert [path for path in GOOD if path_fault(path, windows=False)] == []
    assert [path for path in BAD if not path_fault(path, windows=False)] == []
    assert [path for path in BAD if not path_fault(path, windows=True)] == []
    assert [path for path in BAD_ON_WINDOWS if not path_fault(path, windows=True)] == []
    assert [path for path in BAD_ON_WINDOWS if path_fault(path, windows=False)] == []


def test_names_that_are_not_unicode_can_be_shown() -> None:
    assert printable("a\udcffb") == "a\ufffdb"
    assert parse(Listing, listing(path="a\udcff")).entries[0].path == "a\ufffd"


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8J0cQ0aZcmW0Hq5dQ0mO3o1u1l9bqk0l4lF3s5m0aB"
DOOR = {"user": "me", "host_key": KEY, "keys": []}


@pytest.mark.parametrize(
    "changes",
    [{}, {"user": "DOMAIN\\me.too@x"}, {"user": "größe$"}, {"keys": [f"{KEY} me@laptop"]}],
)
def test_the_facts_of_a_door_are_taken(changes: dict[str, Any]) -> None:
    parse(DoorFacts, {**DOOR, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "me\nProxyCommand evil"},
        {"user": 'me" "x'},
        {"user": "-oProxyCommand"},
        {"user": "%u ${HOME}"},
        {"user": ""},
        {"host_key": f"{KEY}\n* {KEY}"},
        {"host_key": f"{KEY} comment"},
        {"host_key": "@cert-authority * x"},
        {"keys": [f"{KEY}\n{KEY}"]},
        {"keys": [f'command="evil" {KEY}']},
        {"keys": ["ssh-ed25519 AAAA"]},
        {"keys": [KEY] * 101},
    ],
)
def test_nothing_but_facts_gets_into_the_files_of_ssh(changes: dict[str, Any]) -> None:
    with pytest.raises(AgentFailed):
        parse(DoorFacts, {**DOOR, **changes})
