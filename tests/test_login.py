"""Logins that ask: once, by hand, for all processes; and never a word of it anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pty
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from chutes_jupyter import portal
from chutes_jupyter.client import session
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import ConnectFailed, JobFailed, LoginFailed, LoginNeeded, UsageError
from chutes_jupyter.transports import logged_in, transport_for
from chutes_jupyter.transports.openssh import control
from tests.client.rig import PATIENCE, start, until
from tests.sshd import Sshd, User, account

WORD = "correct horse " + secrets.token_hex(8)


async def said(worker: Worker, command: str = "echo in", *, bulk: bool = False) -> str:
    connection = await transport_for(worker).connect(bulk=bulk)
    try:
        process = await connection.start(command)
        found = b""
        while piece := await process.read(1000):
            found += piece
        return found.decode().strip()
    finally:
        await connection.aclose()


class Person:
    """Answers what is asked, in turn, and remembers the questions."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            raise EOFError
        return answer


def type_login(worker: Worker, person: Person) -> str:
    """Do `worker login`, and return what it printed."""
    printed: list[str] = []
    execute(["worker", "login", worker.name], Surroundings(printed.append, secret=person))
    return "".join(printed)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """A user with a password."""
    found = User.create()
    account("chpasswd", given=f"{found.name}:{WORD}\n")
    yield found
    found.remove()


@pytest.fixture(scope="module")
def asking(user: User) -> Iterator[Sshd]:
    """An sshd that takes that password and no key."""
    server = Sshd.start(user=user.name, extra="PasswordAuthentication yes\nPubkeyAuthentication no")
    yield server
    server.remove()


@pytest.fixture
def folder(home: Path) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    return home / ".ssh"


def named(folder: Path, server: Sshd, user: User, *lines: str, name: str = "gpu1") -> Worker:
    hosts = folder / "known_hosts"
    with hosts.open("a") as file:
        file.write(server.known_hosts_line)
    with (folder / "config").open("a") as file:
        file.write(server.config(name, hosts, *lines))
    directory = user.home / f"worker-{secrets.token_hex(4)}"
    worker = Worker(name, host=name, python="/usr/bin/python3", dir=str(directory))
    Workers.load().add(worker)
    return worker


@pytest.fixture
def worker(asking: Sshd, user: User, folder: Path) -> Worker:
    return named(folder, asking, user)


# Without a login.


@pytest.mark.parametrize("transport", [None, "asyncssh", "openssh"])
def test_what_would_ask_fails_at_once_and_names_the_command(
    worker: Worker, transport: str | None, asking: Sshd
) -> None:
    before = asking.log.count("Failed password")
    began = time.monotonic()
    with pytest.raises(LoginNeeded, match=r"Login needed: .*a password") as caught:
        asyncio.run(said(replace(worker, transport=transport)))
    assert time.monotonic() - began < 10
    assert "jupyter chute worker login gpu1 " in str(caught.value)
    assert "%chute worker login gpu1" in str(caught.value)
    assert asking.log.count("Failed password") == before  # nothing was tried


def test_a_job_fails_at_once_with_the_same_words(worker: Worker) -> None:
    job = start(worker, "return 1")
    with pytest.raises(JobFailed, match="worker login gpu1"):
        job.result(PATIENCE)


# With one.


def test_one_login_serves_files_and_logs_and_every_process(
    worker: Worker, asking: Sshd, tmp_path: Path
) -> None:
    before = asking.log.count("Accepted password")
    person = Person(WORD)
    assert "Logged in to gpu1" in type_login(worker, person)
    assert len(person.prompts) == 1
    assert "password" in person.prompts[0]
    tries = asking.log.count("Connection from")
    assert asyncio.run(said(worker)) == "in"
    assert asyncio.run(said(worker, bulk=True)) == "in"
    assert asking.log.count("Connection from") == tries  # not even one that would fail
    other = subprocess.run(
        [sys.executable, "-m", "chutes_jupyter.cli", "worker", "test", "gpu1"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
    )
    assert other.returncode == 0, other.stdout + other.stderr
    assert "already" in type_login(worker, Person())
    assert asking.log.count("Accepted password") == before + 1


def test_a_job_runs_with_its_outputs_after_a_login(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_login(worker, Person(WORD))
    monkeypatch.chdir(tmp_path)
    job = start(worker, "open(job_data['output_dir'] + '/a', 'w').write('x'); return 5")
    assert job.result(PATIENCE) == 5
    assert (job.output_dir / "a").read_text() == "x"


LOGS_IN = """
import sys, time
from chutes_jupyter.commands import Surroundings, execute
person = Surroundings(print, secret=lambda prompt: sys.stdin.readline()[:-1])
execute(["worker", "login", "gpu1"], person)
print("done", flush=True)
time.sleep(600)
"""


def test_the_death_of_who_logged_in_leaves_the_login(worker: Worker) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", LOGS_IN],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as other:
        assert other.stdin
        assert other.stdout
        other.stdin.write(WORD.encode() + b"\n")
        other.stdin.flush()
        while other.stdout.readline() not in (b"done\n", b""):
            pass
        os.killpg(other.pid, signal.SIGKILL)
        other.wait()
    assert asyncio.run(said(worker)) == "in"


def test_the_answer_is_nowhere(
    worker: Worker, home: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    word, seen = WORD.encode(), []

    def answer(prompt: str) -> str:
        seen.extend(leaks(word, home))
        return WORD

    execute(["worker", "login", "gpu1"], Surroundings(print, secret=answer))
    assert asyncio.run(said(worker)) == "in"
    assert seen + leaks(word, home) == []
    out, err = capfd.readouterr()
    assert WORD not in out + err + caplog.text


def leaks(word: bytes, home: Path) -> list[str]:
    """Return where a word stands: titles and environments of all processes, and our files."""
    found = []
    files = [
        file for pid in Path("/proc").glob("[0-9]*") for file in (pid / "cmdline", pid / "environ")
    ]
    for folder in (home.parent, control.folder()):
        files += [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        with contextlib.suppress(OSError):
            if word in file.read_bytes():
                found.append(str(file))
    return found


def test_a_wrong_word_is_said_to_be_wrong(worker: Worker) -> None:
    person = Person("wrong", "wrong", "wrong")
    with pytest.raises(LoginFailed, match="did not take what was typed"):
        type_login(worker, person)
    assert not asyncio.run(logged_in(worker))


def test_who_gives_no_answer_is_not_asked_again(worker: Worker) -> None:
    person = Person(None)
    with pytest.raises(LoginFailed, match="nobody answers"):
        type_login(worker, person)
    assert len(person.prompts) == 1
    assert not asyncio.run(logged_in(worker))


def test_local_needs_no_login() -> None:
    with pytest.raises(UsageError, match="needs no login"):
        execute(["worker", "login", "local"], Surroundings(print))


def test_an_unknown_host_is_not_told_any_word(worker: Worker, folder: Path) -> None:
    (folder / "known_hosts").write_text("")
    person = Person(WORD)
    with pytest.raises(ConnectFailed, match="is not known here"):
        type_login(worker, person)
    assert person.prompts == []


# Passphrases, two questions, jump hosts.


@pytest.fixture
def locked(sshd: Sshd, folder: Path) -> Worker:
    key = folder / "locked"
    for suffix in ("", ".pub"):
        shutil.copy(f"{sshd.identity}{suffix}", f"{key}{suffix}")
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", WORD, "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    worker = named(folder, sshd, User("", folder))
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(key)))
    return worker


@pytest.mark.parametrize("transport", [None, "openssh"])
def test_a_passphrase(locked: Worker, transport: str | None) -> None:
    worker = replace(locked, transport=transport)
    with pytest.raises(LoginNeeded, match=r"the passphrase of .*/locked.*ssh-add"):
        asyncio.run(said(worker))
    person = Person(WORD)
    type_login(worker, person)
    assert "passphrase" in person.prompts[0]
    assert asyncio.run(said(worker)) == "in"


class TwoQuestions(asyncssh.SSHServer):
    """Asks for a password and then for a code."""

    def begin_auth(self, _username: str) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str):
        return "Two steps", "", "en", [("Password: ", False), ("One-time code: ", False)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return list(responses) == [WORD, "123456"]


@pytest.fixture
def two_questions(folder: Path) -> Iterator[Worker]:
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def handle(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write("in")
        process.exit(0)

    async def serve() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            TwoQuestions, "127.0.0.1", 0, server_host_keys=[key], process_factory=handle
        )

    server = portal.call(serve)
    port = server.get_port()
    known = f"[127.0.0.1]:{port} {key.export_public_key().decode()}"
    (folder / "known_hosts").write_text(known)
    (folder / "config").write_text(
        f"Host gpu1\n    HostName 127.0.0.1\n    Port {port}\n    User me\n"
        f"    UserKnownHostsFile {folder}/known_hosts\n    IdentityFile none\n"
    )
    worker = Worker("gpu1", host="gpu1")
    Workers.load().add(worker)
    yield worker

    async def stop() -> None:
        server.close()

    portal.call(stop)


def test_a_password_and_a_code(two_questions: Worker) -> None:
    for transport in ("asyncssh", "openssh"):
        with pytest.raises(LoginNeeded, match="a password or a code"):
            portal.call(said, replace(two_questions, transport=transport))
    person = Person(WORD, "123456")
    type_login(two_questions, person)
    assert [prompt.rpartition(") ")[2] for prompt in person.prompts] == [
        "Password: ",
        "One-time code: ",
    ]
    assert portal.call(said, two_questions) == "in"


def test_a_jump_host_that_asks(asking: Sshd, sshd: Sshd, user: User, folder: Path) -> None:
    named(folder, asking, user, name="gate")
    worker = named(folder, sshd, user, "ProxyJump gate", name="gpu2")
    for transport in ("asyncssh", "openssh"):
        with pytest.raises(LoginNeeded, match=r"at its jump host .*a password.*login gpu2"):
            asyncio.run(said(replace(worker, transport=transport)))
    type_login(worker, Person(WORD))
    assert asyncio.run(said(worker)) == "in"


# A login that is over.


def test_a_lost_login_is_shown_the_job_goes_on_and_a_new_login_brings_it_back(
    worker: Worker, asking: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    type_login(worker, Person(WORD))
    source = "import time\nwhile not self.cancel_event.is_set(): time.sleep(0.05)\nreturn 7"
    job = start(worker, source, ack=True)
    until(lambda: job.state == "running", "it runs")
    asking.drop()
    until(lambda: "Login needed" in (job.trouble or ""), "the trouble is told")
    assert job.state == "running"
    assert "worker login gpu1" in repr(job)
    tries = asking.log.count("Connection from")
    time.sleep(3)  # a while in which nothing may knock
    assert asking.log.count("Connection from") == tries
    began = time.monotonic()
    type_login(worker, Person(WORD))
    until(lambda: job.trouble is None, "the login is noticed", 10)
    assert time.monotonic() - began < 10 < session._LOGIN_PAUSE
    job.cancel()
    job.wait(PATIENCE, outputs=False)
    assert job.state == "cancelled"


# Where a person sits.


def test_in_a_terminal_it_is_asked_without_an_echo(worker: Worker) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
        command = [sys.executable, "-m", "chutes_jupyter.cli", "worker", "login", "gpu1"]
        os.execv(sys.executable, command)
    shown, typed, deadline = b"", False, time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 1000)
            except OSError:
                break
        if not typed and b"password: " in shown:
            os.write(terminal, WORD.encode() + b"\n")
            typed = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert b"Logged in to gpu1" in shown
    assert WORD.encode() not in shown
    assert asyncio.run(said(worker)) == "in"
