"""SSH as the person set it up: ~/.ssh/config, keys, agents, jump hosts, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from chutes_jupyter.config import Worker, known_hosts_file
from chutes_jupyter.errors import (
    ConnectFailed,
    ConnectionLost,
    HostKeyError,
    LoginFailed,
    UnknownHostKey,
    WorkerError,
)
from chutes_jupyter.transports import accept_host_key, ssh, transport_for
from tests.freeport import free_port
from tests.sshd import Sshd, make_key

pytestmark = pytest.mark.anyio


async def answer(worker: Worker, command: str = "echo $SSH_CONNECTION") -> str:
    connection = await transport_for(worker).connect()
    try:
        process = await connection.start(command)
        said = b""
        while piece := await process.read(1000):
            said += piece
        return said.decode().strip()
    finally:
        await connection.aclose()


@pytest.fixture
def folder(home: Path) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    return home / ".ssh"


def configure(folder: Path, server: Sshd, alias: str, *lines: str) -> Worker:
    known = folder / "known_hosts"
    with known.open("a") as file:
        file.write(server.known_hosts_line)
    with (folder / "config").open("a") as file:
        file.write(server.config(alias, known, *lines))
    return Worker(alias, host=alias)


async def test_an_alias_means_what_ssh_config_says(ssh_worker: Worker, sshd: Sshd) -> None:
    assert (await answer(ssh_worker)).endswith(f"127.0.0.1 {sshd.port}")


async def test_user_host_and_port_need_no_ssh_config(sshd: Sshd, folder: Path) -> None:
    shutil.copy(sshd.identity, folder / "id_ed25519")
    (folder / "known_hosts").write_text(sshd.known_hosts_line)
    worker = Worker("gpu1", host=sshd.host)
    assert await answer(worker, "whoami") == sshd.user


async def test_without_a_dot_ssh_folder_there_are_no_keys(sshd: Sshd, home: Path) -> None:
    worker = Worker("gpu1", host=sshd.host)
    with pytest.raises(UnknownHostKey):
        await answer(worker)
    await accept_host_key(worker, sshd.fingerprint)
    with pytest.raises(LoginFailed) as caught:
        await answer(worker)
    for word in ("gpu1", sshd.host, "ssh-copy-id", "IdentityFile", "ssh-add", "Passwords"):
        assert word in str(caught.value)
    assert not (home / ".ssh").exists()


async def test_a_key_that_the_host_does_not_take(sshd: Sshd, folder: Path) -> None:
    worker = configure(folder, sshd, "gpu1")
    other = make_key(folder / "other")
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(other)))
    with pytest.raises(LoginFailed):
        await answer(worker)


async def test_key_files_that_are_not_there_are_passed_over(sshd: Sshd, folder: Path) -> None:
    (folder / "config").write_text("Host *\n    IdentityFile ~/.ssh/missing\n")
    assert await answer(configure(folder, sshd, "gpu1"), "echo in") == "in"


async def test_keys_with_a_passphrase_come_from_the_agent(
    sshd: Sshd, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = folder / "locked"
    for suffix in ("", ".pub"):
        shutil.copy(f"{sshd.identity}{suffix}", f"{locked}{suffix}")
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    worker = configure(folder, sshd, "gpu1")
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(locked)))
    with pytest.raises(LoginFailed, match="ssh-add"):
        await answer(worker)
    place = Path(os.path.realpath(f"/tmp/chutes-agent-{os.getpid()}"))  # a short path: a socket
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if place.exists():
                break
            await asyncio.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        subprocess.run(["ssh-add", "-q", str(sshd.identity)], check=True, capture_output=True)
        assert await answer(worker, "echo in; echo agent=$SSH_AUTH_SOCK") == "in\nagent="
    finally:
        agent.terminate()
        agent.wait()
        place.unlink(missing_ok=True)


async def test_a_key_file_that_is_no_key_is_named_as_such(sshd: Sshd, folder: Path) -> None:
    worker = configure(folder, sshd, "gpu1")
    (folder / "nonsense").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n")
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(folder / "nonsense")))
    with pytest.raises(LoginFailed, match="key file"):
        await answer(worker)


async def test_a_wrong_ssh_config_is_named(sshd: Sshd, folder: Path) -> None:
    worker = configure(folder, sshd, "gpu1", "ConnectTimeout soon")
    with pytest.raises(ConnectFailed, match="ConnectTimeout"):
        await answer(worker)


async def test_nobody_is_asked_for_a_password(sshd: Sshd, folder: Path) -> None:
    worker = configure(folder, sshd, "gpu1", "PreferredAuthentications password")
    with pytest.raises(LoginFailed):
        await answer(worker)


async def test_settings_for_terminals_and_agents_do_no_harm(sshd: Sshd, folder: Path) -> None:
    lines = ("RequestTTY force", "RemoteCommand tmux", "ForwardAgent yes", "ForwardX11 yes")
    worker = configure(folder, sshd, "gpu1", *lines, "SendEnv LANG")
    assert await answer(worker, "test -t 0 || echo no terminal") == "no terminal"


async def test_the_fastest_cipher_comes_first(sshd: Sshd, folder: Path) -> None:
    for alias, lines, cipher in [
        ("plain", (), "aes128-gcm@openssh.com"),
        ("strict", ("Ciphers aes256-ctr",), "aes256-ctr"),  # what the person insists on
    ]:
        connection = await transport_for(configure(folder, sshd, alias, *lines)).connect()
        found = connection._connection.get_extra_info("send_cipher")
        await connection.aclose()
        assert found == cipher


# Jump hosts.


@pytest.fixture
def inner() -> Iterator[Sshd]:
    """A second sshd, to be reached through the first."""
    server = Sshd.start()
    yield server
    server.remove()


async def test_a_jump_host(sshd: Sshd, inner: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate")
    worker = configure(folder, inner, "gpu1", "ProxyJump gate")
    before = sshd.log.count("Accepted publickey")
    assert (await answer(worker)).endswith(f"127.0.0.1 {inner.port}")
    assert sshd.log.count("Accepted publickey") == before + 1


async def test_jump_hosts_in_a_row(sshd: Sshd, inner: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate")
    configure(folder, inner, "hall", "ProxyJump none")
    worker = configure(folder, inner, "gpu1", "ProxyJump gate,hall")
    assert (await answer(worker)).endswith(f"127.0.0.1 {inner.port}")


async def test_a_jump_host_for_all_hosts_is_not_its_own(
    sshd: Sshd, inner: Sshd, folder: Path
) -> None:
    configure(folder, sshd, "gate")
    worker = configure(folder, inner, "gpu1")
    with (folder / "config").open("a") as file:
        file.write("Host *\n    ProxyJump gate\n")
    assert (await answer(worker)).endswith(f"127.0.0.1 {inner.port}")


async def test_a_circle_of_jump_hosts_ends(sshd: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate", "ProxyJump hall")
    worker = configure(folder, sshd, "hall", "ProxyJump gate")
    with pytest.raises(ConnectFailed, match="circle"):
        await answer(worker)


async def test_a_jump_hosts_key_is_checked_too(sshd: Sshd, inner: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate")
    worker = configure(folder, inner, "gpu1", "ProxyJump gate")
    (folder / "known_hosts").write_text("")
    with pytest.raises(UnknownHostKey) as caught:
        await answer(worker)
    assert caught.value.fingerprint == sshd.fingerprint
    await accept_host_key(worker, sshd.fingerprint)
    with pytest.raises(UnknownHostKey) as caught:
        await answer(worker)
    assert caught.value.fingerprint == inner.fingerprint
    await accept_host_key(worker, inner.fingerprint)
    assert await answer(worker, "echo in") == "in"
    assert known_hosts_file().read_text() == sshd.known_hosts_line + inner.known_hosts_line


async def test_a_jump_host_that_finds_no_way_says_so(sshd: Sshd, folder: Path) -> None:
    configure(folder, sshd, "gate")
    (folder / "config").open("a").write(
        f"Host gpu1\n    HostName 127.0.0.1\n    Port {free_port()}\n    ProxyJump gate\n"
    )
    with pytest.raises(ConnectFailed, match="jump host could not connect"):
        await answer(Worker("gpu1", host="gpu1"))


async def test_a_jump_host_that_refuses_the_login_is_named(
    sshd: Sshd, inner: Sshd, folder: Path
) -> None:
    configure(folder, sshd, "gate")
    other = make_key(folder / "other")
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(other)))
    worker = configure(folder, inner, "gpu1", "ProxyJump gate")
    with pytest.raises(LoginFailed, match="at its jump host gate"):
        await answer(worker)


async def test_losing_the_jump_host_loses_the_connection(
    sshd: Sshd, inner: Sshd, folder: Path
) -> None:
    configure(folder, inner, "gate")
    worker = configure(folder, sshd, "gpu1", "ProxyJump gate")
    connection = await transport_for(worker).connect()
    process = await connection.start("cat")
    inner.drop()
    with pytest.raises(ConnectionLost):
        await process.read(1)
    await connection.aclose()


async def test_a_proxy_command(sshd: Sshd, folder: Path) -> None:
    code = (
        "import os,socket,sys,threading as t;"
        f"s=socket.create_connection(('127.0.0.1',{sshd.port}));"
        "f=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,9999),b'')];"
        "t.Thread(target=f,daemon=True).start();"
        "[os.write(1,d) for d in iter(lambda:s.recv(9999),b'')]"
    )
    script = folder / "proxy.py"
    script.write_text(code)
    worker = configure(folder, sshd, "gpu1", f"ProxyCommand /usr/bin/python3 {script}")
    assert await answer(worker, "echo in") == "in"


# What goes wrong on the way.


async def test_a_refused_port_is_named(folder: Path) -> None:
    host = f"me@127.0.0.1:{free_port()}"
    with pytest.raises(ConnectFailed, match="refused the connection") as caught:
        await answer(Worker("gpu1", host=host))
    assert host in str(caught.value)
    assert "gpu1" in str(caught.value)


async def test_a_name_that_leads_nowhere(folder: Path) -> None:
    with pytest.raises(ConnectFailed, match="can't be resolved"):
        await answer(Worker("gpu1", host="me@no-such-host.invalid"))


async def test_a_host_that_says_nothing(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (folder / "config").write_text(
            f"Host gpu1\n    HostName 127.0.0.1\n    Port {port}\n    ConnectTimeout 1\n"
        )
        with pytest.raises(ConnectFailed, match="did not answer in time"):
            await answer(Worker("gpu1", host="gpu1"))


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-1.5-old\r\n", b""])
async def test_something_that_is_no_sshd(folder: Path, greeting: bytes) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectFailed, match="before the login was done"):
        await answer(Worker("gpu1", host=f"me@127.0.0.1:{port}"))
    server.close()


async def test_a_worker_that_forbids_forwarding(home: Path) -> None:
    server = Sshd.start(extra="AllowTcpForwarding no")
    (home / ".ssh").mkdir()
    try:
        connection = await transport_for(configure(home / ".ssh", server, "gpu1")).connect()
        with pytest.raises(ConnectFailed, match="its sshd_config says AllowTcpForwarding no"):
            await connection.open_tcp("127.0.0.1", 9)
        assert not connection.closed
        await connection.aclose()
    finally:
        server.remove()


ERRORS: list[tuple[Exception, type[WorkerError]]] = [
    (asyncssh.PermissionDenied("no"), LoginFailed),
    (asyncssh.HostKeyNotVerifiable("no"), HostKeyError),
    (asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "no"), ConnectFailed),
    (asyncssh.ConnectionLost("gone"), ConnectFailed),
    (asyncssh.KeyExchangeFailed("no kex"), ConnectFailed),
    (asyncssh.ProtocolError("odd"), ConnectFailed),
    (asyncssh.ProtocolNotSupported("old"), ConnectFailed),
    (asyncssh.ServiceNotAvailable("no"), ConnectFailed),
    (asyncssh.IllegalUserName("no"), ConnectFailed),
    (asyncssh.MACError("bad"), ConnectFailed),
    (asyncssh.CompressionError("bad"), ConnectFailed),
    (asyncssh.DisconnectError(11, "bye"), ConnectFailed),
    (asyncssh.KeyImportError("no key"), LoginFailed),
    (asyncssh.KeyEncryptionError("no cipher"), LoginFailed),
    (asyncssh.ConfigParseError("config line 1"), ConnectFailed),
    (FileNotFoundError(2, "missing", "/key"), LoginFailed),
    (PermissionError(13, "denied", "/key"), LoginFailed),
    (PermissionError(13, "denied"), ConnectFailed),
    (socket.gaierror(-2, "unknown"), ConnectFailed),
    (TimeoutError(), ConnectFailed),
    (ConnectionRefusedError(111, "refused"), ConnectFailed),
    (ConnectionResetError(104, "reset"), ConnectFailed),
    (BrokenPipeError(32, "pipe"), ConnectFailed),
    (OSError(101, "Network is unreachable"), ConnectFailed),
    (OSError(113, "No route to host"), ConnectFailed),
    (OSError("Multiple exceptions: [Errno 111], [Errno 111]"), ConnectFailed),
    (ValueError("Unknown local username"), ConnectFailed),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ConnectFailed),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda x: getattr(x, "__name__", None))
def test_every_error_becomes_one_of_ours(error: Exception, expected: type[WorkerError]) -> None:
    found = ssh.connect_failure(error, "worker 'gpu1' (host)")
    assert type(found) is expected
    assert "worker 'gpu1' (host)" in str(found)


def test_no_error_of_asyncssh_is_missed() -> None:
    def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    # Others of the library's exceptions are for servers, terminals and SFTP.
    own = {kind for kind in below(asyncssh.Error) if kind.__module__ == "asyncssh.misc"}
    assert {asyncssh.PermissionDenied, asyncssh.ChannelOpenError} <= own
    for kind in own:
        assert issubclass(kind, ssh.FAILURES)


def test_a_bug_is_not_dressed_up_as_a_failed_connection() -> None:
    with pytest.raises(ZeroDivisionError):
        ssh.connect_failure(ZeroDivisionError(), "worker")
