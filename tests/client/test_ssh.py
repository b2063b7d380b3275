"""`ssh=True`: OpenSSH's own programs in a running job, on every kind of worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chutes_jupyter import bootstrap
from chutes_jupyter import job as jobs_module
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.doorway import DoorFolder, proxy
from chutes_jupyter.errors import DoorShut
from chutes_jupyter.job import Job
from chutes_jupyter.transports import Process, transport_for
from tests import interpreters
from tests.client.rig import PATIENCE, Submit, until
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd, User, make_key

WAITS = "await self.cancel_event.wait()"
#: Ends when a file appears in its directory, in the way that the file says.
OBEYS = """
import os, time
while not os.path.exists("end"):
    time.sleep(0.02)
if open("end").read().strip() == "raise":
    raise ValueError("as told")
"""


def opened(submit: Submit, worker: Worker, source: str = WAITS, **options: object) -> Job:
    job = submit(worker, source, ssh=True, **options)
    until(lambda: job.state == "running", "it runs")
    return job


def run(line: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a line as a person's shell does."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        **{"capture_output": True, "text": True, "timeout": PATIENCE, **options},
    )


def ssh(job: Job, command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return run(f"{job.ssh_command} {shlex.quote(command)}", **options)


def files_of(job: Job) -> Path:
    """Return the folder of the job's door on this machine."""
    return Path(job.ssh_command.split()[2]).parent


def directory(job: Job, worker: Worker) -> Path:
    return Path(worker.dir or "") / "jobs" / job.id


def key_files(*homes: Path) -> dict[Path, bytes | None]:
    """Return what lies in ``~/.ssh`` of everybody who may be meant."""
    homes = (*homes, Path(pwd.getpwuid(os.getuid()).pw_dir), Path.home())
    folders = [home / ".ssh" for home in homes]
    found: dict[Path, bytes | None] = {folder: None for folder in folders if folder.exists()}
    for folder in list(found):
        found.update({path: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    return found


def of_job(job: Job) -> list[int]:
    """Return the processes that bear the mark of the job or have its folder in their words."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if job.id.encode() in told:
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def session(job: Job, command: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A session that runs a command; ended with the test."""
    line = f"exec {job.ssh_command} {' '.join(words)} {shlex.quote(command) if command else ''}"
    running = subprocess.Popen(
        ["/bin/sh", "-c", line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


# -- inside


def test_a_command_lands_in_the_jobs_directory_environment_and_interpreter(
    worker: Worker, submit: Submit
) -> None:
    Workers.load().add(replace(worker, env={"SHARED": 'it\'s "seven" $HOME'}))
    facts = "import sys; print(sys.prefix, sys.version)"
    job = opened(submit, worker, f"{facts}\n{WAITS}")
    interpreter = until(lambda: job.logs().splitlines(), "it has printed")
    home = directory(job, worker)
    told = ssh(
        job,
        f"pwd; python -c '{facts}'; python3 -c '{facts}'; "
        'echo "$SHARED"; realpath "$TMPDIR"; echo "$CHUTE_OUTPUT_DIR"; echo "$CHUTE_JOB_LABEL"; '
        "exit 7",
    )
    assert told.stderr == ""
    assert told.stdout.splitlines() == [
        str(home / "work"),
        *interpreter,
        *interpreter,
        'it\'s "seven" $HOME',
        str(home / "tmp"),
        str(home / "output"),
        job.label,
    ]
    assert told.returncode == 7
    # The worker's environment may hold secrets: it is not among our files for ssh.
    for path in files_of(job).iterdir():
        assert b"seven" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".pub"
    # What it writes to the outputs arrives as the job's own.
    assert ssh(job, 'umask; echo found > "$CHUTE_OUTPUT_DIR"/note').returncode == 0
    job.cancel()
    job.wait(PATIENCE)
    assert (job.output_dir / "note").read_text() == "found\n"


def test_files_go_both_ways_byte_for_byte(worker: Worker, submit: Submit, tmp_path: Path) -> None:
    job = opened(submit, worker)
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3_000_001))
    config, host = job.ssh_command.split()[2:]
    assert run(f"scp -F {config} {sent} {host}:there").stderr == ""
    assert (directory(job, worker) / "work" / "there").read_bytes() == sent.read_bytes()
    assert run(f"scp -F {config} {host}:there {back}").returncode == 0
    assert back.read_bytes() == sent.read_bytes()
    batch = f"rename there here\nget here {tmp_path}/again\n"
    done = run(f"sftp -b - -F {config} {host}", input=batch)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again").read_bytes() == sent.read_bytes()
    # As rsync and tar do: bytes both ways through a command.
    tar = f"tar cf - -C {tmp_path} sent | {job.ssh_command} 'tar xf - && tar cf - sent'"
    assert run(f"{tar} | tar xOf - | cmp - {sent}").returncode == 0


def mounted(*commands: str) -> tuple[str, ...]:
    """Return what runs a program where something else is mounted."""
    own = () if os.getuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    script = " && ".join([*commands, 'exec "$@"'])
    return ("unshare", *own, "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh")


def pts(options: str) -> tuple[str, ...]:
    """Return what runs a program with other terminals, which root alone may mount."""
    if os.getuid() != 0:
        return ()
    return mounted(
        f"mount -t devpts -o newinstance,ptmxmode=666,{options} devpts /dev/pts",
        "mount --bind /dev/pts/ptmx /dev/ptmx",
    )


@pytest.fixture
def surrounded(home: Path, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Make workers whose sshd runs in other surroundings."""
    servers = []

    def make(within: tuple[str, ...], user: User | None = None, extra: str = "") -> Worker:
        server = Sshd.start(user=user.name if user else None, within=within, extra=extra)
        servers.append(server)
        alias = f"other{len(servers)}"
        add_to_ssh_config(home, server, alias)
        folder = (user.home if user else tmp_path) / f"{alias}-{tmp_path.name}"
        python = "/usr/bin/python3" if user else None
        worker = Worker(alias, host=alias, dir=str(folder), python=python)
        Workers.load().add(worker)
        return worker

    yield make
    for job in jobs_module.jobs(refresh=False):
        job.cancel()
        job.wait(PATIENCE)
    jobs_module.close_client()
    for server in servers:
        server.remove()


def check_terminal(job: Job) -> None:
    assert ssh(job, "test -t 0 || test -t 1", stdin=subprocess.DEVNULL).returncode == 1
    config, host = job.ssh_command.split()[2:]
    done = run(f"ssh -tt -F {config} {host} 'test -t 0 && test -t 1 && tty'", input="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/dev/")
    # Without a command: a shell that says where it is, and begins with a line about it.
    done = run(f"ssh -tt -F {config} {host}", input="pwd; tty; exit 3\n")
    assert done.returncode == 3
    assert f"{job.label} on " in done.stdout
    assert f"/{job.id}/work" in done.stdout


@pytest.mark.parametrize("kind", ["local", "ssh_worker"])
def test_a_terminal_is_one(kind: str, submit: Submit, request: pytest.FixtureRequest) -> None:
    worker = request.getfixturevalue(kind)
    Workers.load().add(worker)
    check_terminal(opened(submit, worker))


def test_an_ordinary_user_has_a_terminal(
    surrounded: Callable[..., Worker], ordinary_user: User, submit: Submit
) -> None:
    check_terminal(opened(submit, surrounded(pts("gid=5,mode=620"), ordinary_user)))


def test_where_sshd_can_give_no_terminal_the_session_goes_on_without(
    surrounded: Callable[..., Worker], ordinary_user: User, submit: Submit
) -> None:
    job = opened(submit, surrounded(pts("mode=600"), ordinary_user))
    # Typed in a terminal, as a person does it.
    done = run(f'script -qec "{job.ssh_command}" /dev/null', input="pwd; exit 3\n")
    if os.getuid() == 0:  # others can't mount anything else than is there
        assert "its /dev/pts is mounted without gid=5" in done.stdout
    assert f"/{job.id}/work" in done.stdout
    assert done.returncode == 3
    assert ssh(job, "echo fine").stdout == "fine\n"


def test_a_bash_below_sshd_does_not_undo_it_either(
    local: Worker, submit: Submit, home: Path
) -> None:
    (home / ".bashrc").write_text("export PATH=/usr/bin:/bin\ncd /\n")
    job = opened(submit, local)
    told = ssh(job, "pwd; command -v python").stdout.splitlines()
    assert told == [str(directory(job, local) / "work"), f"{Path(sys.executable).parent}/python"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "dash"])
def test_start_up_files_of_a_shell_undo_nothing(
    shell: str, local: Worker, submit: Submit, home: Path, tmp_path: Path
) -> None:
    for name in (".bashrc", ".zshrc", ".config/fish/config.fish"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        undo = "set -gx PATH /usr/bin:/bin" if "fish" in name else "export PATH=/usr/bin:/bin"
        (home / name).write_text(f"{undo}\ncd /\necho read the file\n")
    job = opened(submit, local, "import sys; print(sys.executable, flush=True)\n" + WAITS)
    executable = until(job.logs, "it has printed").strip()
    # The login shell of the account is what it is: SHELL alone is another's.
    begin = next((directory(job, local) / "door").glob("sessions"), None)
    assert begin is not None
    code = (
        "import os,sys; sys.path.insert(0, sys.argv[1]);"
        "from chutes_jupyter.agent.session import main; main(sys.argv[2])"
    )
    (agent,) = (Path(local.dir or "") / "agents").glob("[0-9a-f]*")
    script = tmp_path / "begin.py"
    script.write_text(
        f"import sys\nsys.argv[1:] = {[str(agent), str(directory(job, local))]!r}\n{code}"
    )
    path = subprocess.check_output(["/bin/sh", "-c", f"command -v {shell}"], text=True).strip()
    environment = {**os.environ, "SHELL": path, "TERM": "dumb"}
    typed = 'pwd\npython -c "import sys; print(sys.executable)"\nexit\n'
    done = subprocess.run(
        ["script", "-qec", f"{shlex.quote(sys.executable)} {script}", "/dev/null"],
        input=typed,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    lines = done.stdout.replace("\r", "").splitlines()
    assert any(line.endswith(str(directory(job, local) / "work")) for line in lines), done.stdout
    assert any(line.endswith(executable) for line in lines), done.stdout
    assert f"{job.label} on " in done.stdout


def test_what_is_forwarded_reaches_the_workers_own_ports_alone(
    ssh_worker: Worker, submit: Submit, local: Worker
) -> None:
    job = opened(submit, local)
    config, host = job.ssh_command.split()[2:]
    refused = run(f"ssh -F {config} -o ExitOnForwardFailure=yes -R 0:127.0.0.1:9 {host} true")
    assert refused.returncode != 0
    assert "remote port forwarding failed" in refused.stderr
    refused = run(f"ssh -F {config} -W 192.0.2.1:80 {host}", input="")
    assert "administratively prohibited" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with session(job, "", f"-W 127.0.0.1:{number}") as running:
            there, _ = server.accept()
            with there:
                there.sendall(b"hello\n")
                assert running.stdout
                assert running.stdout.readline() == "hello\n"


@pytest.mark.anyio
@pytest.mark.parametrize("find", [interpreters.oldest, interpreters.newest])
async def test_on_the_oldest_and_the_newest_python_of_the_agent(
    find: Callable[[], Path], local: Worker, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "candidates", lambda _: [str(find())])
    job = await asyncio.to_thread(opened, submit, local)
    words = await asyncio.to_thread(lambda: job.ssh_command.split())
    # The proxy in this process, so that it finds the same Python as the rest here.
    told = DoorFolder(Path(words[2]).parent).read()
    connection = await transport_for(local).connect()
    process = await bootstrap.start_agent(connection, local, "door")
    listener = await asyncio.start_server(lambda r, w: splice(r, w, process), "127.0.0.1", 0)
    await proxy._ask(process, told, "local")
    port = listener.sockets[0].getsockname()[1]
    own = f"-o ProxyCommand=none -o Hostname=127.0.0.1 -p {port}"
    done = await asyncio.to_thread(run, f"{' '.join(words)} {own} 'pwd; exit 7'")
    assert done.stdout.endswith(f"/{job.id}/work\n"), done.stderr
    assert done.returncode == 7
    listener.close()
    await process.aclose()
    await connection.aclose()


async def splice(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: Process
) -> None:
    async def upwards() -> None:
        while data := await reader.read(65536):
            await process.write(data)

    up = asyncio.ensure_future(upwards())
    while data := await process.read(65536):
        writer.write(data)
    up.cancel()
    writer.close()


def test_nothing_listens_on_the_declared_port(local: Worker, submit: Submit) -> None:
    job = opened(submit, local)
    with session(job, "echo here; exec sleep 1000") as running:
        assert running.stdout
        assert running.stdout.readline() == "here\n"
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert not [row for row in rows if row[1].endswith(f":{2202:04X}") and row[3] == "0A"]
        # So as many jobs as one likes may declare it.
        assert ssh(opened(submit, local), "true").returncode == 0


# -- who may come in


def test_the_host_key_is_checked_without_a_question(
    worker: Worker, submit: Submit, tmp_path: Path
) -> None:
    job = opened(submit, worker)
    assert ssh(job, "true", stdin=subprocess.DEVNULL).returncode == 0
    known = files_of(job) / "known_hosts"
    right = known.read_text()
    other = Path(f"{make_key(tmp_path / 'other')}.pub").read_text().split()
    config, host = job.ssh_command.split()[2:]
    for wrong in (f"{host} {other[0]} {other[1]}\n", ""):
        known.write_text(wrong)
        refused = run(f"ssh -F {config} {host} true")
        assert refused.returncode == 255
        assert "Host key verification failed" in refused.stderr
    known.write_text(right)
    assert run(f"ssh -F {config} {host} true").returncode == 0


def test_another_key_is_refused(worker: Worker, submit: Submit, tmp_path: Path) -> None:
    job = opened(submit, worker)
    config, host = job.ssh_command.split()[2:]
    own = next(line for line in Path(config).read_text().splitlines() if "IdentityFile" in line)
    other = make_key(tmp_path / "other")
    changed = tmp_path / "config"
    changed.write_text(Path(config).read_text().replace(own, f"    IdentityFile {other}"))
    refused = run(f"ssh -F {changed} {host} true")
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_the_persons_default_key_is_taken(local: Worker, submit: Submit, home: Path) -> None:
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    key = make_key(home / ".ssh" / "id_ecdsa", "ecdsa")
    job = opened(submit, local)
    assert ssh(job, "true").returncode == 0
    assert not (files_of(job) / "identity").exists()
    key.rename(home / "elsewhere")
    assert ssh(job, "true").returncode == 0, "one is made where the default one is gone"


def test_the_key_of_the_job_data_is_the_one(
    local: Worker, submit: Submit, home: Path, tmp_path: Path
) -> None:
    from chutes_jupyter.chute import Chute, cell_job
    from chutes_jupyter.models import JobOptions

    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    make_key(home / ".ssh" / "id_ed25519")
    given = make_key(tmp_path / "given")
    function = cell_job(WAITS, "train", JobOptions(ssh=True), {}, Chute(), "In[1]")
    public = Path(f"{given}.pub").read_text()
    job = function.submit(_ssh_public_key=public)
    until(lambda: job.state == "running", "it runs")
    refused = ssh(job, "true")
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    assert run(f"{job.ssh_command} -i {given} true").returncode == 0
    # It is the worker that holds to it, whatever a client asks for.
    told = files_of(job) / "door.json"
    line = job.ssh_command
    default = (home / ".ssh" / "id_ed25519.pub").read_text().strip()
    told.write_text(json.dumps({**json.loads(told.read_text()), "keys": [default]}))
    refused = run(f"{line} -i {home}/.ssh/id_ed25519 true")
    assert "Permission denied" in refused.stderr
    given.rename(home / ".ssh" / "work")
    Path(f"{given}.pub").rename(home / ".ssh" / "work.pub")
    assert ssh(job, "true").returncode == 0


def test_no_key_of_anybody_is_written_and_nothing_stays(
    worker: Worker, submit: Submit, request: pytest.FixtureRequest
) -> None:
    homes = [request.getfixturevalue("ordinary_user").home] if worker.name == "plain1" else []
    before = key_files(*homes)
    job = opened(submit, worker)
    assert ssh(job, "true").returncode == 0
    here, there = files_of(job), directory(job, worker)
    assert (here / "identity").stat().st_mode & 0o777 == 0o600
    assert here.stat().st_mode & 0o777 == 0o700
    assert (there / "door").stat().st_mode & 0o777 == 0o700
    until(lambda: not list((there / "door" / "sessions").iterdir()), "the session's files are gone")
    job.cancel()
    job.wait(PATIENCE)
    assert key_files(*homes) == before
    assert not (there / "door").exists()
    until(lambda: not (here / "identity").exists(), "the key made for it is gone")
    until(lambda: not of_job(job), "its processes are gone")


# -- the end of the job

#: Deaf to polite signals, in a session of its own, without the environment.
DEAF = (
    "setsid sh -c 'trap \"\" HUP TERM INT; echo $$ > deaf; while :; do sleep 1; done' "
    "</dev/null >/dev/null 2>&1 & "
    "env -i setsid sh -c 'echo $$ > bare; exec sleep 1000' </dev/null >/dev/null 2>&1 & "
)


def pids(job: Job, worker: Worker) -> list[int]:
    found = []
    for name in ("deaf", "bare"):
        path = directory(job, worker) / "work" / name
        found.append(int(until(lambda path=path: path.exists() and path.read_text(), name)))
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.mark.parametrize("end", ["return", "raise", "cancel"])
def test_open_sessions_are_told_and_closed_with_all_their_processes(
    end: str, worker: Worker, submit: Submit
) -> None:
    job = opened(submit, worker, WAITS if end == "cancel" else OBEYS)
    with session(job, f"{DEAF} echo here; exec sleep 1000") as running:
        assert running.stdout
        assert running.stdout.readline() == "here\n"
        left = pids(job, worker)
        assert all(map(alive, left))
        if end == "cancel":
            job.cancel()
        else:
            (directory(job, worker) / "work" / "end").write_text(end)
        _, errors = running.communicate(timeout=PATIENCE)
    job.wait(PATIENCE)
    state = {"return": "succeeded", "raise": "failed", "cancel": "cancelled"}[end]
    assert job.state == state
    assert f"{job.label} has ended ({state}); this session is closed." in errors
    assert running.returncode == 255
    assert not [pid for pid in left if alive(pid)], "when the job has ended, they have"
    until(lambda: not of_job(job), "nobody is left")


def test_a_session_on_a_terminal_is_told_there(local: Worker, submit: Submit) -> None:
    job = opened(submit, local)
    with session(job, "echo here; exec sleep 1000", "-tt") as running:
        assert running.stdout
        assert running.stdout.readline().strip() == "here"
        job.cancel()
        _, errors = running.communicate(timeout=PATIENCE)
    assert f"{job.label} has ended (cancelled)" in errors


def test_after_the_end_the_line_says_so(worker: Worker, submit: Submit) -> None:
    job = opened(submit, worker)
    line = job.ssh_command
    assert run(f"{line} true").returncode == 0
    job.cancel()
    job.wait(PATIENCE)
    late = run(f"{line} true")
    assert late.returncode == 255
    assert f"{job.label} has ended (cancelled)" in late.stderr
    assert "Traceback" not in late.stderr
    with pytest.raises(DoorShut, match=rf"{job.label} has ended \(cancelled\)"):
        _ = job.ssh_command


def test_what_a_session_leaves_runs_on_until_the_job_ends(worker: Worker, submit: Submit) -> None:
    job = opened(submit, worker)
    assert ssh(job, f"{DEAF} while ! [ -s bare -a -s deaf ]; do sleep 0.02; done").returncode == 0
    left = pids(job, worker)
    assert ssh(job, "true").returncode == 0
    assert all(map(alive, left))
    job.cancel()
    job.wait(PATIENCE)
    assert not [pid for pid in left if alive(pid)]
    until(lambda: not of_job(job), "nobody is left")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def keepers(pid: int) -> list[int]:
    """Return the two above the sshd of a session in which a process runs, the nearest first."""
    below_sshd = True
    while below_sshd or "sshd" in Path(f"/proc/{pid}/comm").read_text():
        pid = parent(pid)
        below_sshd = below_sshd and "sshd" not in Path(f"/proc/{pid}/comm").read_text()
    return [pid, parent(pid)]


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_keeper_is_killed_nothing_of_the_session_stays(
    victim: int, worker: Worker, submit: Submit
) -> None:
    job = opened(submit, worker)
    with session(job, f"{DEAF} echo $$; exec sleep 1000") as running:
        assert running.stdout
        inside = int(running.stdout.readline())
        left = [*pids(job, worker), inside]
        os.kill(keepers(inside)[victim], signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
    until(lambda: not [pid for pid in left if alive(pid)], "they are gone")
    assert job.state == "running"
    assert ssh(job, "true").returncode == 0
    sessions = directory(job, worker) / "door" / "sessions"
    until(lambda: not list(sessions.iterdir()), "the session's files are gone")


def test_when_both_keepers_are_killed_the_end_of_the_job_finds_the_rest(
    worker: Worker, submit: Submit
) -> None:
    job = opened(submit, worker)
    command = "setsid sh -c 'echo $$ > deaf; exec sleep 1000' </dev/null >/dev/null 2>&1 & "
    with session(job, f"{command} echo $$; exec sleep 1000") as running:
        assert running.stdout
        inside = int(running.stdout.readline())
        path = directory(job, worker) / "work" / "deaf"
        pid = int(until(lambda: path.exists() and path.read_text(), "it runs"))
        both = keepers(inside)
        for keeper in both:
            os.kill(keeper, signal.SIGSTOP)
        for keeper in both:
            os.kill(keeper, signal.SIGKILL)
    assert alive(pid)
    job.cancel()
    job.wait(PATIENCE)
    assert not alive(pid)
    assert not (directory(job, worker) / "door").exists()


def test_a_supervisor_that_is_killed_ends_the_sessions(worker: Worker, submit: Submit) -> None:
    job = opened(submit, worker, "import os; print(os.getppid(), flush=True)\n" + WAITS)
    guardian = int(until(job.logs, "it has printed"))
    supervisor = parent(guardian)
    with session(job, f"{DEAF} echo here; exec sleep 1000") as running:
        assert running.stdout
        assert running.stdout.readline() == "here\n"
        left = pids(job, worker)
        os.kill(supervisor, signal.SIGKILL)
        _, errors = running.communicate(timeout=PATIENCE)
    assert f"{job.label} has ended (lost); this session is closed." in errors
    job.wait(PATIENCE)
    assert job.state == "lost"
    assert not [pid for pid in left if alive(pid)]
    until(lambda: not of_job(job), "nobody is left")


def test_a_session_sees_that_nobody_keeps_the_job_any_more(worker: Worker, submit: Submit) -> None:
    job = opened(submit, worker, "import os; print(os.getppid(), flush=True)\n" + WAITS)
    guardian = int(until(job.logs, "it has printed"))
    keep = [guardian, parent(guardian), parent(parent(guardian))]
    events = directory(job, worker) / "events.jsonl"
    with session(job, f"{DEAF} echo here; exec sleep 1000") as running:
        assert running.stdout
        assert running.stdout.readline() == "here\n"
        left = pids(job, worker)
        jobs_module.close_client()  # whose agent would look after it
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in keep:
                os.kill(pid, number)
        _, errors = running.communicate(timeout=PATIENCE)
    assert f"{job.label} has ended (lost); this session is closed." in errors
    until(lambda: '"lost"' in events.read_text(), "its end is written down")
    until(lambda: not [pid for pid in left if alive(pid)], "they are gone")
    assert not (directory(job, worker) / "door").exists()
    until(lambda: not of_job(job), "nobody is left")


# -- where there is no door


def test_a_job_without_ssh_has_no_door(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WAITS)
    with pytest.raises(DoorShut, match="ssh=True"):
        _ = job.ssh_command


SSHD_PATHS = ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd")


def test_a_worker_without_sshd_says_what_is_possible(
    surrounded: Callable[..., Worker], submit: Submit, tmp_path: Path
) -> None:
    # The worker's own server runs from a copy; the files that sessions see are no programs.
    copy = [f'cp "$1" {tmp_path}/sshd', f'shift && set -- {tmp_path}/sshd "$@"']
    covers = [f"{{ [ ! -e {path} ] || mount --bind /dev/null {path}; }}" for path in SSHD_PATHS]
    job = opened(submit, surrounded(mounted(*copy, *covers)))
    with pytest.raises(DoorShut) as refused:
        _ = job.ssh_command
    for words in ("no sshd program", "apt install openssh-server", "chute logs -f", "job.ports"):
        assert words in str(refused.value)
    job.cancel()
    job.wait(PATIENCE)
    assert job.state == "cancelled"


def test_a_folder_that_sshd_misses_is_made(
    surrounded: Callable[..., Worker], submit: Submit
) -> None:
    job = opened(submit, surrounded(mounted("mount -t tmpfs tmpfs /run", "mkdir /run/sshd")))
    assert ssh(job, "rmdir /run/sshd").returncode == 0
    assert ssh(job, "stat -c %a /run/sshd").stdout == "755\n"


def test_a_root_without_a_password_comes_in(
    surrounded: Callable[..., Worker], submit: Submit, tmp_path: Path
) -> None:
    # As in many images: an account that sshd takes for locked unless it asks PAM.
    rows = [
        f"{pwd.getpwuid(os.getuid()).pw_name}:!:20000:0:99999:7:::",
        *(f"{entry.pw_name}:*:20000:0:99999:7:::" for entry in pwd.getpwall() if entry.pw_uid),
    ]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow").write_text("".join(f"{row}\n" for row in rows))
    # Not the file alone: a mount on it is gone once a user is added anywhere, which renames
    # a new one over it.
    layers = f"mount -t overlay overlay -o lowerdir={tmp_path}/etc:/etc /etc"
    script = tmp_path / "session"
    words = shlex.join(mounted(layers))
    script.write_text(f'#!/bin/sh\nexec {words} /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    script.chmod(0o755)
    job = opened(submit, surrounded((), extra=f"ForceCommand {script}"))
    assert ssh(job, "grep -c :!: /etc/shadow").stdout == "1\n"


def test_one_session_at_a_time_is_enough(surrounded: Callable[..., Worker], submit: Submit) -> None:
    job = opened(submit, surrounded((), extra="MaxSessions 1\nAllowTcpForwarding no\nPermitTTY no"))
    assert ssh(job, "echo one").stdout == "one\n"
    check_terminal(job)


def test_the_port_shows_how_to_get_in(local: Worker, submit: Submit) -> None:
    job = opened(submit, local)
    port = job.ports["ssh"]
    assert (port.port, port.url) == (2202, None)
    assert f"jupyter chute ssh {job.label}" in port.notice
    assert port.notice in repr(port)
    job.cancel()
    job.wait(PATIENCE)
    assert "has ended" in job.ports["ssh"].notice


def test_a_program_that_includes_all_doors_knows_the_job_by_name(
    local: Worker, submit: Submit, tmp_path: Path
) -> None:
    job = opened(submit, local)
    included = tmp_path / "config"
    included.write_text(f"Include {files_of(job).parent}/*/config\nHost *\n    User nobody\n")
    assert run(f"ssh -F {included} {job.label} pwd").stdout.endswith(f"/{job.id}/work\n")


def test_the_verb_is_ssh_itself(local: Worker, submit: Submit) -> None:
    job = opened(submit, local)
    verb = f"{Path(sys.executable).parent}/jupyter-chute ssh"
    done = run(f"{verb} {job.label} 'cat; exit 7'", input="through")
    assert (done.returncode, done.stdout) == (7, "through")
    done = run(f"{verb} {job.label} -tt tty", input="")
    assert done.stdout.startswith("/dev/")
    done = run(f"{verb} nobody-123456")
    assert (done.returncode, "JobNotFound" in done.stderr) == (1, True)
    shown: list[str] = []
    execute(["ssh", job.label], Surroundings(shown.append, "%chute", find=lambda name: name))
    assert "".join(shown) == f"{job.ssh_command}\n"
    job.cancel()
    job.wait(PATIENCE)
    done = run(f"{verb} {job.label}")
    assert (done.returncode, f"{job.label} has ended (cancelled)" in done.stderr) == (1, True)


def test_cleaning_removes_the_files_of_the_door(local: Worker, submit: Submit) -> None:
    job = opened(submit, local)
    here = files_of(job)
    job.cancel()
    job.wait(PATIENCE)
    assert (here / "config").exists()
    execute(["clean", job.label], Surroundings(lambda text: None))
    assert not here.exists()


def test_a_host_is_called_by_letters_that_every_ssh_takes(home: Path) -> None:
    assert DoorFolder.of("3f9c2a" + "0" * 26, "train-3f9c2a").host == "train-3f9c2a"
    assert DoorFolder.of("3f9c2a" + "0" * 26, "größe-3f9c2a").host == "job-3f9c2a"
