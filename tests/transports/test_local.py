"""The worker `local`: a real SSH server in this process, with no way in for anybody else."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import asyncssh
import pytest

from chutes_jupyter.config import Worker
from chutes_jupyter.errors import ConnectFailed, ConnectionLost, HostKeyError
from chutes_jupyter.transports import accept_host_key, local, transport_for

pytestmark = pytest.mark.anyio

LOCAL = Worker("local")


def exists(pid: int) -> bool:
    """Whether there is such a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()


def listening() -> set[str]:
    """Return the sockets of this process that listen for connections."""
    own = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            own.add(os.readlink(link))
        except FileNotFoundError:
            continue  # the folder's own descriptor
    found = set()
    for table, state, inode in [("tcp", 3, 9), ("tcp6", 3, 9), ("unix", 3, 6)]:
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            # 0A: a TCP socket that listens; flag 00010000: a Unix one
            if words[state] in ("0A", "00010000") and f"socket:[{words[inode]}]" in own:
                found.add(words[inode])
    return found


async def test_it_listens_nowhere() -> None:
    before = listening()
    connection = await transport_for(LOCAL).connect()
    assert listening() == before
    await connection.aclose()


async def test_it_needs_no_ssh_folder_and_makes_none(home: Path) -> None:
    connection = await transport_for(LOCAL).connect(bulk=True)
    await connection.aclose()
    await accept_host_key(LOCAL, "SHA256:whatever")
    assert not (home / ".ssh").exists()


async def test_a_broken_ssh_config_does_not_concern_it(home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host *\n    Port nonsense\n")
    connection = await transport_for(LOCAL).connect()
    await connection.aclose()


async def test_its_key_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = local._Server.serve

    async def serve_with_another_key(self, sock, key) -> None:
        await serve(self, sock, asyncssh.generate_private_key(local.KEY_KIND))

    monkeypatch.setattr(local._Server, "serve", serve_with_another_key)
    with pytest.raises(HostKeyError):
        await transport_for(LOCAL).connect()


async def test_each_connection_has_a_key_of_its_own() -> None:
    keys = set()
    for _ in range(2):
        connection = await transport_for(LOCAL).connect()
        keys.add(connection._connection.get_server_host_key())
        await connection.aclose()
    assert len(keys) == 2


async def test_closing_ends_its_commands_and_leaves_no_zombie() -> None:
    connection = await transport_for(LOCAL).connect()
    processes = [await connection.start("echo $$; exec cat") for _ in range(3)]
    pids = [int(await process.read(20)) for process in processes]
    assert all(map(exists, pids))
    await connection.aclose()
    assert not any(map(exists, pids))


async def test_a_command_that_ends_is_reaped_at_once() -> None:
    connection = await transport_for(LOCAL).connect()
    process = await connection.start("echo $$")
    pid = int(await process.read(20))
    await process.wait()
    assert not exists(pid)
    await connection.aclose()


async def test_a_deaf_command_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PATIENCE", 0.3)
    connection = await transport_for(LOCAL).connect()
    process = await connection.start("trap '' TERM HUP; sleep 600 & echo $$ $!; wait")
    pids = [int(word) for word in (await process.read(40)).split()]
    await connection.aclose()
    assert not exists(pids[0])
    deadline = time.monotonic() + 5
    while exists(pids[1]):  # no child of ours: whoever adopted it reaps it
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_what_a_command_detached_lives_on(tmp_path: Path) -> None:
    connection = await transport_for(LOCAL).connect()
    process = await connection.start("setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!")
    pid = int(await process.read(20))
    assert await process.wait() == 0
    await connection.aclose()
    try:
        assert exists(pid)
    finally:
        os.kill(pid, 9)


async def test_it_connects_to_this_machine_alone() -> None:
    # 127.0.0.2 stands for any other machine: here it could be reached, but is not asked for.
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), ["127.0.0.1", "127.0.0.2"]
    )
    connection = await transport_for(LOCAL).connect()
    ports = {sock.getsockname()[0]: sock.getsockname()[1] for sock in server.sockets}
    stream = await connection.open_tcp("127.0.0.1", ports["127.0.0.1"])
    assert await stream.read(1) == b""
    with pytest.raises(ConnectFailed):
        await connection.open_tcp("127.0.0.2", ports["127.0.0.2"])
    await connection.aclose()
    server.close()


async def test_without_a_command_there_is_no_shell() -> None:
    connection = await transport_for(LOCAL).connect()
    _, session = await connection._connection.create_session(
        lambda: asyncssh.SSHClientSession(), encoding=None
    )
    process = await connection.start("echo still here")
    assert await process.read(100) == b"still here\n"
    await connection.aclose()


async def test_many_connections_come_and_go() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        connection = await transport_for(LOCAL).connect()
        process = await connection.start("cat")
        await process.write(b"x")
        assert await process.read(1) == b"x"
        await connection.aclose()
        with pytest.raises(ConnectionLost):
            await process.read(1)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_windows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SUPPORTED", False)
    with pytest.raises(ConnectFailed, match="Linux or macOS"):
        await transport_for(LOCAL).connect()


def test_the_jobs_loop_may_run_in_any_thread() -> None:
    async def work() -> bytes:
        connection = await transport_for(LOCAL).connect()
        process = await connection.start("echo here")
        said = await process.read(10)
        await process.wait()
        await connection.aclose()
        return said

    async def elsewhere() -> bytes:
        return await asyncio.to_thread(asyncio.run, work())

    assert asyncio.run(elsewhere()) == b"here\n"
