"""Anything at all, in place of what a sound worker sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chutes_jupyter import replies
from chutes_jupyter.agent import codec, wire
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.words import describe
from chutes_jupyter.commands import tables
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.mirror import Mirror, MirrorFolder, Snapshot
from chutes_jupyter.replies import Entry, parse
from chutes_jupyter.store import JobRecord
from tests.agent.coded import message
from tests.hostile import liar, rig
from tests.test_mirror import Worker as Source

QUICK = settings(
    max_examples=300, deadline=5000, suppress_health_check=list(HealthCheck), database=None
)
SEEDS = st.integers(0, 2**32)


# -- Frames ------------------------------------------------------------------------------------


def feed(data: bytes, size: int = 7) -> list[wire.Frame]:
    decoder = wire.Decoder()
    return [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at:][:size])]


@QUICK
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_frames_or_a_wire_error(data: bytes, size: int) -> None:
    with contextlib.suppress(wire.WireError):
        assert all(isinstance(header, dict) for header, _ in feed(data, size))


@QUICK
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 60), st.binary(max_size=40))))
def test_any_headers_are_frames_or_a_wire_error(parts: list[tuple[bytes, int, bytes]]) -> None:
    stream = b"".join(struct.pack("!II", len(h), n) + h + body for h, n, body in parts)
    with contextlib.suppress(wire.WireError):
        feed(stream)


@pytest.mark.parametrize("limit", [1000, 1_000_000])
@pytest.mark.parametrize("text", [b"[", b'{"":', b'"\\', b'"\\"', b'["\\', b"9", b"-", b"1e9"])
def test_a_header_of_one_thing_over_and_over_is_a_quick_wire_error(text: bytes, limit: int) -> None:
    import sys

    header = (text * wire.MAX_HEADER)[: wire.MAX_HEADER]
    before = sys.getrecursionlimit()
    began = time.process_time()
    sys.setrecursionlimit(limit)  # as a notebook may
    try:
        with pytest.raises(wire.WireError):
            feed(struct.pack("!II", len(header), 0) + header, 2**20)
    finally:
        sys.setrecursionlimit(before)
    assert time.process_time() - began < 2


# -- Replies -----------------------------------------------------------------------------------

RAISED = {"type": "ValueError", "message": "no", "traceback": "Traceback …"}
EVENTS = [
    *liar.EVENTS,
    {"n": 5, "t": 1.0, "type": "notice", "message": "hear"},
    {"n": 6, "t": 1.0, "type": "port", "name": "web", "port": 8080, "ready": True},
    {"n": 7, "t": 1.0, "type": "listening", "ports": [{"port": 7860, "everywhere": True}]},
    {"n": 8, "t": 1.0, "type": "state", "state": "failed", "reason": "no", "error": RAISED},
]
PORT = {"name": "web", "port": 8080, "proto": "http"}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8J0cQ0aZcmW0Hq5dQ0mO3o1u1l9bqk0l4lF3s5m0aB"
SHAPES: dict[Any, dict[str, Any]] = {
    replies.EventPage: {"events": EVENTS, "state": "running", "terminal": False},
    replies.Submitted: {"state": None, "event": 0, "known": True},
    replies.LogPiece: {"offset": 0, "size": 1, "end": False},
    replies.Listing: liar.outputs({}),
    replies.ReadEnd: {"size": 1, "mtime_ns": 1, "sha256": None, "changed": False},
    replies.Hello: liar.hello({}),
    replies.Pong: {"time": 1.0},
    replies.Checkup: {
        "path": "/x",
        "free": 1,
        "total": 2,
        "files_free": None,
        "kind": "ext4",
        "write_fault": None,
        "lock_fault": "no",
    },
    replies.Info: {**liar.info({}), "gpus": [{"name": "H200", "memory_mib": 1}]},
    replies.JobPage: {
        "jobs": [{**liar.summary(), "ports": [PORT]}],
        "next": None,
        "unreadable": [{"id": rig.JOB, "reason": "new"}],
    },
    replies.DoorFacts: {"user": "me", "host_key": HOST_KEY, "keys": [HOST_KEY]},
    replies.DoorRefusal: {"error": {"code": "ended", "message": "it has ended"}},
}


def over_the_wire(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return a header as it arrives; None if it can't."""
    text = json.dumps(fields).encode()
    try:
        ((header, _),) = feed(struct.pack("!II", len(text), 0) + text, 2**16)
    except wire.WireError:
        return None
    return header


def spoiled(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    dice = random.Random(seed)
    for _ in range(dice.choice([1, 1, 2, 5])):
        changed = liar.mutated(fields, dice)
        fields = changed if isinstance(changed, dict) else fields
    return fields


def is_harmless(text: str) -> bool:
    return all(
        char.isprintable() or char in "\n\t\u00a0\u3000" or ord(char) > 0x2FF for char in text
    )


@pytest.mark.parametrize("model", SHAPES, ids=lambda model: model.__name__)
@QUICK
@given(SEEDS)
def test_a_spoiled_reply_is_refused_or_within_its_bounds(model: Any, seed: int) -> None:
    header = over_the_wire(spoiled(SHAPES[model], seed))
    if header is None:
        return
    with contextlib.suppress(AgentFailed):
        reply = parse(model, header)
        # Whatever was taken can be shown and written down.
        json.dumps(reply.model_dump(), ensure_ascii=False).encode("utf-8")


@QUICK
@given(st.lists(SEEDS, max_size=4))
def test_spoiled_events_leave_a_job_that_can_be_shown(seeds: list[int]) -> None:
    live = Live(JobRecord(id=rig.JOB, name="job", worker="local", ports=[PORT]))
    for seed in seeds:
        header = over_the_wire(spoiled(SHAPES[replies.EventPage], seed))
        with contextlib.suppress(AgentFailed):
            live.apply(parse(replies.EventPage, header or {}).events)
    assert is_harmless(describe(live))
    assert live.ready_ports <= {"web"}
    assert all(1024 <= each.port <= 65535 for each in live.undeclared)
    live.record()


# -- Whole conversations -----------------------------------------------------------------------

SPOIL = """
DICE = random.Random({seed})
SOUND = raw
EVENTS[2:] = EVENTS[2 + DICE.randrange(3):]
CHANCE = DICE.choice([0.02, 0.1, 0.3])
def raw(ask, fields, body):
    if ask["op"] == "hello" and DICE.random() < 0.9:
        return SOUND(ask, fields, body)
    if DICE.random() > CHANCE * 3:
        return SOUND(ask, fields, body)
    way = DICE.randrange(5)
    if way == 0:
        data = bytearray(SOUND(ask, fields, body))
        for _ in range(DICE.randrange(1, 9)):
            data[DICE.randrange(len(data))] = DICE.randrange(256)
        return bytes(data)
    if way == 1:
        return SOUND(ask, fields, body)[: DICE.randrange(60)]
    if way == 2:
        return SOUND(ask, fields, DICE.choice([b"", b"x", body * 2, bytes(2**20)]))
    changed = mutated(fields, DICE)
    return SOUND(ask, changed if isinstance(changed, dict) else fields, body)
"""


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(24))
async def test_a_client_outlives_any_conversation(
    seed: int, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "notebooks"
    here.mkdir()
    monkeypatch.chdir(here)
    rig.lay_out(tmp_path / "worker", SPOIL.format(seed=seed))
    (tmp_path / "worker" / "asked").touch()
    mirrored = here / "chute_outputs"
    mirrored.mkdir()
    own = [mirrored / f"job-{rig.JOB[:6]}", mirrored / ".chute"]
    allowed = [home, tmp_path / "worker", tmp_path / "honest", *own]
    with rig.nothing_else_written(tmp_path, allowed):
        async with rig.client(tmp_path / "honest") as client:
            came = await rig.everything(client, 0.3)
    for error in came.values():
        if isinstance(error, Exception):
            assert is_harmless(str(error))


# -- Results -----------------------------------------------------------------------------------

VALUES = [
    None,
    {"a": [1, 2.5, "text", b"bytes"], "b": {(1, 2), frozenset({3})}, 3: range(9)},
    np.arange(24).reshape(2, 3, 4),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    [np.float32(1.5), np.datetime64("2020-01-01"), complex(1, 2), 2**100],
]


def read_or_refused(data: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(codec.CodecError):
        assert tables.value(codec.loads(data), 100)
    assert time.process_time() - began < 2


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_codec_error(data: bytes) -> None:
    read_or_refused(data)
    read_or_refused(codec.MAGIC + data)
    read_or_refused(codec.MAGIC + struct.pack("!QI", len(data), 0) + data)


@QUICK
@given(st.sampled_from(VALUES), SEEDS)
def test_spoiled_bytes_are_a_value_or_a_codec_error(value: Any, seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(codec.dumps(value))
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data))
        data[at] = dice.choice([dice.randrange(256), data[at] ^ 1, 0x39, 0x22, 0x5D])
    read_or_refused(bytes(data))


TAGS = ["list", "tuple", "set", "dict", "bytes", "int", "str", "array", "scalar", "text", "raw"]
TAGS += ["float", "range", "date", "time", "datetime", "timedelta", "timezone", "decimal", "zone"]
TAGS += ["fraction", "uuid", "path", "posixpath", "windowspath", "complex", "frozenset"]
DTYPES = ["<i4", "|O", "<U0", "|S0", "|V8", "<M8[0s]", "<m8[7D]", "<f16", "struct", "sub", "long"]
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
LEAVES |= st.text(max_size=5) | st.sampled_from([*DTYPES, "C", "F", "1E999999999", "UTC", "nt"])
NODES = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from(TAGS), st.lists(inner, max_size=5)).map(
            lambda pair: [pair[0], *pair[1]]
        )
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@QUICK
@given(NODES, st.lists(st.binary(max_size=20), max_size=3))
def test_any_header_is_a_value_or_a_codec_error(header: Any, blobs: list[bytes]) -> None:
    read_or_refused(message(header, *blobs))


@QUICK
@given(
    st.sampled_from(DTYPES) | NODES,
    st.lists(st.integers(-1, 2**64), max_size=4),
    st.sampled_from(["C", "F", "K"]),
    st.binary(max_size=16),
)
def test_any_array_is_as_large_as_what_came(
    kind: Any, shape: list[int], order: str, blob: bytes
) -> None:
    header = ["array", ["tuple", kind, ["tuple", *shape], order]]
    with contextlib.suppress(codec.CodecError, ValueError):
        found = codec.loads(message(header, *[blob]))
        assert found.nbytes == len(blob)


COLLIDING = {
    "numbers": [["int"]] * 20_000,
    "tuples": [["tuple", *(-1 - (n >> bit & 1) for bit in range(15))] for n in range(20_000)],
    "uuids": [["uuid", f"{n * (2**61 - 1):032x}"] for n in range(20_000)],
}


@pytest.mark.parametrize("kind", COLLIDING)
@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_keys_that_were_made_to_collide_are_refused_at_once(kind: str, tag: str) -> None:
    keys = COLLIDING[kind]
    blobs = [(n * (2**61 - 1)).to_bytes(16, "big") for n in range(len(keys))]
    items = [part for key in keys for part in (key, 1)] if tag == "dict" else keys
    began = time.process_time()
    with pytest.raises(codec.CodecError, match="too many keys of one hash"):
        codec.loads(message([tag, *items], *(blobs if kind == "numbers" else [])))
    assert time.process_time() - began < 2


def test_keys_that_collide_a_little_are_taken() -> None:
    value = {(x, y, z): 1 for x in range(-4, 4) for y in range(-4, 4) for z in range(-4, 4)}
    assert codec.loads(codec.dumps(value)) == value
    many = {2**70 + n for n in range(10_000)}
    assert codec.loads(codec.dumps(many)) == many


# -- Listings ----------------------------------------------------------------------------------

NAMES = ["a", "A", "b", "..", ".", "", "CON", "nul.txt", "a\0b", "é", "e\u0301", "x" * 255]
NAMES += ["x" * 256, "\u202egnp", "new\nline", "c:", "\\up", "~", ".chute", "lock", "placed.jsonl"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
PATHS |= PATHS.map("/".__add__) | st.text(max_size=12) | st.just("d/" * 3000 + "x")


def entry(path: str, data: bytes) -> Entry:
    known = {"size": len(data), "mtime_ns": -(10**9), "sha256": None, "quiet": True}
    return Entry.model_validate({"path": path, **known})


class Liar(Source):
    """Lists what it likes, and sends the same for every name."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__()
        self.listed = [entry(path, b"data") for path in paths]
        self.looks = 0

    def entry(self, path: str) -> Entry:
        return entry(path, b"data")

    async def listing(self) -> Snapshot:
        self.looks += 1
        self.files = {item.path: b"data" for item in self.listed}
        return Snapshot(1, True, self.listed, [])


async def mirrored(source: Liar, outputs: Path) -> Mirror:
    with ThreadPoolExecutor(2) as pool:
        mirror = Mirror(
            source,
            lambda: MirrorFolder.claim(outputs, "train", rig.JOB),
            pool,
            limit=None,
            label="train",
            changed=lambda: None,
        )
        async with asyncio.timeout(20):
            await mirror.run()
    return mirror


@settings(QUICK, max_examples=100, deadline=20_000)
@given(st.lists(PATHS, max_size=6))
def test_any_listing_stays_in_its_folder_and_comes_to_an_end(paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        around = Path(name)
        source = Liar(paths)
        asyncio.run(mirrored(source, around / "out"))
        assert set(os.listdir(around)) <= {"out"}
        if (around / "out").exists():
            assert set(os.listdir(around / "out")) <= {".chute", f"train-{rig.JOB[:6]}"}
        assert source.looks <= 8
        for path in around.rglob("*"):
            assert not path.is_symlink()
        shutil.rmtree(around / "out", ignore_errors=True)


def test_a_file_that_is_a_folder_of_another_is_named_and_the_rest_comes(tmp_path: Path) -> None:
    source = Liar(["a", "a/b", "a/b/c", "a.txt", "a b", "z"])
    mirror = asyncio.run(mirrored(source, tmp_path / "out"))
    assert set(mirror.refused) == {"a", "a/b"}
    assert mirror.status.state == "complete"
    assert source.looks == 1
    assert (tmp_path / "out" / f"train-{rig.JOB[:6]}" / "a" / "b" / "c").read_bytes() == b"data"


def test_two_names_of_one_file_do_not_take_turns_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a file system that knows no case, mounted where names have it.
    inside = MirrorFolder.inside
    monkeypatch.setattr(MirrorFolder, "inside", lambda self, path: inside(self, path.lower()))
    monkeypatch.setattr(MirrorFolder, "has", lambda self, item: item.path == "b")
    source = Liar(["A", "a", "b"])
    mirror = asyncio.run(mirrored(source, tmp_path / "out"))
    assert mirror.status.state == "stopped"
    assert "did not stay" in (mirror.status.reason or "")
    assert source.looks <= 8
