"""Workers through the API: listed, added, tested; a host key accepted, a login typed."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker, Workers, known_hosts_file
from chutes_jupyter.errors import LoginFailed
from chutes_jupyter.server import talks
from chutes_jupyter.server.client import Api, ApiProblem
from chutes_jupyter.server.problems import ApiError
from chutes_jupyter.transports.login import Question
from chutes_jupyter.transports.openssh import control
from tests.conftest import end_masters
from tests.freeport import free_port
from tests.server.rig import Server
from tests.sshd import Sshd

PASSPHRASE = "correct horse battery"


@pytest.fixture
def folder(home: Path) -> Iterator[Path]:
    """The test's ~/.ssh, and no worker left behind."""
    found = home / ".ssh"
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(mode=0o700)
    before = set(Workers.load().names())
    yield found
    for name in set(Workers.load().names()) - before:
        Workers.load().remove(name)
    known_hosts_file().unlink(missing_ok=True)
    shutil.rmtree(found)
    # The server's masters outlive it; they are where this process would have its own.
    assert control.folder().is_dir()
    end_masters()


def named(folder: Path, server: Sshd, alias: str, *, known: bool) -> None:
    hosts = folder / "known_hosts"
    if known:
        hosts.write_text(server.known_hosts_line)
    with (folder / "config").open("a") as file:
        file.write(server.config(alias, hosts))


def test_a_worker_is_added_changed_listed_and_forgotten(api: Api, folder: Path) -> None:
    added = api.add_worker("gpu1", host="me@gpu1.example:2222", env={"HF_TOKEN": "hunter2"})
    assert (added.host, added.env, added.reachable) == ("me@gpu1.example:2222", ["HF_TOKEN"], None)
    api.add_worker("gpu1", python="/opt/python", env={"MORE": "x"}, trusted=False)
    worker = Workers.load().get("gpu1")
    assert worker.host == "me@gpu1.example:2222"
    assert worker.python == "/opt/python"
    assert worker.env == {"HF_TOKEN": "hunter2", "MORE": "x"}
    assert worker.trusted is False
    listed = api.workers()
    assert [each.name for each in listed] == ["local", "gpu1"]
    assert "hunter2" not in str(listed)
    with pytest.raises(ApiProblem, match="config_error"):
        api.add_worker("gpu1", host="another")
    api.remove_worker("gpu1")
    assert Workers.load().names() == ["local"]
    with pytest.raises(ApiProblem, match="unknown_worker"):
        api.remove_worker("gpu1")
    with pytest.raises(ApiProblem, match="config_error"):
        api.remove_worker("local")


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("gpu1", {}, "usage_error"),
        ("gpu1", {"host": "a b"}, "config_error"),
        ("Bad Name", {"host": "h"}, "config_error"),
        ("gpu1", {"host": "h", "transport": "pigeon"}, "config_error"),
        ("gpu1", {"host": "h", "colour": "red"}, "invalid_request"),
        ("gpu1", {"host": ["h"]}, "invalid_request"),
    ],
)
def test_a_wrong_worker_is_refused_and_nothing_is_written(
    api: Api, folder: Path, name: str, said: dict[str, object], code: str
) -> None:
    with pytest.raises(ApiProblem, match=code):
        api.add_worker(name, **said)
    assert Workers.load().names() == ["local"]


def test_the_doctor_goes_through_a_worker(api: Api) -> None:
    found = api.test_worker("local")
    assert found.ok, found
    steps = {each.step: each for each in found.steps}
    assert {"connection", "shell", "Python", "folder", "machine"} <= set(steps)
    assert all(each.verdict in ("good", "odd") for each in found.steps)
    (local,) = api.workers(look="all")
    assert local.reachable
    assert local.version


def test_a_look_at_those_that_were_met_knocks_at_no_other(api: Api, folder: Path) -> None:
    api.add_worker("off1", host=f"127.0.0.1:{free_port()}")
    local, off = api.workers(look="met")
    assert local.reachable
    assert (off.reachable, off.trouble) == (None, None)


def test_a_worker_that_is_off_is_told_step_by_step(api: Api, folder: Path) -> None:
    api.add_worker("off1", host=f"127.0.0.1:{free_port()}")
    found = api.test_worker("off1")
    assert not found.ok
    last = found.steps[-1]
    assert (last.step, last.verdict) == ("port", "bad")
    assert "sshd" in last.advice
    (_, off) = api.workers(look="all")
    assert off.reachable is False
    assert off.trouble


def test_a_host_key_is_accepted_only_after_it_was_shown(api: Api, folder: Path, sshd: Sshd) -> None:
    named(folder, sshd, "gpu2", known=False)
    api.add_worker("gpu2", host="gpu2")
    with pytest.raises(ApiProblem, match="not_shown") as caught:
        api.accept_key("gpu2", sshd.fingerprint)
    assert caught.value.status == 409
    shown = api.host_key("gpu2")
    assert (shown.known, shown.fingerprint) == (False, sshd.fingerprint)
    assert (shown.kind, shown.host) == ("ssh-ed25519", f"[127.0.0.1]:{sshd.port}")
    with pytest.raises(ApiProblem, match="not_shown"):
        api.accept_key("gpu2", "SHA256:" + "A" * 43)
    assert not known_hosts_file().exists()
    after = api.accept_key("gpu2", shown.fingerprint)
    assert after.known
    assert known_hosts_file().read_text() == sshd.known_hosts_line
    assert api.host_key("gpu2").known
    assert api.test_worker("gpu2").steps[2].step == "key"
    with pytest.raises(ApiProblem, match="usage_error"):
        api.host_key("local")


@pytest.fixture
def locked(folder: Path, sshd: Sshd, api: Api) -> str:
    """A worker whose key has a passphrase."""
    named(folder, sshd, "gpu3", known=True)
    key = folder / "locked"
    for suffix in ("", ".pub"):
        shutil.copy(f"{sshd.identity}{suffix}", f"{key}{suffix}")
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", str(key)],
        check=True,
        capture_output=True,
    )
    config = folder / "config"
    config.write_text(config.read_text().replace(str(sshd.identity), str(key)))
    api.add_worker("gpu3", host="gpu3", dir=str(folder / "worker"))
    return "gpu3"


def test_a_login_is_typed_in_a_browser_and_stands_nowhere(
    server: Server, api: Api, locked: str, place: Path
) -> None:
    assert api.test_worker(locked).steps[-1].figure == "needed"
    first = api.log_in(locked)
    assert (first.done, first.kind) == (False, "secret")
    assert "passphrase" in first.prompt
    done = api.log_in(locked, first.talk, PASSPHRASE)
    assert done.done
    assert not done.already
    assert api.test_worker(locked).ok
    again = api.log_in(locked)
    assert (again.done, again.already) == (True, True)
    for file in (place / "home").rglob("*"):
        if file.is_file():
            assert PASSPHRASE.encode() not in file.read_bytes(), file
    assert PASSPHRASE not in server.log.read_text()


def test_a_login_that_is_given_up_is_over(api: Api, locked: str) -> None:
    first = api.log_in(locked)
    with pytest.raises(ApiProblem) as caught:
        api.log_in(locked, first.talk, None)
    assert caught.value.status == 409
    assert caught.value.problem.code in ("login_failed", "login_needed")
    with pytest.raises(ApiProblem, match="login_over"):
        api.log_in(locked, first.talk, PASSPHRASE)
    with pytest.raises(ApiProblem, match="login_over"):
        api.log_in(locked, "never-begun", PASSPHRASE)
    with pytest.raises(ApiProblem, match="usage_error"):
        api.log_in("local")


async def asks_once(worker: Worker, ask: Callable[[Question], Awaitable[str | None]]) -> bool:
    """Log in as the `ssh` program does, with one question after a remark."""
    try:
        await ask(Question("Welcome.", "notice"))
        if await ask(Question("Password: ")) != PASSPHRASE:
            raise LoginFailed("That is not it.")
    finally:
        ended.append(worker.name)
    return True


ended: list[str] = []


@pytest.mark.anyio
async def test_a_login_that_nobody_answers_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talks, "PATIENCE", 0.05)
    ended.clear()
    done: list[str] = []
    desk = talks.Talks(done.append, asks_once)
    worker = Worker("gpu1", "gpu1")
    first = await desk.begin(worker)
    assert (first.prompt, first.kind, first.notices) == ("Password: ", "secret", ["Welcome."])
    async with asyncio.timeout(30):
        while not ended:
            await asyncio.sleep(0.01)
    with pytest.raises(ApiError, match="over"):
        await desk.go_on(worker, first.talk, PASSPHRASE)
    assert done == []


@pytest.mark.anyio
async def test_an_answer_counts_for_its_own_login_alone() -> None:
    done: list[str] = []
    desk = talks.Talks(done.append, asks_once)
    one, two = Worker("gpu1", "gpu1"), Worker("gpu2", "gpu2")
    first, second = await desk.begin(one), await desk.begin(two)
    assert first.talk != second.talk
    with pytest.raises(ApiError, match="over"):
        await desk.go_on(one, second.talk, PASSPHRASE)
    assert (await desk.go_on(one, first.talk, PASSPHRASE)).done
    assert done == ["gpu1"]
    with pytest.raises(LoginFailed):
        await desk.go_on(two, second.talk, "wrong")
    with pytest.raises(ApiError, match="over"):
        await desk.go_on(two, second.talk, PASSPHRASE)
    assert done == ["gpu1"]
