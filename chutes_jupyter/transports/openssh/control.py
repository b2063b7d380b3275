"""Control masters: `ssh` in the background, shared by all processes of a person.

Their sockets lie in a folder that is this person's alone. A master ends by itself some time
after its last user left, and within seconds when the other end is gone. One that hangs is
noticed by whoever asks it next, and ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import signal
import socket
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.config import known_hosts_file, state_dir
from chutes_jupyter.errors import ConnectFailed
from chutes_jupyter.files import waiting_for_lock
from chutes_jupyter.transports.dialling import CIPHERS, CONNECT_TIMEOUT
from chutes_jupyter.transports.openssh import program
from chutes_jupyter.transports.openssh.mux import MuxError, MuxSocket, answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

#: Seconds that a master stays without a user: one that could be made again by itself, and one
#: that somebody had to log in for.
PERSIST, PERSIST_LOGIN = 600, 8 * 3600
#: A dead peer is noticed after (ALIVE_COUNT + 1) * ALIVE_INTERVAL seconds at the most.
ALIVE_INTERVAL, ALIVE_COUNT = 1, 3
#: A master that does not answer for so long hangs, in seconds.
HANGS = 4.0
#: ssh adds a dot and 16 characters while it makes the socket; 104 bytes is the least that a
#: system gives its path, the end included.
_LONGEST_PATH = 104 - 1 - 17
#: What is the same for every connection, jump hosts included. It goes before the person's own.
_OURS = f"""\
StrictHostKeyChecking yes
UpdateHostKeys no
ServerAliveInterval {ALIVE_INTERVAL}
ServerAliveCountMax {ALIVE_COUNT}
ClearAllForwardings yes
ForwardAgent no
ForwardX11 no
PermitLocalCommand no
RequestTTY no
RemoteCommand none
Tunnel no
LogLevel ERROR
"""
#: And this goes after it, so that it only holds where the person says nothing.
_DEFAULTS = f"""\
Host *
ConnectTimeout {CONNECT_TIMEOUT:.0f}
Ciphers {CIPHERS}
"""
#: Notes which key a host presents, and says which hosts we know besides the person's files.
_KNOWN_HOSTS_SCRIPT = """\
notes=$1; ours=$2; shift 2
printf '%s %s %s %s %s\\n' "$1" "$2" "$3" "$4" "$5" >> "$notes"
shift 5
if [ -f "$ours" ]; then cat "$ours"; fi
if [ $# -gt 0 ]; then exec "$@"; fi
"""


def folder() -> Path:
    """Return the folder of the sockets, made on first use for this person alone (0700).

    Raises
    ------
    ConnectFailed
        If somebody else made it first.
    """
    runtime = Path(f"/run/user/{os.getuid()}")  # not XDG_RUNTIME_DIR, which not every process has
    base = runtime / "chutes" if _is_ours(runtime) else Path(f"/tmp/chutes-{os.getuid()}")  # noqa: S108 - checked below
    # Homes are on file systems that machines share, and sockets are of one machine.
    of_whom = f"{socket.gethostname()}\0{state_dir()}"
    found = base / hashlib.sha256(of_whom.encode()).hexdigest()[:8]
    for each in (base, found):
        each.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(each):
            raise ConnectFailed(
                f"{each}: this folder must be yours alone (mode 0700), and it is not. Remove it: "
                "the sockets of your connections lie in it."
            )
    return found


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return mine and not status.st_mode & 0o077


@dataclass(frozen=True)
class Place:
    """Where the master of one host has its socket.

    Parameters
    ----------
    host : str
        The worker's host, as the person wrote it.
    socket : Path
        The socket.
    """

    host: str
    socket: Path

    @property
    def asked(self) -> Path:
        """A file that is there if somebody had to be asked for this master."""
        return self.socket.with_suffix(".asked")

    @property
    def alive(self) -> bool:
        """Whether a master seems to be there; quick."""
        return answers(self.socket)


async def place(host: str, kind: str = "") -> Place:
    """Return where the master of a host has its socket.

    Parameters
    ----------
    host : str
        As a worker names it.
    kind : str
        Another kind has another master.

    Raises
    ------
    ConnectFailed
        If the configuration of the host is wrong, or the folder can't be had.
    """
    settings = await program.resolve(host)
    names = ("hostname", "port", "user", "proxyjump", "proxycommand", "hostkeyalias")
    way = "\0".join([kind, *(program.one(settings, name) for name in names)])
    found = folder() / hashlib.sha256(way.encode()).hexdigest()[:16]
    if len(os.fsencode(found)) > _LONGEST_PATH:
        raise ConnectFailed(f"{found}: this path is too long for a control socket.")
    return Place(host, found)


@contextlib.asynccontextmanager
async def alone(at: Place) -> AsyncIterator[None]:
    """Let one process at a time make or remove the master of a place."""
    async with waiting_for_lock(at.socket.with_suffix(".lock"), patience=60.0):
        yield


async def reach(at: Place) -> MuxSocket | None:
    """Return a conversation with the living master of a place; None if there is none.

    One that hangs is ended here, so that another one can be made.
    """
    opened: MuxSocket | None = None
    try:
        async with asyncio.timeout(HANGS):
            opened = await MuxSocket.open(at.socket)
            pid = await opened.alive()
    except MuxError:
        if opened is not None:
            opened.close()
        return None
    except TimeoutError:
        if opened is not None:
            opened.close()
        await end_hung(at)
        return None
    note_pid(at, pid)
    return opened


def note_pid(at: Place, pid: int) -> None:
    """Remember which process the master is: once it hangs, it can't be asked."""
    file = at.socket.with_suffix(".pid")
    if not file.exists() or file.read_text() != str(pid):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(str(pid))


async def end_hung(at: Place) -> None:
    """End a master that does not answer, and remove its socket."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(at.socket.with_suffix(".pid").read_text())
        if await asyncio.to_thread(_is_master, pid, at.socket):
            os.kill(pid, signal.SIGKILL)
    forget(at)


def _is_master(pid: int, path: Path) -> bool:
    """Whether a process is the master of this socket: ssh writes the path into its title."""
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return str(path) in said.stdout and "ssh" in said.stdout


def forget(at: Place) -> None:
    """Remove what a master that is no more left behind."""
    for file in (at.socket, at.asked, at.socket.with_suffix(".pid")):
        file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Outcome:
    """How an attempt to make a master went.

    Parameters
    ----------
    status : int
        The exit status of ssh; 0 if the master is there.
    said : str
        What ssh wrote to stderr.
    presented : list of Presented
        The host keys that were looked up by name, in order.
    """

    status: int
    said: str
    presented: list[Presented]


@dataclass(frozen=True)
class Presented:
    """A key that a host presented.

    Parameters
    ----------
    alias : str
        The host as ssh was told it.
    name : str
        The host as known hosts files call it.
    kind, key : str
        Its type, and the key itself in base64.
    """

    alias: str
    name: str
    kind: str
    key: str


@contextlib.contextmanager
def attempt_folder() -> Iterator[Path]:
    """A private folder for the files of one attempt to connect."""
    with tempfile.TemporaryDirectory(prefix="a-", dir=folder()) as name:
        yield Path(name)


async def start(
    at: Place,
    attempt: Path,
    *,
    askpass: Mapping[str, str] | None = None,
    plain_keys: bool = False,
    until: Callable[[asyncio.subprocess.Process], Awaitable[object]],
) -> Outcome:
    """Let ssh log in and stay in the background as the master of a place.

    Parameters
    ----------
    at : Place
        Whose.
    attempt : Path
        A folder for this attempt's own files.
    askpass : mapping, optional
        The environment that makes ssh ask; without it nothing is asked, and nothing tried that
        would have to.
    plain_keys : bool
        Whether the host shall show a key and no certificate.
    until : callable
        Waits for ssh to end, and returns or raises earlier to have it ended.
    """
    settings = await program.resolve(at.host)
    config = attempt / "config"
    first = [f"BatchMode {'yes' if askpass is None else 'no'}"]
    if plain_keys:
        first.append("HostKeyAlgorithms -*-cert-v01@openssh.com")
    config.write_text(_config(first, attempt, settings), encoding="utf-8")
    said = attempt / "said"
    persist = PERSIST if askpass is None else PERSIST_LOGIN
    command = [
        program.need().path,
        *("-F", str(config), "-N", "-T"),
        *("-o", "ControlMaster=yes", "-o", f"ControlPersist={persist}"),
        *("-o", f"ControlPath={program.quoted(at.socket)}"),
        *_through(program.one(settings, "proxyjump", "none"), config, said),
        *program.target(at.host),
    ]
    with said.open("ab") as stderr:
        # A session of its own: no terminal that ssh could ask on, and no Ctrl-C of a notebook.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            env=program.environment(**(askpass or {})),
            start_new_session=True,
        )
    try:
        await until(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
    text = said.read_text(encoding="utf-8", errors="replace")
    return Outcome(process.returncode or 0, text, _presented(attempt / "keys"))


def _through(jumps: str, config: Path, said: Path) -> list[str]:
    """Return the options that go through jump hosts, and hear what is said there.

    It is what ssh does for ProxyJump; but one that goes to the background drops their words.
    """
    if jumps == "none":
        return []
    *before, last = jumps.split(",")
    # At this level it tells why the jump host opens no connection to the next one.
    command = [program.need().path, "-F", str(config), "-o", "LogLevel=INFO"]
    if before:
        command += ["-J", ",".join(before)]
    address = program.target(program.jump(last))
    script = config.with_name("jump.sh")
    words = shlex.join([*command, "-W"]) + ' "[$1]:$2" ' + shlex.join(address)
    script.write_text(f"exec {words} 2>> {shlex.quote(str(said))}\n", encoding="utf-8")
    return ["-o", f"ProxyCommand=/bin/sh {program.quoted(script)} %h %p"]


def _config(first: Sequence[str], attempt: Path, settings: program.Settings) -> str:
    script = attempt / "known_hosts.sh"
    script.write_text(_KNOWN_HOSTS_SCRIPT, encoding="utf-8")
    words = ["/bin/sh", *map(program.quoted, (script, attempt / "keys", known_hosts_file()))]
    words += ["%I", "%n", "%H", "%t", "%K"]
    # The person's own command goes on answering, after ours.
    theirs = program.one(settings, "knownhostscommand", "none")
    if theirs != "none":
        words.append(theirs)
    known = f"KnownHostsCommand {' '.join(words)}"
    return "\n".join([*first, known, _OURS, *program.included(), _DEFAULTS])


def _presented(notes: Path) -> list[Presented]:
    try:
        lines = notes.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = [line.split(" ") for line in lines]
    return [Presented(*row[1:]) for row in rows if len(row) == 5 and row[0] == "HOSTNAME"]
