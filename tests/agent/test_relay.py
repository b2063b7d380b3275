"""The agent's relay, spoken to over its own pipes, on the oldest and the newest Python."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent import lanes, wire
from tests import interpreters
from tests.agent.rig import PATIENCE, install


class RelayProcess:
    """One relay, and its frames."""

    def __init__(self, root: Path, python: str) -> None:
        code = root / "agents" / install(root)
        begin = (
            f"import sys;sys.path.insert(0,{str(code)!r});"
            "from chutes_jupyter.agent.relay import main;"
            f"sys.exit(main({str(root)!r},'test'))"
        )
        self.process = subprocess.Popen(
            [python, "-I", "-S", "-c", begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._decoder = lanes.Decoder()
        self._frames: list[lanes.Frame] = []
        assert self.process.stdout.read(len(wire.MARKER)) == wire.MARKER

    def say(self, kind: int, flow: int, port: int = 0, body: bytes = b"") -> None:
        self.process.stdin.write(lanes.encode(kind, flow, port, body))
        self.process.stdin.flush()

    def hear(self, *kinds: int) -> lanes.Frame:
        """Return the next frame of these kinds, passing over all others."""
        while True:
            while not self._frames:
                data = self.process.stdout.read1(1 << 20)
                assert data, "the relay has ended"
                self._frames += self._decoder.feed(data)
            frame = self._frames.pop(0)
            if frame[0] in kinds:
                return frame

    def close(self) -> bytes:
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait(PATIENCE) == 0
        return rest


@pytest.fixture(params=["oldest", "newest"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelayProcess]:
    running = RelayProcess(tmp_path, str(getattr(interpreters, request.param)()))
    yield running
    if not running.process.stdin.closed:
        running.close()


@contextlib.contextmanager
def udp() -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        yield sock, sock.getsockname()[1]


def test_datagrams_pass_whole_and_each_flow_has_its_own_socket(relay: RelayProcess) -> None:
    with udp() as (sock, port):
        senders = set()
        for flow, data in ((1, b""), (2, b"x" * lanes.MAX_BODY), (1, b"again"), (3, b"third")):
            relay.say(lanes.DATAGRAM, flow, port, data)
            got, sender = sock.recvfrom(lanes.MAX_BODY + 1)
            assert got == data
            senders.add(sender)
            sock.sendto(got, sender)
            assert relay.hear(lanes.DATAGRAM) == (lanes.DATAGRAM, flow, port, data)
        assert len(senders) == 3


def test_it_tells_how_much_it_has_taken(relay: RelayProcess) -> None:
    with udp() as (sock, port):
        relay.say(lanes.DATAGRAM, 1, port, b"12345")
        sock.recv(10)
        *_, body = relay.hear(lanes.TAKEN)
        assert lanes.number(lanes.COUNT, body) == (lanes.HEAD_SIZE + 5,)


def test_what_is_refused_is_counted_and_is_no_end(relay: RelayProcess) -> None:
    with udp() as (_, port):
        pass
    for _ in range(7):
        relay.say(lanes.DATAGRAM, 1, port, b"x")
    up = down = 0
    while up < 7:
        _, _, told, body = relay.hear(lanes.DROPPED)
        assert told == port
        more, down = lanes.number(lanes.DROPS, body)
        up += more
    assert (up, down) == (7, 0)


def test_answers_that_the_client_does_not_take_are_dropped_and_counted(
    relay: RelayProcess,
) -> None:
    with udp() as (sock, port):
        relay.say(lanes.DATAGRAM, 1, port, b"x")
        _, sender = sock.recvfrom(10)
        count = 200
        for _ in range(count):
            sock.sendto(b"y" * 30_000, sender)  # 6 MB, and nobody reads them
        got = dropped = 0
        while got + dropped < count:
            kind, _, _, body = relay.hear(lanes.DATAGRAM, lanes.DROPPED)
            got += kind == lanes.DATAGRAM
            dropped += lanes.number(lanes.DROPS, body)[1] if kind == lanes.DROPPED else 0
        assert got >= 10
        assert dropped > 50


def test_one_more_flow_than_allowed_closes_the_oldest(relay: RelayProcess) -> None:
    with udp() as (sock, port):
        for flow in range(1, lanes.MAX_FLOWS + 2):
            relay.say(lanes.DATAGRAM, flow, port, b"x")
            sock.recv(10)
        assert relay.hear(lanes.CLOSE) == (lanes.CLOSE, 1, 0, b"")


def test_its_last_words_are_what_it_dropped(relay: RelayProcess) -> None:
    with udp() as (sock, port):
        relay.say(lanes.DATAGRAM, 1, port, b"x")
        _, sender = sock.recvfrom(10)
        relay.hear(lanes.TAKEN)
        for _ in range(3):
            relay.say(lanes.DATAGRAM, 2, 9, b"nobody there")
        frames = lanes.Decoder().feed(relay.close())
    told = [lanes.number(lanes.DROPS, body) for kind, *_, body in frames if kind == lanes.DROPPED]
    assert sum(up for up, _ in told) == 3


def test_a_stream_passes_much_both_ways_and_ends_on_its_own(relay: RelayProcess) -> None:
    size = 3 * lanes.STREAM_WINDOW
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        relay.say(lanes.OPEN, 7, server.getsockname()[1])
        connection, _ = server.accept()
        assert relay.hear(lanes.OPENED)[1] == 7
        connection.settimeout(PATIENCE)
        threading.Thread(target=_swallow_and_answer, args=(connection, size), daemon=True).start()
        room, left = lanes.STREAM_WINDOW, size
        got = 0
        while left or got < size:
            piece = min(room, left, lanes.PIECE)
            if piece:
                relay.say(lanes.DATA, 7, 0, bytes(piece))
                room, left = room - piece, left - piece
                if not left:
                    relay.say(lanes.END, 7)
                continue
            kind, _, _, body = relay.hear(lanes.ROOM, lanes.DATA)
            if kind == lanes.ROOM:
                room += lanes.number(lanes.ROOM_MADE, body)[0]
            else:
                got += len(body)
                relay.say(lanes.ROOM, 7, 0, lanes.ROOM_MADE.pack(len(body)))
        assert relay.hear(lanes.END)[1] == 7


def _swallow_and_answer(connection: socket.socket, size: int) -> None:
    with connection:
        left = size
        while data := connection.recv(65536):
            left -= len(data)
        connection.sendall(bytes(size - left))


def test_a_stream_sends_no_more_than_its_window(relay: RelayProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        relay.say(lanes.OPEN, 7, server.getsockname()[1])
        connection, _ = server.accept()
        connection.sendall(bytes(4 * lanes.STREAM_WINDOW)[: 2 * lanes.STREAM_WINDOW])
        got = 0
        while got < lanes.STREAM_WINDOW:
            got += len(relay.hear(lanes.DATA)[3])
        assert got == lanes.STREAM_WINDOW
        # Nothing more, until there is room: what comes next is about another flow.
        relay.say(lanes.OPEN, 8, 9)
        assert relay.hear(lanes.DATA, lanes.REFUSED)[:2] == (lanes.REFUSED, 8)
        connection.close()


def test_at_its_end_streams_are_reset_and_never_ended(relay: RelayProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        relay.say(lanes.OPEN, 7, server.getsockname()[1])
        connection, _ = server.accept()
        relay.say(lanes.DATA, 7, 0, b"half")
        connection.settimeout(PATIENCE)
        assert connection.recv(10) == b"half"
        relay.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
        connection.close()
