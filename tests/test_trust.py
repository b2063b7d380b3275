"""`worker add` meets a host: it shows a key that is not known, and asks; or says what to do."""

from __future__ import annotations

import contextlib
import os
import pty
import queue
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Workers, known_hosts_file
from chutes_jupyter.errors import HostKeyError
from tests.freeport import free_port
from tests.kernel.notebook import open_notebook
from tests.sshd import Sshd

PROGRAM = Path(sys.executable).parent / "jupyter-chute"
PATIENCE = 60.0


class Terminal:
    """Runs verbs, answers questions, and keeps what was shown and asked."""

    def __init__(self, *answers: str | None) -> None:
        self.text = ""
        self.asked: list[str] = []
        self._answers = list(answers)
        self._here = Surroundings(self._write, ask=self._ask if answers else None)

    def _write(self, text: str) -> None:
        self.text += text

    def _ask(self, question: str) -> str | None:
        self.asked.append(question)
        return self._answers.pop(0)

    def __call__(self, *words: str) -> str:
        self.text = ""
        execute(words, self._here)
        return self.text


@pytest.fixture
def host(home: Path, sshd: Sshd) -> str:
    """The alias of a host that ssh may log in to, and whose key nobody knows."""
    return configure(home, sshd, "gpu1")


def configure(home: Path, server: Sshd, alias: str, *lines: str) -> str:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    with (home / ".ssh" / "config").open("a") as file:
        file.write(server.config(alias, home / ".ssh" / "known_hosts", *lines))
    return alias


def known() -> str:
    return known_hosts_file().read_text() if known_hosts_file().exists() else ""


@pytest.mark.parametrize("answer", ["y", "Yes", "the fingerprint"])
def test_an_unknown_key_is_shown_and_accepted(host: str, sshd: Sshd, answer: str) -> None:
    terminal = Terminal(answer if answer != "the fingerprint" else f" {sshd.fingerprint}\n")
    said = terminal("worker", "add", "gpu1", host)
    assert said.startswith("Worker gpu1 added.")
    assert f"The host [127.0.0.1]:{sshd.port} is not known here" in said
    assert "a key of type ssh-ed25519" in said
    assert sshd.fingerprint in said
    assert terminal.asked == ["Accept it? [y/N] "]
    assert said.endswith(f"The key of [127.0.0.1]:{sshd.port} is accepted.\n")
    assert known() == sshd.known_hosts_line
    # The next time there is nothing to ask.
    assert Terminal("no")("worker", "add", "gpu1", host).startswith("Worker gpu1 kept.")


@pytest.mark.parametrize("answer", ["", "n", "what?", "SHA256:" + "A" * 43])
def test_anything_else_is_a_no_and_the_worker_stays(host: str, sshd: Sshd, answer: str) -> None:
    said = Terminal(answer)("worker", "add", "gpu1", host)
    assert "Not accepted: nothing was sent to it" in said
    [command] = [line for line in said.splitlines() if line.strip().startswith("jupyter chute")]
    assert command.split()[-2:] == ["--accept-key", sshd.fingerprint]
    assert known() == ""
    assert "gpu1" in Workers.load()
    assert Terminal()(*command.split()[2:]).count("is accepted.") == 1
    assert known() == sshd.known_hosts_line


@pytest.mark.parametrize("answers", [(), (None,)], ids=["a script", "a person that is not there"])
def test_where_nobody_can_be_asked_the_one_command_is_said(
    host: str, sshd: Sshd, answers: tuple[None, ...]
) -> None:
    said = Terminal(*answers)("worker", "add", "gpu1", host)
    assert f"worker add gpu1 gpu1 --accept-key {sshd.fingerprint}" in said
    assert known() == ""
    assert Workers.load().get("gpu1").host == host


def test_the_keys_of_jump_hosts_are_asked_about_in_order(home: Path, sshd: Sshd) -> None:
    inner = Sshd.start()
    try:
        configure(home, sshd, "gate")
        configure(home, inner, "gpu1", "ProxyJump gate")
        terminal = Terminal("y", "y")
        said = terminal("worker", "add", "gpu1", "gpu1")
        assert said.index(sshd.fingerprint) < said.index(inner.fingerprint)
        assert len(terminal.asked) == 2
        assert known() == sshd.known_hosts_line + inner.known_hosts_line
        known_hosts_file().unlink()
        # A script names both.
        keys = [word for key in (sshd, inner) for word in ("--accept-key", key.fingerprint)]
        assert Terminal()("worker", "add", "gpu1", "gpu1", *keys).count("is accepted") == 2
        assert known() == sshd.known_hosts_line + inner.known_hosts_line
    finally:
        inner.remove()


def test_a_host_that_is_off_is_added_all_the_same(home: Path) -> None:
    said = Terminal("y")("worker", "add", "gpu1", f"me@127.0.0.1:{free_port()}")
    assert said.startswith("Worker gpu1 added.")
    assert "It can't be used yet." in said
    assert "refused the connection" in said
    assert "gpu1" in Workers.load()


def test_without_a_connection_nothing_is_asked(host: str, sshd: Sshd) -> None:
    before = sshd.log
    terminal = Terminal("y")
    said = terminal("worker", "add", "gpu1", host, "--no-connect")
    assert said == "Worker gpu1 added. Try it with: jupyter chute worker test gpu1\n"
    assert terminal.asked == []
    assert sshd.log == before


def test_a_changed_key_is_told_and_never_asked_about(host: str, home: Path, sshd: Sshd) -> None:
    other = sshd.known_hosts_line.replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAJ")
    (home / ".ssh" / "known_hosts").write_text(other)
    terminal = Terminal("y")
    said = terminal("worker", "add", "gpu1", host)
    assert "has CHANGED" in said
    assert sshd.fingerprint in said
    assert terminal.asked == []
    with pytest.raises(HostKeyError, match="CHANGED"):
        terminal("worker", "add", "gpu1", host, "--accept-key", sshd.fingerprint)
    assert known() == ""


# -- real terminals and kernels


class Screen:
    """A process behind a terminal."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.text = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._ours], [], [], 0.5)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    self.text += os.read(self._ours, 4096).decode()
            assert text in self.text or self.process.poll() is None, self.text

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> int:
        status = self.process.wait(PATIENCE)
        os.close(self._ours)
        return status


def test_a_terminal_is_asked(host: str, sshd: Sshd) -> None:
    screen = Screen("worker", "add", "gpu1", host)
    screen.until("Accept it? [y/N] ")
    screen.type("y\n")
    screen.until("is accepted.")
    assert screen.close() == 0
    assert sshd.fingerprint in screen.text
    assert known() == sshd.known_hosts_line


def test_a_pipe_is_not_asked(host: str, sshd: Sshd) -> None:
    done = subprocess.run(
        [PROGRAM, "worker", "add", "gpu1", host],
        input="y\n", capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert f"--accept-key {sshd.fingerprint}" in done.stdout
    assert known() == ""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Any]:
    with open_notebook(tmp_path) as found:
        yield found


def test_a_notebook_is_asked_and_without_a_person_it_is_told(
    host: str, sshd: Sshd, notebook: Any
) -> None:
    # As nbclient runs it: nobody answers.
    outcome = notebook.run(f"%chute worker add gpu1 {host}")
    assert f"%chute worker add gpu1 gpu1 --accept-key {sshd.fingerprint}" in outcome.stdout
    assert known() == ""
    number = notebook.client.execute(f"%chute worker add gpu1 {host}", allow_stdin=True)
    question = notebook.client.get_stdin_msg(timeout=PATIENCE)
    assert question["content"]["prompt"] == "Accept it? [y/N] "
    notebook.client.input("y")
    assert reply_to(notebook, number)["content"]["status"] == "ok"
    assert known() == sshd.known_hosts_line


def reply_to(notebook: Any, number: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            reply = notebook.client.get_shell_msg(timeout=1)
            if reply["parent_header"].get("msg_id") == number:
                return reply
    raise AssertionError("the cell takes too long")
