"""What every test has: a home of its own, and workers of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chutes_jupyter.config import TRANSPORTS, Worker
from tests.freeport import KernelPorts
from tests.sshd import Sshd, User

#: What points to the person's own files or agents.
PERSONAL = ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "JUPYTER_PATH")


KernelPorts.instance()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own, so that it neither sees nor touches the person's."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    # Jobs of tests agree on GPUs among themselves, not with those of this machine.
    monkeypatch.setenv("CHUTES_GPU_LOCKS", str(tmp_path / "gpu-locks"))
    for name in PERSONAL:
        monkeypatch.delenv(name, raising=False)
    yield folder
    # The client of this process knows the workers of this home; the next test has another.
    job = sys.modules.get("chutes_jupyter.job")
    if job is not None:
        job.close_client()
    end_masters()


def end_masters() -> None:
    """End the control masters of this test, which would outlive it, and remove their folder."""
    control = sys.modules.get("chutes_jupyter.transports.openssh.control")
    if control is None:
        return
    folder = control.folder()
    for socket in folder.glob("?" * 16):
        subprocess.run(["ssh", "-S", socket, "-O", "exit", "any"], capture_output=True)
    for file in folder.iterdir():
        # A master ends after its answer, and takes its socket along.
        file.unlink(missing_ok=True)
    folder.rmdir()


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """OpenSSH's sshd, for this user."""
    server = Sshd.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def ordinary_user() -> Iterator[User]:
    """A user without any rights: one made for the tests, or this one if it is not root."""
    if os.getuid() != 0:
        import getpass

        yield User(getpass.getuser(), Path.home())
        return
    user = User.create()
    yield user
    user.remove()


@pytest.fixture(scope="session")
def sshd_user(ordinary_user: User) -> Iterator[Sshd]:
    """OpenSSH's sshd, for the ordinary user."""
    server = Sshd.start(user=ordinary_user.name)
    yield server
    server.remove()


@pytest.fixture
def ssh_worker(sshd: Sshd, home: Path, tmp_path: Path) -> Worker:
    """`gpu1`, an alias of ~/.ssh/config for the sshd; its folder is this test's own."""
    add_to_ssh_config(home, sshd, "gpu1")
    return Worker("gpu1", host="gpu1", dir=str(tmp_path / "worker"))


@pytest.fixture
def ordinary_worker(sshd_user: Sshd, ordinary_user: User, home: Path, tmp_path: Path) -> Worker:
    """`plain1`, where jobs run as the ordinary user; its folder is this test's own."""
    add_to_ssh_config(home, sshd_user, "plain1")
    folder = ordinary_user.home / f"worker-{tmp_path.parent.name}-{tmp_path.name}"
    # Root's own interpreters lie behind /root, which is closed to the user.
    return Worker("plain1", host="plain1", python="/usr/bin/python3", dir=str(folder))


ANY_WORKER = ("local", "sshd", "sshd-user")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let `any_worker` be what the module wants: with OVER_OPENSSH, the ssh program, too."""
    if "any_worker" in metafunc.fixturenames:
        more = ("openssh",) if getattr(metafunc.module, "OVER_OPENSSH", False) else ()
        metafunc.parametrize("any_worker", [*ANY_WORKER, *more], indirect=True)


@pytest.fixture(params=TRANSPORTS)
def dialling(request: pytest.FixtureRequest) -> str:
    """Each way to dial out in turn, for `Worker.transport`."""
    return request.param


@pytest.fixture
def any_worker(request: pytest.FixtureRequest, tmp_path: Path) -> Worker:
    """Each kind of worker in turn: the embedded server, sshd, sshd as an ordinary user."""
    if request.param == "openssh":
        return replace(request.getfixturevalue("ssh_worker"), transport="openssh")
    if request.param == "sshd":
        return request.getfixturevalue("ssh_worker")
    if request.param == "sshd-user":
        return request.getfixturevalue("ordinary_worker")
    return Worker("local", dir=str(tmp_path / "worker"))


def add_to_ssh_config(home: Path, server: Sshd, alias: str, *lines: str) -> None:
    """Make `alias` that server, with its key known, in the test's ~/.ssh."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    known = folder / f"known_hosts_{alias}"
    known.write_text(server.known_hosts_line)
    with (folder / "config").open("a") as file:
        file.write(server.config(alias, known, *lines))
