"""Processes and TCP streams, the same over every way to reach a worker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker
from chutes_jupyter.errors import ConnectFailed, ConnectionLost
from chutes_jupyter.transports import Connection, Process, Stream, transport_for
from tests.freeport import free_port
from tests.sshd import Sshd
from tests.transports.proxy import Proxy

pytestmark = pytest.mark.anyio
OVER_OPENSSH = True


@pytest.fixture
async def connection(any_worker: Worker) -> AsyncIterator[Connection]:
    found = await transport_for(any_worker).connect()
    yield found
    await found.aclose()


async def read_all(stream: Stream) -> bytes:
    pieces = []
    while piece := await stream.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


async def run(connection: Connection, command: str) -> tuple[bytes, int | None]:
    process = await connection.start(command)
    process.write_eof()
    return await read_all(process), await process.wait()


async def until(condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.02)


async def test_a_command_has_stdin_stdout_stderr_and_a_status(connection: Connection) -> None:
    process = await connection.start("cat; echo a last word >&2; exit 7")
    await process.write(b"one ")
    assert await process.read(100) == b"one "
    await process.write(b"two")
    process.write_eof()
    assert await read_all(process) == b"two"
    assert await process.wait() == 7
    assert await process.wait() == 7
    assert process.stderr_tail() == "a last word"
    assert await process.read(10) == b""


async def test_a_signal_is_a_negative_status_or_none(
    connection: Connection, any_worker: Worker
) -> None:
    # ssh tells its own callers of a status, but of no signal.
    expected = None if any_worker.transport == "openssh" else -signal.SIGKILL
    assert await run(connection, "kill -KILL $$") == (b"", expected)


async def test_bytes_are_not_text(connection: Connection) -> None:
    data = bytes(range(256)) * 400
    process = await connection.start("cat")
    sending = asyncio.ensure_future(process.write(data))
    got = b""
    while len(got) < len(data):
        got += await process.read(777)
    await sending
    assert got == data
    await process.aclose()


async def test_much_arrives_whole_and_in_order(connection: Connection) -> None:
    lines, status = await run(connection, "seq 1 600000; seq 1 600000 >&2")
    expected = "".join(f"{n}\n" for n in range(1, 600001)).encode()
    assert hashlib.sha256(lines).digest() == hashlib.sha256(expected).digest()
    assert status == 0


async def test_of_stderr_only_the_end_is_kept(connection: Connection) -> None:
    process = await connection.start("seq 1 100000 >&2; echo the end >&2")
    assert await process.wait() == 0
    assert process.stderr_tail().endswith("100000\nthe end")
    assert len(process.stderr_tail()) <= 8192


async def test_who_is_not_read_waits(connection: Connection, any_worker: Worker) -> None:
    marker = f"{any_worker.dir}.sent"
    process = await connection.start(f"head -c 20000000 /dev/zero; touch {marker}")
    assert await process.read(1) == b"\0"
    # However long: it can't have been written into our memory. (Half a second shows it, as
    # 20 MB take less.)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.5)
    assert not Path(marker).exists()
    assert len(await read_all(process)) == 19_999_999
    assert await process.wait() == 0
    assert Path(marker).exists()
    Path(marker).unlink()


async def test_what_is_not_taken_makes_the_writer_wait(connection: Connection) -> None:
    process = await connection.start("sleep 3")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            for _ in range(1000):
                await process.write(b"x" * 65536)
    await process.aclose()


async def test_a_command_that_has_ended_takes_no_more(connection: Connection) -> None:
    process = await connection.start("exit 3")
    assert await process.wait() == 3
    with pytest.raises(ConnectionLost, match="closed this channel"):
        await process.write(b"too late")
    process.write_eof()
    await process.aclose()
    assert not connection.closed


async def test_ten_commands_at_once(connection: Connection) -> None:
    processes = [await connection.start("cat") for _ in range(10)]
    for number, process in enumerate(processes):
        await process.write(str(number).encode())
    for number, process in enumerate(processes):
        assert await process.read(10) == str(number).encode()
    for process in processes:
        process.write_eof()
        assert await process.wait() == 0


async def test_commands_see_the_home_and_a_session_of_their_own(connection: Connection) -> None:
    out, _ = await run(connection, "ps -o pgid= -o sess= -p $$; echo HOME=$HOME; pwd")
    group, session, home, folder = out.decode().split()
    assert group == session
    assert group != str(os.getpgid(0))
    assert home.startswith("HOME=/")
    assert folder.startswith("/")


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that answers in capitals once it has everything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_tcp_stream_half_closes(connection: Connection, echo: int) -> None:
    stream = await connection.open_tcp("127.0.0.1", echo)
    await stream.write(b"all of it")
    stream.write_eof()
    assert await read_all(stream) == b"ALL OF IT"
    await stream.aclose()
    await stream.aclose()


async def test_nobody_listens(connection: Connection) -> None:
    port = free_port()
    with pytest.raises(ConnectFailed, match=rf"no connection to 127\.0\.0\.1:{port}"):
        await connection.open_tcp("127.0.0.1", port)
    assert not connection.closed


async def test_closing_ends_everything_in_it(any_worker: Worker, echo: int) -> None:
    connection = await transport_for(any_worker).connect()
    process = await connection.start("cat")
    stream = await connection.open_tcp("127.0.0.1", echo)
    reading = asyncio.ensure_future(process.read(10))
    await asyncio.sleep(0)
    await connection.aclose()
    await asyncio.wait_for(connection.wait_closed(), 5)
    assert connection.closed
    for work in (
        reading,
        process.read(1),
        process.read(1),
        process.wait(),
        process.write(b"x"),
        stream.read(1),
        connection.start("true"),
        connection.open_tcp("127.0.0.1", echo),
    ):
        with pytest.raises(ConnectionLost, match="closed on this side"):
            await work
    await connection.aclose()


async def lost_process(connection: Connection) -> Process:
    """Return a command that has said something, of which we have read a part."""
    process = await connection.start("printf 123456; cat >/dev/null")
    assert await process.read(3) == b"123"
    return process


async def assert_lost(connection: Connection, process: Process) -> None:
    assert await process.read(100) == b"456"  # what arrived before is not lost
    for _ in range(3):
        # An SSH library may say b"" from the second time on, like a clean end.
        with pytest.raises(ConnectionLost):
            await process.read(100)
    with pytest.raises(ConnectionLost):
        await process.wait()
    with pytest.raises(ConnectionLost):
        await process.write(b"x")
    with pytest.raises(ConnectionLost):
        await connection.start("true")
    with pytest.raises(ConnectionLost):
        await connection.open_tcp("127.0.0.1", 9)
    await asyncio.wait_for(connection.wait_closed(), 5)
    assert connection.closed
    process.write_eof()
    await process.aclose()
    await connection.aclose()


async def test_a_crash_of_sshd_is_no_end_of_file(
    ssh_worker: Worker, sshd: Sshd, dialling: str
) -> None:
    connection = await transport_for(replace(ssh_worker, transport=dialling)).connect()
    process = await lost_process(connection)
    sshd.drop()
    await assert_lost(connection, process)


async def test_a_cut_is_no_end_of_file(sshd: Sshd, home: Path, dialling: str) -> None:
    async with Proxy(sshd.port) as proxy:
        worker = replace(through(proxy, sshd, home), transport=dialling)
        connection = await transport_for(worker).connect()
        process = await lost_process(connection)
        proxy.cut()
        await assert_lost(connection, process)


async def test_a_dead_peer_is_noticed_within_six_seconds(
    sshd: Sshd, home: Path, dialling: str
) -> None:
    async with Proxy(sshd.port) as proxy:
        worker = replace(through(proxy, sshd, home), transport=dialling)
        connection = await transport_for(worker).connect()
        process = await lost_process(connection)
        proxy.stall()
        started = time.monotonic()
        await asyncio.wait_for(connection.wait_closed(), 10)
        assert time.monotonic() - started < 6.0
        await assert_lost(connection, process)


async def test_a_loss_of_the_local_server_is_no_end_of_file(tmp_path: Path) -> None:
    connection = await transport_for(Worker("local")).connect()
    process = await lost_process(connection)
    connection._server._connection.abort()
    await assert_lost(connection, process)


def through(proxy: Proxy, sshd: Sshd, home: Path) -> Worker:
    """Return a worker that reaches the sshd through a proxy."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    known = folder / "known_hosts_proxied"
    known.write_text(sshd.known_hosts_line.replace(f":{sshd.port}", f":{proxy.port}"))
    config = sshd.config("proxied", known).replace(f"Port {sshd.port}", f"Port {proxy.port}")
    with (folder / "config").open("a") as file:
        file.write(config)
    return Worker("proxied", host="proxied")


async def test_one_session_too_many_is_refused_in_words(ssh_worker: Worker) -> None:
    connection = await transport_for(ssh_worker).connect()
    processes = [await connection.start("cat") for _ in range(10)]
    with pytest.raises(ConnectFailed, match="takes no further session"):
        await connection.start("cat")
    assert not connection.closed
    with contextlib.suppress(ConnectionLost):
        for process in processes:
            process.write_eof()
            assert await process.wait() == 0
    await connection.aclose()
