"""The agent gets onto every kind of worker, once, whatever its shell says or lacks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter import bootstrap
from chutes_jupyter.agent import wire
from chutes_jupyter.bootstrap import agent_bundle, start_agent, start_command
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import AgentFailed, ConnectionLost
from chutes_jupyter.transports import Connection, Process, transport_for
from tests import interpreters
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd

pytestmark = pytest.mark.anyio

HASH = agent_bundle()[0]


@pytest.fixture
async def connection(any_worker: Worker) -> AsyncIterator[Connection]:
    found = await transport_for(any_worker).connect()
    yield found
    await found.aclose()


async def hello(process: Process) -> dict[str, Any]:
    """Ask the agent who it is."""
    await process.write(wire.encode({"id": 1, "op": "hello"}))
    decoder = wire.Decoder()
    while True:
        data = await process.read(65536)
        assert data, process.stderr_tail()
        for header, _ in decoder.feed(data):
            return header


async def goodbye(process: Process) -> None:
    process.write_eof()
    assert await process.read(1) == b""
    assert await process.wait() == 0


def forbid_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: Process) -> None:
        raise AssertionError("the agent was sent again")

    monkeypatch.setattr(bootstrap, "_send_agent", refuse)


def agents(worker: Worker) -> list[str]:
    return sorted(os.listdir(f"{worker.dir}/agents"))


async def test_it_is_sent_once_and_speaks(
    connection: Connection, any_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await start_agent(connection, any_worker)
    told = await hello(process)
    assert told["ok"], told
    assert told["protocol"] == wire.PROTOCOL
    assert told["agent"] == HASH
    assert told["root"] == any_worker.dir
    await goodbye(process)
    forbid_sending(monkeypatch)
    for _ in range(2):
        await goodbye(await start_agent(connection, any_worker))
    assert agents(any_worker) == [HASH]
    home = Path(any_worker.dir or "") / "agents" / HASH
    # A folder, not an archive: so Python keeps what it compiled.
    assert list((home / "chutes_jupyter" / "agent" / "__pycache__").glob("serve.*.pyc"))


async def test_nobody_else_may_look(connection: Connection, any_worker: Worker) -> None:
    await goodbye(await start_agent(connection, any_worker))
    root = Path(any_worker.dir or "")
    for folder in (root, root / "agents", root / "agents" / HASH):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_without_a_dir_it_lies_in_the_home(home: Path) -> None:
    worker = Worker("local")
    connection = await transport_for(worker).connect()
    process = await start_agent(connection, worker)
    assert (await hello(process))["root"] == str(home / ".chutes_jupyter")
    await goodbye(process)
    await connection.aclose()
    assert os.listdir(home / ".chutes_jupyter" / "agents") == [HASH]


async def test_a_folder_with_any_name(tmp_path: Path) -> None:
    worker = Worker("local", dir=str(tmp_path / 'it\'s "mine" $HOME `date` ü \\ !x'))
    connection = await transport_for(worker).connect()
    process = await start_agent(connection, worker)
    assert (await hello(process))["root"] == worker.dir
    await goodbye(process)
    await connection.aclose()


async def test_many_at_once_do_not_disturb_each_other(any_worker: Worker) -> None:
    connections = [await transport_for(any_worker).connect() for _ in range(2)]
    started = await asyncio.gather(*(start_agent(connections[n % 2], any_worker) for n in range(8)))
    for process in started:
        assert (await hello(process))["ok"]
        await goodbye(process)
    for connection in connections:
        await connection.aclose()
    assert agents(any_worker) == [HASH]


async def test_one_that_was_never_finished_is_replaced(
    connection: Connection, any_worker: Worker
) -> None:
    await goodbye(await start_agent(connection, any_worker))
    home = Path(any_worker.dir or "") / "agents" / HASH
    (home / "ok").unlink()
    (home / "chutes_jupyter" / "agent" / "serve.py").write_text("broken(")
    await goodbye(await start_agent(connection, any_worker))
    assert (home / "ok").exists()


async def test_a_damaged_one_is_not_run(
    connection: Connection, any_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(process: Process) -> None:
        archive = agent_bundle()[1]
        damaged = archive[:100] + bytes([archive[100] ^ 1]) + archive[101:]
        await process.write(len(damaged).to_bytes(4, "big") + damaged)

    with monkeypatch.context() as patch, pytest.raises(AgentFailed, match="damaged"):
        patch.setattr(bootstrap, "_send_agent", send)
        await start_agent(connection, any_worker)
    assert not Path(f"{any_worker.dir}/agents").exists()
    await goodbye(await start_agent(connection, any_worker))


async def test_a_folder_that_can_not_be_made_is_told(
    connection: Connection, tmp_path: Path
) -> None:
    worker = Worker("w", host="any", dir="/dev/null/below")
    with pytest.raises(AgentFailed, match="/dev/null/below") as caught:
        await start_agent(connection, worker)
    assert "can't be written there (Not a directory)" in str(caught.value)
    assert "worker add w --dir PATH" in str(caught.value)


async def test_a_connection_that_breaks_meanwhile_is_lost(ssh_worker: Worker, sshd: Sshd) -> None:
    connection = await transport_for(ssh_worker).connect()
    starting = asyncio.ensure_future(start_agent(connection, ssh_worker))
    await asyncio.sleep(0.05)
    sshd.drop()
    with pytest.raises(ConnectionLost):
        # It may have been started already; then the next word is lost.
        await (await starting).read(1)
    await connection.aclose()


# The Python of the agent.


@pytest.mark.parametrize("find", [interpreters.oldest, interpreters.newest])
async def test_on_the_oldest_and_the_newest_python(
    ssh_worker: Worker, find: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = find()
    monkeypatch.setattr(bootstrap, "candidates", lambda _: [str(python)])
    connection = await transport_for(ssh_worker).connect()
    for _ in range(2):
        process = await start_agent(connection, ssh_worker)
        told = await hello(process)
        await goodbye(process)
        expected = subprocess.run([str(python), "-V"], capture_output=True, text=True).stdout
        assert f"Python {told['version']}" == expected.strip()
    await connection.aclose()


async def test_what_is_no_python_of_ours_is_passed_over(
    ssh_worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(tmp_path / "missing")]
    # Too old; knows no -I; a shim without a version behind it, of two kinds.
    for status in (93, 2, 126, 127):
        script = tmp_path / f"python-{status}"
        script.write_text(f"#!/bin/sh\necho not this one >&2\nexit {status}\n")
        script.chmod(0o755)
        names.append(str(script))
    monkeypatch.setattr(bootstrap, "candidates", lambda _: [*names, "/usr/bin/python3"])
    connection = await transport_for(ssh_worker).connect()
    process = await start_agent(connection, ssh_worker)
    assert (await hello(process))["ok"]
    await goodbye(process)
    monkeypatch.setattr(bootstrap, "candidates", lambda _: names)
    with pytest.raises(AgentFailed) as caught:
        await start_agent(connection, ssh_worker)
    message = str(caught.value)
    for word in ("no Python 3.8 or newer", "gpu1", *names, "apt install python3", "not this one"):
        assert word in message
    await connection.aclose()


def test_local_takes_this_python_first() -> None:
    import sys

    assert bootstrap.candidates(Worker("local"))[0] == sys.executable
    names = bootstrap.candidates(Worker("gpu1", host="gpu1", python="/opt/job/python"))
    # The interpreter of the jobs may be older, or a wrapper: the agent's is its own matter.
    assert "/opt/job/python" not in names
    assert names[0] == "python3"
    assert {"python3.8", "python3.13", "/usr/bin/python3"} <= set(names)


# Shells and what they print.


@pytest.fixture
def forced(home: Path, tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Make workers whose sshd runs a script of ours in place of the login shell."""
    servers = []

    def make(script: str) -> Worker:
        file = tmp_path / f"login{len(servers)}"
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)
        server = Sshd.start(extra=f"ForceCommand {file}")
        servers.append(server)
        alias = f"forced{len(servers)}"
        add_to_ssh_config(home, server, alias)
        return Worker(alias, host=alias, dir=str(tmp_path / alias))

    yield make
    for server in servers:
        server.remove()


async def start_once(worker: Worker, **options: Any) -> None:
    connection = await transport_for(worker).connect()
    try:
        for _ in range(2):
            process = await start_agent(connection, worker, **options)
            assert (await hello(process))["ok"]
            await goodbye(process)
    finally:
        await connection.aclose()


async def test_what_login_scripts_print_is_dropped(forced: Callable[[str], Worker]) -> None:
    noise = "printf 'Welcome\\0!\\n\\0chutes-agent:\\n'; seq 1 30000; echo warning >&2"
    await start_once(forced(f'{noise}\neval "$SSH_ORIGINAL_COMMAND"'))


async def test_too_much_noise_is_told(forced: Callable[[str], Worker]) -> None:
    with pytest.raises(AgentFailed, match=r"256 KiB.*\.bashrc"):
        await start_once(forced("yes"))


async def test_a_closed_account_says_so(forced: Callable[[str], Worker]) -> None:
    with pytest.raises(AgentFailed, match="exit status 1") as caught:
        await start_once(forced("echo This account is currently not available.; exit 1"))
    assert "This account is currently not available." in str(caught.value)


async def test_a_shell_that_waits_is_not_waited_for(forced: Callable[[str], Worker]) -> None:
    with pytest.raises(AgentFailed, match=r"within 0\.3 s") as caught:
        await start_once(forced("echo Your name? >&2; cat >/dev/null"), patience=0.3)
    assert "Your name?" in str(caught.value)


#: scripts/system installs them; a missing one fails.
SHELLS = ("dash", "bash", "zsh", "tcsh", "fish")


@pytest.mark.parametrize("shell", SHELLS)
async def test_every_shell_understands_it(shell: str, forced: Callable[[str], Worker]) -> None:
    path = shutil.which(shell)
    assert path, f"{shell} is not installed: run scripts/system"
    await start_once(forced(f'exec {path} -c "$SSH_ORIGINAL_COMMAND"'))


def test_the_command_means_the_same_to_every_shell() -> None:
    command = start_command(Worker("gpu1", host="gpu1", dir='/it\'s/a "place"!'))
    quoted = re.fullmatch(r"exec /bin/sh -c '([^']*)' sh [A-Za-z0-9+/=]+ [\w./ -]+", command)
    assert quoted is not None
    # fish takes \ inside ', csh takes ! and no line breaks.
    assert not set(quoted[1]) & set("\\!\n")


# What is sent.


def test_the_archive_is_the_agent_and_the_stand_in() -> None:
    agent_hash, archive = agent_bundle()
    assert re.fullmatch(r"[0-9a-f]{32}", agent_hash)
    source = Path(wire.__file__).parent
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert "chutes_jupyter/__init__.py" in files.namelist()
        for name in files.namelist():
            expected = source / Path(name).name
            if name == "chutes_jupyter/__init__.py":
                expected = source / "standin.py"
            assert files.read(name) == expected.read_bytes()
        assert len(files.namelist()) == len(list(source.glob("*.py"))) + 1


def test_the_same_files_make_the_same_archive() -> None:
    first = agent_bundle()
    agent_bundle.cache_clear()
    assert agent_bundle() == first


def test_other_files_have_another_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "agent"
    shutil.copytree(Path(wire.__file__).parent, copy)
    monkeypatch.setattr(bootstrap.resources, "files", lambda _: copy)
    try:
        agent_bundle.cache_clear()
        assert agent_bundle()[0] == HASH
        with (copy / "wire.py").open("a") as file:
            file.write("\n")
        agent_bundle.cache_clear()
        assert agent_bundle()[0] != HASH
    finally:
        agent_bundle.cache_clear()


def test_the_loader_checks_what_it_was_told_to_expect() -> None:
    import base64

    loader = base64.b64decode(start_command(Worker("local")).split("' sh ")[1].split()[0])
    assert hashlib.sha256(agent_bundle()[1]).hexdigest().encode() in loader
