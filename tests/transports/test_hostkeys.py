"""The host key is always checked: unknown, changed, accepted, hashed, certified, revoked."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker, known_hosts_file
from chutes_jupyter.errors import (
    ChangedHostKey,
    HostKeyError,
    LoginFailed,
    UnknownHostKey,
)
from chutes_jupyter.transports import accept_host_key, hostkeys, transport_for
from tests.sshd import Sshd, fingerprint, known_hosts_line, make_key

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[Sshd]:
    """An sshd that this test may change."""
    server = Sshd.start()
    yield server
    server.remove()


@pytest.fixture
def worker(server: Sshd, home: Path) -> Worker:
    """A worker whose host is in no known hosts file."""
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "config").write_text(server.config("gpu1", home / ".ssh" / "known_hosts"))
    return Worker("gpu1", host="gpu1")


def know(home: Path, text: str) -> None:
    (home / ".ssh" / "known_hosts").write_text(text)


async def connects(worker: Worker) -> bool:
    connection = await transport_for(worker).connect()
    process = await connection.start("echo reached")
    answer = await process.read(100)
    await connection.aclose()
    return answer == b"reached\n"


def assert_nothing_was_sent(server: Sshd) -> None:
    assert "Accepted" not in server.log
    assert "Postponed" not in server.log


async def test_an_unknown_host_fails_with_its_fingerprint(worker: Worker, server: Sshd) -> None:
    with pytest.raises(UnknownHostKey) as caught:
        await connects(worker)
    message = str(caught.value)
    assert caught.value.fingerprint == server.fingerprint
    assert server.fingerprint in message
    assert "ssh-ed25519" in message
    accept = f"worker add gpu1 gpu1 --accept-key {server.fingerprint}"
    assert f"jupyter chute {accept}" in message
    assert f"%chute {accept}" in message
    assert_nothing_was_sent(server)
    assert not known_hosts_file().exists()


async def test_accepting_it_is_enough_and_stays(worker: Worker, server: Sshd) -> None:
    await accept_host_key(worker, server.fingerprint)
    assert known_hosts_file().read_text() == server.known_hosts_line
    assert known_hosts_file().stat().st_mode & 0o777 == 0o600
    assert await connects(worker)
    # Once more does no harm, and writes nothing.
    await accept_host_key(worker, server.fingerprint)
    assert known_hosts_file().read_text() == server.known_hosts_line


async def test_accepting_keeps_what_was_there(worker: Worker, server: Sshd) -> None:
    known_hosts_file().write_text("# mine, without a line end")
    await accept_host_key(worker, server.fingerprint + "=")
    lines = known_hosts_file().read_text().splitlines()
    assert lines == ["# mine, without a line end", server.known_hosts_line.strip()]


async def test_another_fingerprint_accepts_nothing(worker: Worker, server: Sshd) -> None:
    with pytest.raises(HostKeyError, match="nothing was accepted") as caught:
        await accept_host_key(worker, "SHA256:" + "A" * 43)
    assert server.fingerprint in str(caught.value)
    assert not known_hosts_file().exists()
    with pytest.raises(UnknownHostKey):
        await connects(worker)


async def test_another_fingerprint_than_that_on_record_is_told(
    worker: Worker, server: Sshd
) -> None:
    await accept_host_key(worker, server.fingerprint)
    with pytest.raises(HostKeyError, match="that is on record is") as caught:
        await accept_host_key(worker, "SHA256:" + "A" * 43)
    assert server.fingerprint in str(caught.value)


async def test_a_key_can_be_accepted_where_the_login_fails(
    worker: Worker, server: Sshd, home: Path
) -> None:
    (server.folder / "authorized_keys").write_text("")
    await accept_host_key(worker, server.fingerprint)
    with pytest.raises(LoginFailed):
        await connects(worker)
    await accept_host_key(worker, server.fingerprint)


async def test_a_changed_key_fails_and_says_so(worker: Worker, server: Sshd, home: Path) -> None:
    know(home, "# a comment\n" + server.known_hosts_line)
    assert await connects(worker)
    old = server.fingerprint
    server.renew_host_key()
    (server.folder / "sshd.log").write_text("")
    with pytest.raises(ChangedHostKey) as caught:
        await connects(worker)
    message = str(caught.value)
    assert caught.value.fingerprint == server.fingerprint != old
    assert old in message
    assert server.fingerprint in message
    assert f"{home}/.ssh/known_hosts line 2" in message
    assert "CHANGED" in message
    assert_nothing_was_sent(server)
    # It can't be accepted in passing.
    with pytest.raises(ChangedHostKey):
        await accept_host_key(worker, server.fingerprint)
    # The command that the message gives does what it says.
    command = re.search(r"ssh-keygen -R .*", message)
    assert command is not None
    subprocess.run(command[0], shell=True, check=True, capture_output=True)
    with pytest.raises(UnknownHostKey):
        await connects(worker)
    await accept_host_key(worker, server.fingerprint)
    assert await connects(worker)


async def test_a_key_of_another_kind_than_recorded_is_a_changed_key(
    worker: Worker, server: Sshd, home: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other", "ecdsa")
    know(home, known_hosts_line(server.port, other))
    with pytest.raises(ChangedHostKey) as caught:
        await connects(worker)
    assert fingerprint(other) in str(caught.value)
    assert server.fingerprint in str(caught.value)
    for meaning in ("set up anew", "belongs to another machine now", "stands between you and it"):
        assert meaning in str(caught.value)


async def test_of_several_keys_the_recorded_kind_is_used(home: Path) -> None:
    server = Sshd.start(host_key_kinds=("ed25519", "ecdsa", "rsa"))
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(server.config("gpu1", home / ".ssh" / "known_hosts"))
    worker = Worker("gpu1", host="gpu1")
    try:
        for kind in ("rsa", "ecdsa", "ed25519"):
            know(home, known_hosts_line(server.port, server.host_key(kind)))
            assert await connects(worker)
    finally:
        server.remove()


async def test_ssh_config_can_not_switch_the_check_off(
    worker: Worker, server: Sshd, home: Path
) -> None:
    with (home / ".ssh" / "config").open("a") as file:
        file.write("Host *\n    StrictHostKeyChecking no\n    CheckHostIP no\n")
    for value in ("/dev/null", "none"):
        config = home / ".ssh" / "config"
        known = f"UserKnownHostsFile {value}"
        config.write_text(re.sub(r"UserKnownHostsFile \S+", known, config.read_text()))
        with pytest.raises(UnknownHostKey):
            await connects(worker)


async def test_hashed_names_are_understood(worker: Worker, server: Sshd, home: Path) -> None:
    know(home, server.known_hosts_line)
    known = home / ".ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    assert await connects(worker)


async def test_a_key_for_the_address_alone_confirms_but_never_accuses(
    worker: Worker, server: Sshd, home: Path, tmp_path: Path
) -> None:
    know(home, server.known_hosts_line.replace(f"[127.0.0.1]:{server.port}", "127.0.0.1"))
    assert await connects(worker)
    # Another machine behind the same address, on port 22: this port is unknown, not changed.
    other = make_key(tmp_path / "other")
    know(home, known_hosts_line(22, other).replace("[127.0.0.1]:22", "127.0.0.1"))
    with pytest.raises(UnknownHostKey):
        await connects(worker)


async def test_an_alias_stands_for_host_and_port(worker: Worker, server: Sshd, home: Path) -> None:
    with (home / ".ssh" / "config").open("a") as file:
        file.write("Host gpu1\n    HostKeyAlias farm\n")
    know(home, server.known_hosts_line)
    with pytest.raises(UnknownHostKey, match="The host farm "):
        await connects(worker)
    know(home, server.known_hosts_line.replace(f"[127.0.0.1]:{server.port}", "farm"))
    assert await connects(worker)


async def test_a_revoked_key_is_refused(worker: Worker, server: Sshd, home: Path) -> None:
    know(home, f"@revoked * {server.known_hosts_line.split(' ', 1)[1]}{server.known_hosts_line}")
    with pytest.raises(HostKeyError, match="revoked"):
        await connects(worker)
    assert_nothing_was_sent(server)


@pytest.fixture
def authority(server: Sshd, tmp_path: Path) -> Path:
    """A certificate authority that vouches for the server's key."""
    key = make_key(tmp_path / "authority")
    host_key = f"{server.host_key()}.pub"
    command = ["ssh-keygen", "-q", "-s", str(key), "-I", "it", "-h", "-n", "127.0.0.1", host_key]
    subprocess.run(command, check=True)
    server.stop()
    server.extra += f"HostCertificate {server.host_key()}-cert.pub\n"
    server.run()
    return key


async def test_an_authority_vouches(
    worker: Worker, server: Sshd, authority: Path, home: Path
) -> None:
    public = Path(f"{authority}.pub").read_text()
    know(home, f"@cert-authority 127.0.0.* {public}")
    assert await connects(worker)
    know(home, f"@cert-authority !127.0.0.1,127.0.0.* {public}")
    with pytest.raises(UnknownHostKey):
        await connects(worker)


async def test_with_an_unknown_authority_the_key_itself_counts(
    worker: Worker, server: Sshd, authority: Path, home: Path
) -> None:
    with pytest.raises(UnknownHostKey) as caught:
        await connects(worker)
    assert caught.value.fingerprint == server.fingerprint
    await accept_host_key(worker, server.fingerprint)
    assert await connects(worker)


async def test_a_certificate_of_another_authority_is_refused_in_words(
    worker: Worker, server: Sshd, authority: Path, home: Path, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    know(home, f"@cert-authority * {Path(f'{other}.pub').read_text()}")
    with pytest.raises(UnknownHostKey) as caught:
        await connects(worker)
    message = str(caught.value)
    assert f"Its certificate is signed by the authority {fingerprint(authority)}" in message
    assert f"as @cert-authority is {fingerprint(other)} ({home}/.ssh/known_hosts line 1)" in message
    assert (caught.value.fingerprint, caught.value.kind) == (server.fingerprint, "ssh-ed25519")
    know(home, "")
    with pytest.raises(UnknownHostKey, match="no @cert-authority is on record for this host"):
        await connects(worker)
    assert_nothing_was_sent(server)


async def test_an_authority_in_a_hashed_file_vouches(
    worker: Worker, server: Sshd, authority: Path, home: Path
) -> None:
    kind, blob = Path(f"{authority}.pub").read_text().split()[:2]
    know(home, f"[127.0.0.1]:{server.port} {kind} {blob}\n")
    known = home / ".ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    know(home, f"@cert-authority {known.read_text()}")
    assert await connects(worker)


async def test_a_revoked_authority_is_refused_whatever_else_the_host_shows(
    worker: Worker, server: Sshd, authority: Path, home: Path
) -> None:
    public = Path(f"{authority}.pub").read_text()
    know(home, f"@cert-authority * {public}@revoked * {public}")
    with pytest.raises(HostKeyError, match="revoked") as caught:
        await connects(worker)
    assert not isinstance(caught.value, UnknownHostKey)
    assert_nothing_was_sent(server)


async def test_an_authority_for_other_names_does_not_vouch(
    worker: Worker, server: Sshd, authority: Path, home: Path
) -> None:
    host_key = f"{server.host_key()}.pub"
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "it", "-h", "-n", "elsewhere"]
    subprocess.run([*command, host_key], check=True)
    server.stop()
    server.run()
    know(home, f"@cert-authority * {Path(f'{authority}.pub').read_text()}")
    with pytest.raises(UnknownHostKey, match=r"Its certificate does not vouch for it: .*principal"):
        await connects(worker)
    assert_nothing_was_sent(server)


LINES = [
    ("gpu1", "gpu1", True),
    ("GPU1", "gpu1", True),
    ("gpu1,gpu2", "gpu2", True),
    ("gpu?", "gpu2", True),
    ("gpu*", "gpu2.example.org", True),
    ("*.example.org", "example.org", False),
    ("*,!gpu1", "gpu1", False),
    ("!gpu1,*", "gpu2", True),
    ("[gpu1]:2222", "[gpu1]:2222", True),
    ("[gpu1]:2222", "gpu1", False),
    ("[gpu1]:*", "[gpu1]:2222", True),
    ("gpu.", "gpu1", False),
    ("[a-z]*", "gpu1", False),
    ("|1|AAAA|BBBB", "gpu1", False),
    ("|1|nonsense", "gpu1", False),
]


@pytest.mark.parametrize(("patterns", "name", "expected"), LINES)
def test_names_are_matched_as_ssh_does(
    patterns: str, name: str, expected: bool, tmp_path: Path, sshd: Sshd
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{patterns} {sshd.known_hosts_line.split(' ', 1)[1]}")
    # The judge: OpenSSH's own lookup.
    found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True)
    if not patterns.startswith("|"):
        assert (found.returncode == 0) is expected
    host, _, port = name.strip("[").partition("]:")
    record = hostkeys.read_record([file], host, int(port or 22))
    assert bool(record.own) is expected


def test_broken_lines_vouch_for_nobody(tmp_path: Path, sshd: Sshd) -> None:
    file = tmp_path / "known_hosts"
    good = sshd.known_hosts_line
    key = good.strip().split(" ", 1)[1]
    broken = ["", "one", "# x y z", "@", "@unknown * " + key, "h ssh-ed25519 ***", "\xff\xfe a b c"]
    file.write_bytes("\n".join([*broken, good]).encode("latin-1"))
    record = hostkeys.read_record([tmp_path / "none", tmp_path, file], "127.0.0.1", sshd.port)
    assert [entry.line for entry in record.own] == [len(broken) + 1]
    assert record.own[0].key.fingerprint == sshd.fingerprint


def test_no_module_switches_the_check_off() -> None:
    # None is asyncssh's word for it.
    folder = Path(hostkeys.__file__).parent
    for file in folder.glob("*.py"):
        assert not re.search(r"known_hosts\W{1,4}None", file.read_text())
