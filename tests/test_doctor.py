"""`worker test`: every step a line with a tick and a figure, and for a failure what to do."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.commands.doctor import place, speed, way
from chutes_jupyter.commands.doctor.report import Report
from chutes_jupyter.config import Worker, Workers, known_hosts_file
from chutes_jupyter.errors import ChangedHostKey, HostKeyError, UnknownHostKey, WorkerError
from chutes_jupyter.replies import Checkup
from chutes_jupyter.transports import transport_for
from tests.conftest import add_to_ssh_config
from tests.freeport import free_port
from tests.sshd import Sshd, User, account
from tests.transports.proxy import Proxy

STEPS = [
    "shell", "Python", "interpreter", "folder", "locks", "logout", "machine", "GPUs", "clock",
    "round trip", "throughput",
]  # fmt: skip
ON_THE_WAY = ["name", "port", "key", "login"]


class Found:
    """What a test showed, by its steps."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: dict[str, tuple[str, str]] = {}
        step = ""
        for line in text.splitlines():
            if head := re.fullmatch(r"(✓|!|✗|ok  |FAIL|!   ) (.{13})(.*)", line):
                step = head[2].strip()
                self.steps[step] = (head[1].strip(), head[3])
            elif line.startswith(" "):
                sign, said = self.steps[step]
                self.steps[step] = (sign, f"{said}\n{line.strip()}")

    @property
    def failed(self) -> list[str]:
        return [step for step, (sign, _) in self.steps.items() if sign in ("✗", "FAIL")]

    def __getitem__(self, step: str) -> str:
        return " ".join(self.steps[step][1].split())

    def sign(self, step: str) -> str:
        return self.steps[step][0]


class Doctor:
    """Runs `worker test` as a terminal would."""

    def __init__(self) -> None:
        self.error: WorkerError | None = None

    def __call__(self, *words: str, signs: bool = True) -> Found:
        said: list[str] = []
        self.error = None
        try:
            execute(["worker", "test", *words], Surroundings(said.append, signs=signs))
        except WorkerError as error:
            self.error = error
        return Found("".join(said))


@pytest.fixture
def doctor(home: Path) -> Doctor:
    return Doctor()


@pytest.fixture
def odd(home: Path) -> Iterator[Callable[..., Sshd]]:
    """Starts an sshd that is known as `odd1`, with programs of its own before all others."""
    running: list[Sshd] = []

    def start(*, user: str | None = None, python: str | None = None, extra: str = "") -> Sshd:
        server = Sshd.start(user=user, extra=extra)
        running.append(server)
        if python is not None:
            folder = server.folder / "bin"
            folder.mkdir()
            program = folder / "python3"
            program.write_text(python)
            program.chmod(0o755)
            server.stop()
            server.env["PATH"] = f"{folder}:/usr/bin:/bin"
            server.run()
        add_to_ssh_config(home, server, "odd1")
        return server

    yield start
    for server in running:
        server.remove()


def add(worker: Worker) -> None:
    Workers.load().add(worker)


# -- what is well


def test_a_sound_worker_passes_every_step(doctor: Doctor, any_worker: Worker) -> None:
    add(any_worker)
    found = doctor(any_worker.name)
    assert doctor.error is None
    assert list(found.steps) == [*(ON_THE_WAY if any_worker.host else ["connection"]), *STEPS]
    assert {found.sign(step) for step in found.steps} == {"✓"}
    assert found.text.splitlines()[-1] == f"Worker {any_worker.name} can take jobs."
    assert re.search(r"3\.\d+\.\d+ \(/.*\), the agent was ready in [\d.]+ m?s", found["Python"])
    assert found["interpreter"].startswith("Python 3.")
    assert (any_worker.dir or "") in found["folder"]
    assert re.search(r"[\d.]+ [kMGT]B of [\d.]+ [kMGT]B free, writable", found["folder"])
    assert found["machine"].startswith(f"{socket.gethostname()}: ")
    assert re.fullmatch(r"[\d.]+ ms (ahead of|behind) ours \(±[\d.]+ ms\)", found["clock"])
    assert re.fullmatch(r"[\d.]+ ms, the median of 20", found["round trip"])
    assert re.fullmatch(r"[\d.]+ MB/s there, [\d.]+ MB/s back", found["throughput"])
    if any_worker.host:
        assert re.fullmatch(r"\d+ is open, after [\d.]+ m?s", found["port"])
        assert re.fullmatch(r"ssh-ed25519 SHA256:\S{43}", found["key"])
        assert re.fullmatch(r"as \S+ with a key, OpenSSH_\S+", found["login"])
    # Nothing of the doctor's own stays.
    folder = Path(any_worker.dir or "")
    assert not [path for path in folder.iterdir() if path.name.startswith(".check")]


def test_one_session_a_connection_is_enough(
    doctor: Doctor, odd: Callable[..., Sshd], tmp_path: Path
) -> None:
    odd(extra="MaxSessions 1")
    add(Worker("odd1", host="odd1", dir=str(tmp_path / "w")))
    assert doctor("odd1").failed == []


def test_behind_a_jump_host_both_keys_are_shown(
    doctor: Doctor, odd: Callable[..., Sshd], home: Path, sshd: Sshd, tmp_path: Path
) -> None:
    inner = odd()
    add_to_ssh_config(home, sshd, "gate")
    add_to_ssh_config(home, inner, "behind", "ProxyJump gate")
    add(Worker("odd1", host="behind", dir=str(tmp_path / "w")))
    found = doctor("odd1")
    assert "gate → 127.0.0.1, a jump host on the way to behind → 127.0.0.1" in found["name"]
    assert found["port"].startswith(f"{sshd.port} is open")
    assert f"{sshd.fingerprint} (gate)" in found.text
    assert f"{inner.fingerprint} (behind)" in found.text
    assert found.failed == []


def test_without_signs_everything_is_ascii(doctor: Doctor, ssh_worker: Worker) -> None:
    add(ssh_worker)
    found = doctor("gpu1", signs=False)
    assert found.text.isascii()
    assert {found.sign(step) for step in found.steps} == {"ok"}
    assert "gpu1 -> 127.0.0.1" in found["name"]


def test_a_stream_that_is_ascii_gets_ascii_and_the_status_tells(home: Path, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "jupyter-chute"
    for folder, status in ((tmp_path / "w", 0), (Path("/dev/null/w"), 1)):
        add(Worker("local", dir=str(folder)))
        done = subprocess.run(
            [program, "worker", "test", "local"],
            capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        assert done.returncode == status, done
        assert done.stdout.decode("ascii").startswith("ok   connection")
        assert (b"FAIL folder" in done.stdout) is bool(status)


# -- on the way there


def test_a_name_that_leads_nowhere(doctor: Doctor, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host gpu1\n  HostName no-such-host.invalid\n")
    add(Worker("gpu1", host="gpu1"))
    found = doctor("gpu1")
    assert list(found.steps) == found.failed == ["name"]
    assert "gpu1 → no-such-host.invalid can't be resolved" in found["name"]
    assert "HostName" in found["name"]
    assert str(doctor.error) == "Worker gpu1 can't take jobs as it is: see name above."


def test_a_port_where_nothing_listens(doctor: Doctor) -> None:
    port = free_port()
    add(Worker("gone", host=f"me@127.0.0.1:{port}"))
    found = doctor("gone")
    assert (list(found.steps), found.failed) == (["name", "port"], ["port"])
    assert f"{port} is closed: nothing listens there" in found["port"]
    assert "Is sshd running there" in found["port"]


def test_settings_that_can_not_be_used(doctor: Doctor, home: Path) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host gpu1\n  ConnectTimeout soon\n")
    add(Worker("gpu1", host="gpu1"))
    found = doctor("gpu1")
    assert found.failed == ["name"]
    assert "ConnectTimeout" in found["name"]


def login_without_key(home: Path, server: Sshd) -> None:
    """Let ssh log in to the server as `gpu1`; its host key stays unknown."""
    add_to_ssh_config(home, server, "gpu1")
    (home / ".ssh" / "known_hosts_gpu1").unlink()


def test_an_unknown_key_is_accepted_with_the_command_that_is_shown(
    doctor: Doctor, home: Path, sshd: Sshd, tmp_path: Path
) -> None:
    login_without_key(home, sshd)
    add(Worker("gpu1", host="gpu1", dir=str(tmp_path / "w")))
    found = doctor("gpu1")
    assert (list(found.steps), found.failed) == (["name", "port", "key"], ["key"])
    assert sshd.fingerprint in found["key"]
    [command] = [
        line for line in found.text.splitlines() if line.strip().startswith("jupyter chute")
    ]
    said: list[str] = []
    execute(command.split()[2:], Surroundings(said.append))
    assert f"The key {sshd.fingerprint} of gpu1 is accepted." in "".join(said)
    assert known_hosts_file().stat().st_mode & 0o777 == 0o600
    assert not (home / ".ssh" / "known_hosts").exists()
    assert doctor("gpu1").failed == []


def test_testing_can_accept_the_key_itself(
    doctor: Doctor, home: Path, sshd: Sshd, tmp_path: Path
) -> None:
    login_without_key(home, sshd)
    add(Worker("gpu1", host="gpu1", dir=str(tmp_path / "w")))
    assert doctor("gpu1", "--accept-key", sshd.fingerprint).failed == []


def test_another_fingerprint_is_not_accepted(home: Path, sshd: Sshd) -> None:
    login_without_key(home, sshd)
    words = ["worker", "add", "gpu1", "gpu1", "--accept-key", "SHA256:" + "A" * 43]
    with pytest.raises(HostKeyError) as caught:
        execute(words, Surroundings(lambda _text: None))
    assert not isinstance(caught.value, ChangedHostKey | UnknownHostKey)
    assert Workers.load().names() == ["local"]
    assert not known_hosts_file().exists()


def test_a_changed_key(doctor: Doctor, ssh_worker: Worker, home: Path, sshd: Sshd) -> None:
    known = home / ".ssh" / "known_hosts_gpu1"
    known.write_text(
        known.read_text().replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAJ")
    )
    add(ssh_worker)
    found = doctor("gpu1")
    assert found.failed == ["key"]
    assert f"that of [127.0.0.1]:{sshd.port} has CHANGED" in found["key"]


def test_a_refused_login_says_that_the_host_key_was_right(
    doctor: Doctor, home: Path, ssh_worker: Worker
) -> None:
    config = home / ".ssh" / "config"
    lines = [line for line in config.read_text().splitlines() if "IdentityFile" not in line]
    config.write_text("\n".join(lines) + "\n")
    add(ssh_worker)
    found = doctor("gpu1")
    assert (found.sign("key"), found["key"]) == ("✓", "as on record")
    assert found.failed == ["login"]
    assert "ssh-copy-id" in found["login"]


# -- the shell

NOISE = "echo Welcome to the machine\n"
SHELLS = [
    ("bash", ".bashrc", "[ -t 1 ] || return\n" + NOISE),
    ("zsh", ".zshenv", "[ -t 1 ] || return\n" + NOISE),
    ("fish", ".config/fish/config.fish", f"if status is-interactive\n{NOISE}end\n"),
    ("tcsh", ".tcshrc", "if ( ! $?prompt ) exit\n" + NOISE),
]


@pytest.fixture(scope="module")
def talker() -> Iterator[User]:
    user = User.create()
    yield user
    user.remove()


@pytest.mark.anyio
@pytest.mark.parametrize(("shell", "file", "quiet"), SHELLS, ids=[each[0] for each in SHELLS])
async def test_what_a_shell_prints_is_shown_and_the_advice_makes_it_quiet(
    odd: Callable[..., Sshd], talker: User, shell: str, file: str, quiet: str
) -> None:
    program = shutil.which(shell)
    assert program, f"scripts/system installs {shell}"
    account("usermod", "--shell", program, talker.name)
    odd(user=talker.name)
    path = talker.home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for text in (NOISE, quiet):
        path.write_text(text)
        said: list[str] = []
        connection = await transport_for(Worker("odd1", host="odd1")).connect()
        await way.try_shell(connection, Report(Surroundings(said.append)))
        await connection.aclose()
        found.append(Found("".join(said)))
    loud, silent = found
    assert loud.sign("shell") == "!"
    assert f"{shell} prints 23 bytes before each command: Welcome to the machine" in loud["shell"]
    for line in quiet.replace(NOISE, "").splitlines():
        assert line in loud["shell"]
    assert silent.sign("shell") == "✓"
    assert f"{shell} prints nothing by itself" in silent["shell"]


def test_an_account_without_a_shell(doctor: Doctor, odd: Callable[..., Sshd], talker: User) -> None:
    account("usermod", "--shell", "/usr/sbin/nologin", talker.name)
    odd(user=talker.name)
    add(Worker("odd1", host="odd1"))
    found = doctor("odd1")
    assert found.failed == ["shell", "agent"]
    assert "This account is currently not available" in found["shell"]


@pytest.mark.parametrize(("took", "sign"), [(0.1, "✓"), (3.1, "!")])
def test_a_slow_shell_is_told(took: float, sign: str) -> None:
    said: list[str] = []
    way._judge_shell(b"chutes-shell:/bin/bash\n", took, "", Report(Surroundings(said.append)))
    assert Found("".join(said)).sign("shell") == sign


# -- what is there


def test_an_interpreter_that_is_not_there_hides_nothing_else(
    doctor: Doctor, ssh_worker: Worker
) -> None:
    add(Worker("gpu1", ssh_worker.host, "/nowhere/python", {}, ssh_worker.dir))
    found = doctor("gpu1")
    assert found.failed == ["interpreter"]
    assert "/nowhere/python can't be started" in found["interpreter"]
    assert "jupyter chute worker add gpu1 --python PATH" in found["interpreter"]
    assert set(found.steps) == {*ON_THE_WAY, *STEPS}


def test_no_python(doctor: Doctor, odd: Callable[..., Sshd], tmp_path: Path) -> None:
    odd(extra="ForceCommand /bin/sh -c 'exit 94'")
    add(Worker("odd1", host="odd1", dir=str(tmp_path / "w")))
    found = doctor("odd1")
    assert found.failed == ["shell", "Python"]
    assert "apt install python3" in found["Python"]


def test_a_folder_that_can_not_be_written(doctor: Doctor, ssh_worker: Worker) -> None:
    add(Worker("gpu1", ssh_worker.host, dir="/dev/null/w"))
    found = doctor("gpu1")
    assert found.failed == ["folder"]
    assert "worker add gpu1 --dir PATH" in found["folder"]


#: A python3 that goes on as the real one, without some calls: lockf ends with a number.
CONFINED = """#!/usr/bin/python3
import ctypes, os, struct, sys
answer, fcntl = {answer}, {fcntl}
code = [(0x20, 0, 0, 0), (0x15, 0, 4, fcntl), (0x20, 0, 0, 24), (0x15, 1, 0, 6),
        (0x15, 0, 1, 7), (0x06, 0, 0, 0x00050000 | answer), (0x06, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
class Filter(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
filter = Filter(len(code), ctypes.addressof(program))
if libc.prctl(22, 2, ctypes.byref(filter), 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("answer", "fault"),
    [(errno.ENOLCK, "No locks available"), (0, "two processes get the same lock")],
    ids=["a disk without locks", "a disk that gives one lock to all"],
)
def test_file_locks_that_do_not_work(
    doctor: Doctor, odd: Callable[..., Sshd], tmp_path: Path, answer: int, fault: str
) -> None:
    fcntl = {"x86_64": 72, "aarch64": 25}[platform.machine()]
    odd(python=CONFINED.format(answer=answer, fcntl=fcntl))
    add(Worker("odd1", host="odd1", dir=str(tmp_path / "w")))
    found = doctor("odd1")
    assert found.failed == ["locks"]
    assert fault in found["locks"]
    assert "worker add odd1 --dir PATH" in found["locks"]
    assert found.sign("throughput") == "✓"


#: A python3 whose clock is some seconds slow.
SLOW = """#!/bin/sh
exec /usr/bin/python3 "$1" "$2" "$3" "import time; now = time.time
time.time = lambda: now() - {seconds}
$4" "$5"
"""


@pytest.mark.parametrize(("seconds", "sign"), [(2.0, "✓"), (90.0, "!")])
def test_a_clock_that_differs(
    doctor: Doctor, odd: Callable[..., Sshd], tmp_path: Path, seconds: float, sign: str
) -> None:
    odd(python=SLOW.format(seconds=seconds))
    add(Worker("odd1", host="odd1", dir=str(tmp_path / "w")))
    found = doctor("odd1")
    assert found.failed == []
    assert found.sign("clock") == sign
    assert found["clock"].startswith(f"{seconds:.1f} s behind ours")
    assert ("timedatectl" in found["clock"]) is (sign == "!")


def checkup(**changes: object) -> Checkup:
    fields = {
        "path": "/scratch", "free": 10**12, "total": 2 * 10**12, "files_free": None,
        "kind": "nfs4", "write_fault": None, "lock_fault": None, **changes,
    }  # fmt: skip
    return Checkup.model_validate(fields)


@pytest.mark.parametrize(
    ("changes", "sign", "words"),
    [
        ({}, "✓", "/scratch (nfs4), 1.0 TB of 2.0 TB free, writable"),
        ({"kind": None}, "✓", "/scratch, 1.0 TB"),
        ({"free": 4 * 10**9}, "!", "4.0 GB of 2.0 TB free"),
        ({"files_free": 12}, "!", "only for 12 more files"),
        ({"write_fault": "Read-only file system"}, "✗", "/scratch (nfs4): Read-only file system"),
    ],
)
def test_the_folder_is_judged(changes: dict[str, object], sign: str, words: str) -> None:
    said: list[str] = []
    report = Report(Surroundings(said.append))
    place._say_folder(checkup(**changes), Worker("gpu1", host="h"), report)
    found = Found("".join(said))
    assert (found.sign("folder"), words in found["folder"]) == (sign, True)
    assert ("worker add gpu1 --dir PATH" in found["folder"]) is (sign != "✓")


def test_what_a_stranger_says_moves_no_cursor() -> None:
    said: list[str] = []
    report = Report(Surroundings(said.append))
    report.bad("shell", "\x1b[2Jgone\nnext", "do \x1b]0;title\x07this\n    command --stays")
    assert said == [
        "✗ shell        gone next\n",
        " " * 15 + "do this\n",
        " " * 15 + "    command --stays\n",
    ]


#: A python3 after whose start nobody can log in any more.
LAST = """#!/bin/sh
: >"$(dirname "$0")/../authorized_keys"
exec /usr/bin/python3 "$@"
"""


def test_a_second_connection_that_is_refused(
    doctor: Doctor, odd: Callable[..., Sshd], tmp_path: Path
) -> None:
    odd(python=LAST)
    add(Worker("odd1", host="odd1", dir=str(tmp_path / "w")))
    found = doctor("odd1")
    assert found.failed == ["throughput"]
    assert "a second connection, which outputs need" in found["throughput"]
    assert found.sign("round trip") == "✓"


@pytest.mark.parametrize("begin", [0.0, 0.1, 0.19])
def test_a_piece_that_was_on_its_way_already_does_not_make_a_rate_larger(begin: float) -> None:
    arrived = [(begin + 0.25 * number, 1000) for number in range(1 if begin == 0 else 0, 8)]
    assert speed._speed(arrived) == pytest.approx(4000, rel=0.01)


@pytest.mark.anyio
async def test_a_narrow_way_is_measured_in_bounded_time(
    sshd: Sshd, ssh_worker: Worker, home: Path
) -> None:
    async with Proxy(sshd.port) as proxy:
        config = home / ".ssh" / "config"
        config.write_text(config.read_text().replace(f"Port {sshd.port}", f"Port {proxy.port}"))
        known = home / ".ssh" / "known_hosts_gpu1"
        known.write_text(sshd.known_hosts_line.replace(f":{sshd.port}", f":{proxy.port}"))
        rate = 250_000
        proxy.slow(rate)
        said: list[str] = []
        began = time.monotonic()
        transport = transport_for(ssh_worker)
        await speed.measure_width(transport, ssh_worker, Report(Surroundings(said.append)))
        assert time.monotonic() - began < 45
    found = Found("".join(said))
    assert found.sign("throughput") == "✓"
    numbers = re.fullmatch(r"([\d.]+) kB/s there, ([\d.]+) kB/s back", found["throughput"])
    assert numbers, found.text
    for number in numbers.groups():
        # The proxy is slower than it should be where the machine is busy, never faster.
        assert 0.05 * rate < float(number) * 1000 <= 1.1 * rate
