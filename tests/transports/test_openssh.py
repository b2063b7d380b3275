"""The `ssh` program as a transport: one master for all, which may die, hang or be left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker
from chutes_jupyter.errors import (
    ChangedHostKey,
    ConnectFailed,
    ConnectionLost,
    LoginFailed,
    UnknownHostKey,
)
from chutes_jupyter.transports import accept_host_key, choice, transport_for
from chutes_jupyter.transports.openssh import control, program
from chutes_jupyter.transports.openssh.connection import OpenSshConnection
from tests.freeport import free_port
from tests.sshd import Sshd, make_key

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker(ssh_worker: Worker) -> Worker:
    return replace(ssh_worker, transport="openssh")


async def said(worker: Worker, command: str = "echo in") -> str:
    connection = await transport_for(worker).connect()
    try:
        process = await connection.start(command)
        found = b""
        while piece := await process.read(1000):
            found += piece
        return found.decode().strip()
    finally:
        await connection.aclose()


async def master(worker: Worker) -> int:
    """Return the process id of a worker's master."""
    assert worker.host
    conversation = await control.reach(await control.place(worker.host))
    assert conversation
    pid = await conversation.alive()
    conversation.close()
    return pid


@contextlib.asynccontextmanager
async def connected(worker: Worker, *, bulk: bool = False) -> AsyncIterator[OpenSshConnection]:
    connection = await transport_for(worker).connect(bulk=bulk)
    assert isinstance(connection, OpenSshConnection)
    yield connection
    await connection.aclose()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(condition, what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.02)


# One master.


async def test_connections_share_one_master_and_leave_it(worker: Worker, sshd: Sshd) -> None:
    before = sshd.log.count("Accepted publickey")
    async with connected(worker) as one, connected(worker) as other:
        pid = await master(worker)
        assert one._watches[0].at == other._watches[0].at
    assert not gone(pid)
    assert await said(worker) == "in"
    assert await master(worker) == pid
    assert sshd.log.count("Accepted publickey") == before + 1


async def test_who_comes_at_the_same_time_makes_one_master(worker: Worker, sshd: Sshd) -> None:
    before = sshd.log.count("Accepted publickey")
    assert await asyncio.gather(*(said(worker) for _ in range(5))) == ["in"] * 5
    assert sshd.log.count("Accepted publickey") == before + 1


async def test_files_have_a_master_of_their_own(worker: Worker) -> None:
    async with connected(worker) as one, connected(worker, bulk=True) as other:
        assert one._watches[0].at != other._watches[0].at


async def test_other_processes_use_it_and_their_death_leaves_it(
    worker: Worker, sshd: Sshd, home: Path
) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from chutes_jupyter.config import Worker\n"
        "from chutes_jupyter.transports import transport_for\n"
        "async def main():\n"
        "    connection = await transport_for(Worker('gpu1', 'gpu1', transport='openssh'))"
        ".connect()\n"
        "    process = await connection.start('cat')\n"
        "    print('connected', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    before = sshd.log.count("Accepted publickey")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as other:
        assert other.stdout
        try:
            assert other.stdout.readline() == b"connected\n"
            async with connected(worker) as connection:
                other.send_signal(signal.SIGKILL)
                other.wait()
                process = await connection.start("echo in")
                assert await process.read(10) == b"in\n"
        finally:
            other.kill()
    assert sshd.log.count("Accepted publickey") == before + 1


async def test_closing_leaves_no_session_and_no_descriptor(worker: Worker) -> None:
    assert await said(worker) == "in"  # what stays open in this process is open now
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        async with connected(worker) as connection:
            for _ in range(8):
                await connection.start("cat")
            with pytest.raises(ConnectFailed):
                await connection.open_tcp("127.0.0.1", free_port())
    await asyncio.sleep(0)
    after = len(list(Path("/proc/self/fd").iterdir()))
    assert after <= before


async def test_who_leaves_in_the_middle_of_an_open_leaves_nothing(worker: Worker) -> None:
    async with connected(worker) as connection:
        for pause in (0, 0.001, 0.003, 0.01, 0.03):
            opening = asyncio.ensure_future(connection.start("cat"))
            await asyncio.sleep(pause)
            if not opening.cancel():
                await (await opening).aclose()
        await until(lambda: not connection._openings, "they have ended")
        await until(lambda: not connection._pipes, "their pipes are closed")
        processes = [await connection.start("cat") for _ in range(9)]
        assert len(processes) == 9


async def test_a_full_connection_is_helped_by_another(worker: Worker, sshd: Sshd) -> None:
    before = sshd.log.count("Accepted publickey")
    async with connected(worker) as one, connected(worker) as other:
        processes = [await each.start("cat") for each in (one, other) for _ in range(11)]
        for number, process in enumerate(processes):
            await process.write(str(number).encode())
            assert await process.read(10) == str(number).encode()
    assert sshd.log.count("Accepted publickey") == before + 3


async def test_one_session_a_connection_is_enough(folder: Path) -> None:
    server = Sshd.start(extra="MaxSessions 1")
    try:
        worker = configure(folder, server, "gpu1")
        async with connected(worker) as one, connected(worker) as other:
            processes = [await each.start("cat") for each in (one, one, other)]
            assert len(processes) == 3
    finally:
        server.remove()


async def test_a_host_that_takes_no_session_at_all_says_so(folder: Path) -> None:
    server = Sshd.start(extra="MaxSessions 0")
    try:
        async with connected(configure(folder, server, "gpu1")) as connection:
            with pytest.raises(ConnectFailed, match="MaxSessions"):
                await connection.start("cat")
            assert not connection.closed
    finally:
        server.remove()


# A master that is lost.


async def test_a_killed_master_is_a_loss_and_a_new_one_is_made(worker: Worker) -> None:
    async with connected(worker) as connection:
        process = await connection.start("printf 123; cat")
        assert await process.read(3) == b"123"
        os.kill(await master(worker), signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await process.read(10)
        with pytest.raises(ConnectionLost):
            await process.wait()
        await asyncio.wait_for(connection.wait_closed(), 5)
    assert await said(worker) == "in"  # though the socket lay there still


async def test_a_master_that_hangs_is_noticed_ended_and_replaced(worker: Worker) -> None:
    async with connected(worker) as connection:
        process = await connection.start("cat")
        pid = await master(worker)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        await asyncio.wait_for(connection.wait_closed(), 10)
        assert time.monotonic() - began < 6.0
        with pytest.raises(ConnectionLost):
            await process.read(1)
        await until(lambda: gone(pid), "it is ended")
    assert await said(worker) == "in"


async def test_a_master_that_hangs_and_can_not_be_ended_keeps_nobody(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_is_master", lambda *_: False)
    async with connected(worker) as connection:
        process = await connection.start("cat")
        pid = await master(worker)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(process.read(1), 10)
            assert await asyncio.wait_for(said(worker), 10) == "in"
        finally:
            os.kill(pid, signal.SIGKILL)


async def test_a_master_that_hangs_does_not_stop_who_comes_new(worker: Worker) -> None:
    assert await said(worker) == "in"
    pid = await master(worker)
    os.kill(pid, signal.SIGSTOP)
    assert await asyncio.wait_for(said(worker), 10) == "in"
    await until(lambda: gone(pid), "it is ended")


async def test_a_folder_of_somebody_else_is_refused(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = control.folder()
    folder.chmod(0o755)
    try:
        with pytest.raises(ConnectFailed, match="must be yours alone"):
            await said(worker)
    finally:
        folder.chmod(0o700)


# Host keys and logins.


@pytest.fixture
def folder(home: Path) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    return home / ".ssh"


@pytest.fixture
def server() -> Iterator[Sshd]:
    """An sshd of the test's own, to be changed."""
    found = Sshd.start()
    yield found
    found.remove()


def configure(folder: Path, server: Sshd, alias: str, *lines: str, known: bool = True) -> Worker:
    hosts = folder / "known_hosts"
    with hosts.open("a") as file:
        file.write(server.known_hosts_line if known else "")
    with (folder / "config").open("a") as file:
        file.write(server.config(alias, hosts, *lines))
    return Worker(alias, host=alias, transport="openssh")


async def test_an_unknown_host_is_refused_and_can_be_accepted(server: Sshd, folder: Path) -> None:
    worker = configure(folder, server, "gpu1", known=False)
    with pytest.raises(UnknownHostKey) as caught:
        await said(worker)
    assert caught.value.fingerprint == server.fingerprint
    assert f"--accept-key {server.fingerprint}" in str(caught.value)
    assert "Accepted" not in server.log
    await accept_host_key(worker, server.fingerprint)
    assert await said(worker) == "in"


async def test_a_changed_key_shows_both(server: Sshd, folder: Path) -> None:
    worker = configure(folder, server, "gpu1")
    old = server.fingerprint
    server.renew_host_key()
    with pytest.raises(ChangedHostKey) as caught:
        await said(worker)
    assert caught.value.fingerprint == server.fingerprint
    assert old in str(caught.value)


async def test_the_person_can_not_switch_the_check_off(server: Sshd, folder: Path) -> None:
    worker = configure(folder, server, "gpu1", "StrictHostKeyChecking no", known=False)
    with pytest.raises(UnknownHostKey):
        await said(worker)


async def test_a_known_hosts_command_of_the_person_counts(
    server: Sshd, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "site hosts").write_text(server.known_hosts_line)
    line = f'KnownHostsCommand /bin/cat "{tmp_path}/site hosts"'
    worker = configure(folder, server, "gpu1", line, known=False)
    assert await said(replace(worker, transport=None)) == "in"  # and it is reason enough for ssh
    assert await said(worker) == "in"


async def test_through_a_jump_host(sshd: Sshd, server: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate")
    worker = configure(folder, server, "gpu1", "ProxyJump gate")
    assert (await said(worker, "echo $SSH_CONNECTION")).endswith(f"127.0.0.1 {server.port}")


async def test_the_key_of_a_jump_host_is_checked_too(
    sshd: Sshd, server: Sshd, folder: Path
) -> None:
    configure(folder, sshd, "gate", "StrictHostKeyChecking no", known=False)
    worker = configure(folder, server, "gpu1", "ProxyJump gate", known=False)
    for each in (sshd, server):
        with pytest.raises(UnknownHostKey) as caught:
            await said(worker)
        assert caught.value.fingerprint == each.fingerprint
        await accept_host_key(worker, each.fingerprint)
    assert await said(worker) == "in"


async def test_a_key_that_is_not_taken(sshd: Sshd, folder: Path) -> None:
    worker = configure(folder, sshd, "gpu1")
    config = folder / "config"
    config.write_text(
        config.read_text().replace(str(sshd.identity), str(make_key(folder / "other")))
    )
    with pytest.raises(LoginFailed, match="ssh-copy-id") as caught:
        await said(worker)
    assert type(caught.value) is LoginFailed


async def test_a_refused_port_has_the_words_of_ssh(folder: Path) -> None:
    worker = Worker("gpu1", host=f"me@127.0.0.1:{free_port()}", transport="openssh")
    with pytest.raises(ConnectFailed, match=r"worker 'gpu1' .*Connection refused"):
        await said(worker)


async def test_a_host_that_says_nothing(folder: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
        stack.callback(silent.close)
        port = silent.sockets[0].getsockname()[1]
        (folder / "config").write_text(
            f"Host gpu1\n    HostName 127.0.0.1\n    Port {port}\n    ConnectTimeout 1\n"
        )
        with pytest.raises(ConnectFailed, match="timed out"):
            await said(Worker("gpu1", host="gpu1", transport="openssh"))


async def test_wrong_settings_are_named(server: Sshd, folder: Path) -> None:
    with pytest.raises(ConnectFailed, match="line 8: invalid time"):
        await said(configure(folder, server, "gpu1", "ConnectTimeout soon"))


async def test_what_the_person_set_for_terminals_does_no_harm(server: Sshd, folder: Path) -> None:
    port = free_port()
    lines = ("RequestTTY force", "RemoteCommand tmux", "ForwardX11 yes", "ControlPath /x/%C")
    worker = configure(
        folder, server, "gpu1", *lines, "ControlMaster auto", f"LocalForward {port} localhost:9"
    )
    assert await said(worker, "test -t 0 || echo no terminal") == "no terminal"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


# Which transport.


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Compression yes", "asyncssh"),
        ("ControlPath ~/.ssh/%C", "asyncssh"),
        ("PKCS11Provider /usr/lib/opensc.so", "openssh"),
        ("SecurityKeyProvider /usr/lib/sk.so", "openssh"),
        ("KnownHostsCommand /bin/true", "openssh"),
        ("HostbasedAuthentication yes", "openssh"),
        ("ProxyUseFdpass yes", "openssh"),
        ("VerifyHostKeyDNS yes", "openssh"),
        ("RevokedHostKeys /etc/ssh/revoked", "openssh"),
    ],
)
async def test_ssh_is_chosen_for_what_asyncssh_can_not(
    server: Sshd, folder: Path, line: str, kind: str
) -> None:
    worker = replace(configure(folder, server, "gpu1", line), transport=None)
    assert await choice.fitting(worker) == kind


async def test_ssh_is_chosen_for_a_security_key(server: Sshd, folder: Path) -> None:
    key = folder / "id_sk"
    worker = replace(configure(folder, server, "gpu1", f"IdentityFile {key}"), transport=None)
    key.write_text("handle")
    Path(f"{key}.pub").write_text("sk-ssh-ed25519@openssh.com AAAA me\n")
    assert await choice.fitting(worker) == "openssh"


async def test_what_only_the_systems_file_says_is_for_ssh(
    server: Sshd, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = replace(configure(folder, server, "gpu1"), transport=None)
    assert await choice.fitting(worker) == "asyncssh"
    system = tmp_path / "ssh_config"
    system.write_text("Host gpu1\n    ProxyCommand /usr/bin/site-proxy %h\n")
    monkeypatch.setattr(program, "SYSTEM_CONFIG", system)
    assert await choice.fitting(worker) == "openssh"


async def test_a_living_master_is_used_by_who_names_no_transport(worker: Worker) -> None:
    assert await said(worker) == "in"
    async with connected(replace(worker, transport=None)):
        pass


async def test_without_the_program_it_is_said(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConnectFailed, match=r"needs the program ssh .*--transport asyncssh"):
        await said(worker)
    old = tmp_path / "ssh"
    old.write_text("#!/bin/sh\necho 'OpenSSH_7.9p1, OpenSSL 1.1' >&2\n")
    old.chmod(0o755)
    with pytest.raises(ConnectFailed, match=r"8\.5 or newer; .*ssh is 7\.9"):
        await said(worker)
    assert await choice.fitting(replace(worker, transport=None)) == "asyncssh"


def test_the_real_program_is_found() -> None:
    found = program.find()
    assert found
    assert found.path == shutil.which("ssh")
    assert found.version >= program.OLDEST
