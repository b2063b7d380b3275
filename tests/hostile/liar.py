"""The agent's place on a worker, taken by a liar: laid out as `serve.py`, run by the bootstrap.

By itself it tells of one job that has ended well. What a test wants otherwise, it writes into
`plan.py` in the worker's folder: functions that replace those here, by their names.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import sys
from typing import Any

from chutes_jupyter.agent import codec, wire

JOB = "ab" * 16
Fields = dict[str, Any]
VALUE = codec.dumps([1, "two"])
FILES = {"a": b"first", "deep/b": b"second"}


def state(number: int, name: str, **fields: Any) -> Fields:
    return {"n": number, "t": 1e9 + number, "type": "state", "state": name, **fields}


EVENTS: list[Fields] = [
    state(1, "starting"),
    state(2, "running", python="3.11.2"),
    {"n": 3, "t": 1e9, "type": "outputs", "version": 1, "files": 2, "bytes": 11, "final": True},
    state(4, "succeeded", reason="", error=None, has_value=True),
]


def hello(ask: Fields) -> Any:
    return {
        "protocol": wire.PROTOCOL,
        "agent": "x",
        "python": sys.executable,
        "version": "3.11.2",
        "host": "host",
        "user": "user",
        "boot": "",
        "pid": 7,
        "root": ROOT,
        "platform": "linux",
    }


def info(ask: Fields) -> Any:
    interpreter = {"executable": "python", "version": "3.11.2", "implementation": "cpython"}
    return {"gpus": None, "cpus": 1, "memory_mib": 1, "interpreter": interpreter}


def summary() -> Fields:
    return {
        "id": JOB,
        "name": "job",
        "state": "running",
        "event": 2,
        "created": 1e9,
        "started": 1e9,
        "ended": None,
        "reason": None,
        "notebook": None,
        "ports": [],
        "timeout": None,
        "upload": True,
    }


def jobs(ask: Fields) -> Any:
    return {"jobs": [summary()], "next": None}


def events(ask: Fields) -> Any:
    return {"events": EVENTS[ask["after"] :], "state": EVENTS[-1]["state"], "terminal": True}


def log(ask: Fields) -> Any:
    text = b"a line\n"
    offset = ask.get("offset", 0)
    return {"offset": offset, "size": len(text), "end": True}, text[offset:]


def entry(path: str, **changes: Any) -> Fields:
    data = FILES.get(path, b"")
    digest = hashlib.sha256(data).hexdigest()
    known = {"path": path, "size": len(data), "mtime_ns": 1, "sha256": digest, "quiet": True}
    return {**known, **changes}


def listing(entries: list[Fields], **changes: Any) -> Fields:
    known = {"version": 1, "final": True, "total": len(entries), "entries": entries, "refused": []}
    return {**known, **changes}


def outputs(ask: Fields) -> Any:
    return listing([entry(path) for path in FILES])


def end(data: bytes) -> Fields:
    digest = hashlib.sha256(data).hexdigest()
    return {"more": False, "size": len(data), "mtime_ns": 1, "sha256": digest, "changed": False}


def read(ask: Fields) -> Any:
    data = FILES.get(ask["path"], b"")
    yield {"more": True}, data or b"x"
    yield end(data), b""


def result(ask: Fields) -> Any:
    known = {"state": "succeeded", "has_value": True}
    yield {**known, "more": True}, VALUE
    yield {**known, **end(VALUE)}, b""


def readings(ask: Fields) -> Any:
    new = ask["metrics"] == 0
    fields = {
        "stamps": {"progress": 1, "displays": 1, "usage": 1},
        "progress": told() if new else None,
        "displays": {"version": 1, "items": [shown(1)]} if new else None,
        "usage": [sample(1)] if new else [],
        "end": True,
    }
    return fields, LINE if new else b""


LINE = b'{"name":"loss","step":1,"value":0.5,"t":1}\n'
OBJECT = b'{"data":{"text/plain":"shown"},"metadata":{}}'


def told(**changes: Any) -> Fields:
    known = {"done": 1, "total": 2, "unit": "it", "description": None, "rate": 1.5}
    return {**known, "seconds_left": 0.5, "metrics": {"loss": 0.5}, "at": 1e9, **changes}


def shown(number: int, **changes: Any) -> Fields:
    return {"n": number, "v": 1, "size": len(OBJECT), "at": 1e9, **changes}


def sample(number: int, **changes: Any) -> Fields:
    gpu = {"index": 0, "name": "GPU", "uuid": None, "util": 7, "used": 1, "own": None, "total": 2}
    return {"n": number, "t": 1e9, "cpu": 99.5, "mem": 12, "gpus": [gpu], **changes}


def display(ask: Fields) -> Any:
    return {"stamp": 1, "size": len(OBJECT)}, OBJECT[ask["offset"] :]


def cancel(ask: Fields) -> Any:
    return {"state": "running"}


def raw(ask: Fields, fields: Fields, body: bytes) -> bytes:
    """Return the bytes of a reply; a plan may spoil them."""
    text = json.dumps({"id": ask["id"], "ok": True, **fields}).encode()
    return struct.pack("!II", len(text), len(body)) + text + body


def answers(ask: Fields) -> Any:
    answer = globals()[ask["op"]](ask)
    if isinstance(answer, dict):
        answer = answer, b""
    return [answer] if isinstance(answer, tuple) else answer


def send(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def mutated(value: Any, dice: random.Random) -> Any:
    """Return JSON with something in it changed."""
    if dice.random() < 0.25 or not isinstance(value, (dict, list)) or not value:
        return dice.choice(ODD)
    if isinstance(value, list):
        at = dice.randrange(len(value))
        way = dice.randrange(3)
        if way == 0:
            return value[:at] + value[at + 1 :]
        if way == 1:
            return value + [value[at]] * dice.choice([1, 1, 300])
        return [mutated(item, dice) if n == at else item for n, item in enumerate(value)]
    name = dice.choice(sorted(value))
    if dice.random() < 0.2:
        return {key: item for key, item in value.items() if key != name}
    return {key: mutated(item, dice) if key == name else item for key, item in value.items()}


ODD: list[Any] = [
    None, True, False, 0, 1, 2, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, -1e300, 1e999,
    float("nan"), "", "x", "\x1b[2J\x1b]0;gone\x07", "\udcff", "\u202e", "../../etc/passwd",
    "/etc/passwd", "a" * 300, "z" * 70_000, "running", "lost", "state", "<script>", [], [[]], {},
    {"": 0}, [0] * 1000, "a\0b", "CON", "a/" * 200 + "b", JOB, "deep",
]  # fmt: skip
ROOT = ""


def main(root: str, agent_hash: str, umask: Any = None) -> int:
    globals()["ROOT"] = root
    with open(os.path.join(root, "plan.py"), encoding="utf-8") as file:
        exec(file.read(), globals())
    begin = globals().get("begin", lambda: send(wire.MARKER))
    begin()
    asked = os.open(os.path.join(root, "asked"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    decoder = wire.Decoder()
    while True:
        data = os.read(0, 65536)
        if not data:
            return 0
        for ask, _ in decoder.feed(data):
            os.write(asked, ask["op"].encode() + b"\n")
            try:
                for fields, body in answers(ask):
                    send(globals()["raw"](ask, fields, body))
            except OSError:
                return 0
