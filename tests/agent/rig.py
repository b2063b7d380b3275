"""A real agent, spoken to over its own pipes: no SSH, no client, any interpreter."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chutes_jupyter.agent
from chutes_jupyter.agent import codec, wire

AGENT = Path(chutes_jupyter.agent.__file__).parent
PATIENCE = 30.0


def install(root: Path) -> str:
    """Lay the agent out below `root`, as the bootstrap does, and return its hash."""
    code = root / "agents" / "test" / "chutes_jupyter"
    if not code.exists():
        shutil.copytree(AGENT, code / "agent", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(AGENT / "standin.py", code / "__init__.py")
    return "test"


def payload(
    source: str, *, name: str = "job", data: dict[str, Any] | None = None, cell: bool = True
) -> bytes:
    """Return the payload of a job whose cell, or whose function, is `source`."""
    unit = {
        "kind": "job",
        "name": name,
        "cell": cell,
        "params": "self, **job_data",
        "filename": "In[1]",
        "first_line": 2,
        "source": source,
    }
    return codec.dumps(
        {
            "v": 1,
            "imports": [],
            "values": {},
            "units": [unit],
            "module": "__main__",
            "job": name,
            "chute": {"username": "me", "name": "demo"},
            "job_data": data or {},
        }
    )


def spec(body: bytes, **changes: Any) -> dict[str, Any]:
    """Return the spec of a job with that payload."""
    fields: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "name": "job",
        "ports": [],
        "timeout": None,
        "upload": True,
        "ssh": False,
        "grace": 0.4,
        "payload_sha256": hashlib.sha256(body).hexdigest(),
        "payload_size": len(body),
        "created": time.time(),
        "python": None,
        "env": {},
        "notebook": None,
        "node_selector": None,
    }
    return {**fields, **changes}


class Agent:
    """One `serve` and the requests of one client."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root
        code = root / "agents" / install(root)
        begin = (
            f"import sys;sys.path.insert(0,{str(code)!r});"
            "from chutes_jupyter.agent.serve import main;"
            f"sys.exit(main({str(root)!r},'test'))"
        )
        self.process = subprocess.Popen(
            [python, "-I", "-S", "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._decoder = wire.Decoder()
        self._frames: list[wire.Frame] = []
        self._number = 0
        assert self._out.read(len(wire.MARKER)) == wire.MARKER

    @property
    def _out(self) -> Any:
        return self.process.stdout

    def send(self, op: str, body: bytes = b"", **fields: Any) -> int:
        """Send a request and return its number."""
        self._number += 1
        assert self.process.stdin
        frame = wire.encode({"id": self._number, "op": op, **fields}, body)
        self.process.stdin.write(frame)
        self.process.stdin.flush()
        return self._number

    def receive(self) -> wire.Frame:
        """Return the next frame."""
        while not self._frames:
            data = self._out.read1(1 << 20)
            assert data, "serve has ended"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def ask(self, op: str, body: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its whole reply."""
        number = self.send(op, body, **fields)
        parts = []
        while True:
            header, piece = self.receive()
            assert header["id"] == number, header
            parts.append(piece)
            if not header.get("more"):
                return header, b"".join(parts)

    def start(self, source: str, data: dict[str, Any] | None = None, **changes: Any) -> str:
        """Submit a job and return its id."""
        body = payload(source, data=data)
        fields = spec(body, **changes)
        header, _ = self.ask("submit", body, spec=fields)
        assert header["ok"], header
        return str(fields["id"])

    def follow(self, job: str, until: str | None = None) -> list[dict[str, Any]]:
        """Return the job's events, once it has ended or reached the state `until`."""
        events: list[dict[str, Any]] = []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            header, _ = self.ask("events", job=job, after=len(events), wait=5.0)
            assert header["ok"], header
            events += header["events"]
            states = [event["state"] for event in events if event["type"] == "state"]
            if until in states or (header["terminal"] and not header["events"]):
                return events
        raise AssertionError(f"{job} did not reach {until or 'its end'}: {events}")

    def end(self, job: str) -> dict[str, Any]:
        """Wait for the end of a job and return its last state event."""
        return [event for event in self.follow(job) if event["type"] == "state"][-1]

    def log(self, job: str) -> bytes:
        """Return the whole log of a job, waiting for its end."""
        parts = b""
        while True:
            header, body = self.ask("log", job=job, offset=len(parts), limit=1 << 20, wait=5.0)
            assert header["ok"], header
            assert header["offset"] == len(parts)
            parts += body
            if header["end"]:
                return parts

    def value(self, job: str) -> Any:
        """Return what the job's function returned."""
        header, body = self.ask("result", job=job)
        assert header["has_value"], header
        return codec.loads(body)

    def close(self) -> int:
        """Close the channel, and return the exit code of `serve`."""
        assert self.process.stdin
        self.process.stdin.close()
        self._out.close()
        return self.process.wait(PATIENCE)


@contextmanager
def agent(root: Path, python: str = sys.executable) -> Iterator[Agent]:
    """Run an agent, and end it."""
    running = Agent(root, python)
    try:
        yield running
    finally:
        running.close()
