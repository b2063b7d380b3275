"""Servers as people find them: each setting of sshd, login shell and home, by each way there.

A job goes from end to end on every one of them; what can't work says so in one sentence that
names the server's setting.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import AgentFailed, ConnectFailed, ForwardingRefused, JobFailed
from chutes_jupyter.transports import transport_for
from tests.client.rig import PATIENCE, start, until
from tests.sshd import Sshd, User, account

NOISE = "Welcome to the machine"
#: Where a login shell reads what may print, for a command too.
STARTUP_FILES = {"bash": ".bashrc", "fish": ".config/fish/config.fish", "tcsh": ".tcshrc"}
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Case:
    """A server to be met."""

    #: Lines of its sshd_config.
    extra: str = ""
    #: The login shell of a user of its own.
    shell: str | None = None
    #: Whether the home of that user is read-only.
    locked: bool = False
    #: Whether there is another sshd on the way.
    behind: bool = False
    #: What the worker needs besides.
    options: dict[str, str] = field(default_factory=dict)


CASES = {
    "keys-only": Case("PubkeyAuthentication yes\nAuthenticationMethods publickey"),
    "ProxyJump": Case(behind=True),
    "AllowTcpForwarding-no": Case("AllowTcpForwarding no"),
    "AllowStreamLocalForwarding-no": Case("AllowStreamLocalForwarding no"),
    "DisableForwarding-yes": Case("DisableForwarding yes"),
    "MaxSessions-1": Case("MaxSessions 1"),
    "PermitTTY-no": Case("PermitTTY no"),
    "Banner": Case("Banner /etc/services"),
    "bash-that-prints": Case(shell="bash"),
    "fish-that-prints": Case(shell="fish"),
    "tcsh-that-prints": Case(shell="tcsh"),
    "read-only-home": Case(shell="bash", locked=True, options={"dir": "{elsewhere}"}),
}


@dataclass
class Server:
    """A running server of a case."""

    case: Case
    sshd: Sshd
    elsewhere: Path
    gate: Sshd | None = None
    user: User | None = None

    @property
    def options(self) -> dict[str, str]:
        """What the worker needs besides its host."""
        return {
            key: text.format(elsewhere=self.elsewhere) for key, text in self.case.options.items()
        }

    def worker(self, way: str, home: Path, **options: str) -> Worker:
        """Return the worker as a person names it, known in ~/.ssh."""
        folder = home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        hosts = {"odd1": (self.sshd, ["ProxyJump gate"] if self.gate else [])}
        if self.gate:
            hosts["gate"] = (self.gate, [])
        for alias, (server, lines) in hosts.items():
            known = folder / f"known_{alias}"
            known.write_text(server.known_hosts_line)
            with (folder / "config").open("a") as file:
                file.write(server.config(alias, known, *lines))
        worker = Worker("odd1", host="odd1", python=PYTHON, transport=way, **options)
        Workers.load().add(worker)
        return worker


@contextlib.contextmanager
def serving(case: Case) -> Iterator[Server]:
    """Start the servers of a case, with a user where its shell or home is of interest."""
    with contextlib.ExitStack() as stack:
        elsewhere = Path(tempfile.mkdtemp(prefix="chutes-elsewhere-"))
        stack.callback(shutil.rmtree, elsewhere, ignore_errors=True)
        elsewhere.chmod(0o777)
        user = stack.enter_context(somebody(case)) if case.shell else None
        sshd = Sshd.start(user=user.name if user else None, extra=case.extra)
        stack.callback(sshd.remove)
        gate = None
        if case.behind:
            gate = Sshd.start()
            stack.callback(gate.remove)
        yield Server(case, sshd, elsewhere, gate, user)


@contextlib.contextmanager
def somebody(case: Case) -> Iterator[User]:
    """Make a user with the shell of a case, whose start-up file prints. Needs root."""
    user = User.create()
    try:
        shell = shutil.which(case.shell or "")
        assert shell, f"scripts/system installs {case.shell}"
        account("usermod", "--shell", shell, user.name)
        file = user.home / STARTUP_FILES[case.shell or ""]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"echo {NOISE}\n")
        for path in (user.home, *user.home.rglob("*")):
            os.chown(path, user.uid, -1)
        if case.locked:
            os.chown(user.home, 0, 0)
            user.home.chmod(0o755)
        yield user
    finally:
        user.remove()


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Server]]:
    """Starts each server once."""
    with contextlib.ExitStack() as stack:
        running: dict[str, Server] = {}

        def server(name: str) -> Server:
            if name not in running:
                running[name] = stack.enter_context(serving(CASES[name]))
            return running[name]

        yield server


@pytest.fixture
def way(dialling: str) -> str:
    """Each way to dial in turn."""
    return dialling


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to work in, and a client that ends with the test."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    jobs_module.close_client()


JOB = """\
with open(job_data["output_dir"] + "/made.txt", "w") as file:
    file.write("by the job")
print("it runs")
return {"value": 7}
"""
WAITS = """\
print("it waits", flush=True)
self.cancel_event.wait_blocking(60)
"""


@pytest.mark.parametrize("name", CASES)
def test_a_job_goes_from_end_to_end(
    servers: Callable[[str], Server], name: str, way: str, home: Path
) -> None:
    server = servers(name)
    goes_from_end_to_end(server.worker(way, home, **server.options))


def test_the_same_job_on_local(tmp_path: Path) -> None:
    worker = Worker("local", dir=str(tmp_path / "worker"))
    Workers.load().add(worker)
    goes_from_end_to_end(worker)


def goes_from_end_to_end(worker: Worker) -> None:
    job = start(worker, JOB)
    assert job.result(timeout=PATIENCE) == {"value": 7}
    assert job.logs() == "it runs\n"
    assert (job.output_dir / "made.txt").read_text() == "by the job"
    job = start(worker, WAITS)
    assert next(iter(job.logs(follow=True))).strip() == "it waits"
    job.cancel()
    job.wait(timeout=PATIENCE)
    assert job.state == "cancelled"


#: Where a door might depend on what the server forbids, or on the shell.
DOORS = ["ProxyJump", "DisableForwarding-yes", "MaxSessions-1", "PermitTTY-no", "tcsh-that-prints"]


@pytest.mark.parametrize("name", DOORS)
def test_the_door_into_a_job_opens(
    servers: Callable[[str], Server], name: str, way: str, home: Path
) -> None:
    server = servers(name)
    worker = server.worker(way, home, **server.options)
    job = start(worker, WAITS, ssh=True)
    until(lambda: job.state == "running", "it runs")
    line = f"{job.ssh_command} {shlex.quote('pwd')}"
    told = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    # Start-up files of the person's shell may print: that is the person's own.
    assert told.stdout.splitlines()[-1].endswith(f"{job.id}/work")
    job.cancel()
    job.wait(timeout=PATIENCE)


# What can't work there names the server's setting.


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["AllowTcpForwarding-no", "DisableForwarding-yes"])
async def test_a_forbidden_forward_names_the_setting(
    servers: Callable[[str], Server], name: str, way: str, home: Path
) -> None:
    connection = await transport_for(servers(name).worker(way, home)).connect()
    try:
        # ssh does not tell its callers which of the two it was, so both are named.
        kind = ForwardingRefused if way == "asyncssh" else ConnectFailed
        with pytest.raises(kind, match="AllowTcpForwarding no, DisableForwarding"):
            await connection.open_tcp("127.0.0.1", 9)
        assert not connection.closed
    finally:
        await connection.aclose()


@pytest.mark.anyio
async def test_a_jump_host_that_forbids_forwarding_names_the_setting(
    servers: Callable[[str], Server], way: str, home: Path
) -> None:
    gate, inner = servers("AllowTcpForwarding-no"), servers("keys-only")
    worker = Server(inner.case, inner.sshd, inner.elsewhere, gate.sshd).worker(way, home)
    with pytest.raises(ConnectFailed, match="the jump host opens no connections") as caught:
        await transport_for(worker).connect()
    assert "AllowTcpForwarding" in str(caught.value)


@pytest.mark.anyio
async def test_one_session_more_than_allowed_names_the_setting(
    servers: Callable[[str], Server], way: str, home: Path
) -> None:
    connection = await transport_for(servers("MaxSessions-1").worker(way, home)).connect()
    try:
        process = await connection.start("cat")
        if way == "asyncssh":
            with pytest.raises(ConnectFailed, match="MaxSessions in its sshd_config"):
                await connection.start("cat")
        else:  # ssh's are shared, so it has to go on in another connection
            await (await connection.start("cat")).aclose()
        process.write_eof()
        assert await process.wait() == 0
        await process.aclose()
        # One that has ended makes room for the next.
        assert await (await connection.start("true")).wait() == 0
    finally:
        await connection.aclose()


@pytest.mark.parametrize("name", ["read-only-home"])
def test_a_read_only_home_names_the_way_out(
    servers: Callable[[str], Server], name: str, way: str, home: Path
) -> None:
    worker = servers(name).worker(way, home)
    job = start(worker, JOB)
    with pytest.raises(JobFailed) as caught:
        job.result(timeout=PATIENCE)
    said = str(caught.value)
    assert "the folder ~/.chutes_jupyter can't be written there (Permission denied)" in said
    assert "jupyter chute worker add odd1 --dir PATH" in said
    assert "Traceback" not in said


@pytest.mark.anyio
async def test_a_folder_that_became_read_only_is_told_like_one_that_was(
    servers: Callable[[str], Server], way: str, home: Path
) -> None:
    server = servers("read-only-home")
    folder = server.elsewhere / f"later-{way}"
    worker = server.worker(way, home, dir=str(folder))
    connection = await transport_for(worker).connect()
    try:
        await (await start_agent(connection, worker)).aclose()
        os.chown(folder, 0, 0)
        folder.chmod(0o755)  # what is there can be read
        with pytest.raises(AgentFailed, match="--dir PATH"):
            await start_agent(connection, worker)
    finally:
        await connection.aclose()


@pytest.mark.anyio
async def test_a_forced_command_is_named(way: str, home: Path) -> None:
    with serving(Case("ForceCommand /bin/true")) as server:
        worker = server.worker(way, home)
        connection = await transport_for(worker).connect()
        try:
            with pytest.raises(AgentFailed, match="ForceCommand in its sshd_config"):
                await start_agent(connection, worker)
        finally:
            await connection.aclose()
