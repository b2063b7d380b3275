"""Get the agent onto a worker and running, in one channel.

The command that goes to the worker looks for a Python and runs a small loader. If this
version of the agent is there, the loader runs it at once; if not, it asks for it, checks what
arrives, puts it in place and runs it. So a worker needs nothing but sshd and a Python, and a
warm one costs no extra round trip.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import io
import re
import shlex
import struct
import sys
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

from chutes_jupyter.agent import wire
from chutes_jupyter.errors import AgentFailed, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports.base import Connection, Process

DEFAULT_ROOT = "~/.chutes_jupyter"
#: The agent's program that answers requests.
SERVE = "serve"
OLDEST_PYTHON = (3, 8)
NEWEST_PYTHON = (3, 14)
#: Seconds from the command to the agent's first word; a cold home on a network disk is slow.
START_TIMEOUT = 60.0
#: What the loader writes when the worker does not have this version of the agent.
NEED = b"\0chutes-agent:need\0"
_TOO_OLD = 93
_NO_PYTHON = 94
_CANT_WRITE = 95
_STANDIN = "standin.py"
_LENGTH = struct.Struct("!I")
#: What an agent of another protocol says first.
_OTHER_MARKER = re.compile(rb"\0chutes-agent:([0-9]{1,9})\0")

# One line, without ', !, \ and line breaks, so that it means the same to every login shell that
# reads it on its way to /bin/sh. $1 is the loader; what follows are the names to try. A name
# that turns out to be no Python of ours (2: unknown option, 126 and 127: a shim without a
# version behind it) is passed over.
_FIND_PYTHON = (
    'loader=$1; shift; for p in "$@"; do command -v "$p" >/dev/null 2>&1 || continue; '
    '"$p" -I -S -c "import sys,binascii; exec(binascii.a2b_base64(sys.argv[1]))" "$loader"; '
    "s=$?; case $s in 2|93|126|127) ;; *) exit $s ;; esac; done; exit 94"
)

# Runs on the worker under any Python 3 that knows -I; {settings} is a line of constants.
_LOADER = """
import os, sys
{settings}
if sys.version_info < OLDEST:
    sys.exit(TOO_OLD)
root = os.path.abspath(os.path.expanduser(ROOT))
home = os.path.join(root, "agents", HASH)
def read(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            sys.exit("chutes: the connection closed before the agent had arrived")
        data += piece
    return data
def receive():
    import hashlib, io, shutil, struct, tempfile, zipfile
    os.write(1, NEED)
    data = read(struct.unpack("!I", read(4))[0])
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit("chutes: the agent arrived damaged")
    parent = os.path.dirname(home)
    os.makedirs(parent, exist_ok=True)
    beside = tempfile.mkdtemp(prefix=".new-", dir=parent)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(beside)
    for folder, _, names in os.walk(beside):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
    open(os.path.join(beside, "ok"), "w").close()
    try:
        os.rename(beside, home)
    except OSError:
        if not os.path.exists(os.path.join(home, "ok")):
            os.rename(home, tempfile.mkdtemp(prefix=".old-", dir=parent) + "/agent")
            os.rename(beside, home)
        shutil.rmtree(beside, True)
umask = os.umask(0o077)
try:
    if not os.path.exists(os.path.join(home, "ok")):
        os.makedirs(root, exist_ok=True)
        receive()
    elif not os.access(root, os.W_OK):
        raise OSError("it is not writable for this user")
except OSError as error:
    sys.stderr.write(error.strerror or str(error))
    sys.exit(CANT_WRITE)
sys.path.insert(0, home)
from importlib import import_module
program = import_module("chutes_jupyter.agent." + PROGRAM)
sys.exit(1 if program.main(root, HASH, umask, *ARGUMENTS) else 0)
"""


@functools.cache
def agent_bundle() -> tuple[str, bytes]:
    """Return the agent's content hash and its files as a zip archive.

    Returns
    -------
    hash : str
        Of the names and contents of all files: the agent's version.
    archive : bytes
        The package `chutes_jupyter` as a worker has it: the agent, and the stand-in in place
        of our own ``__init__.py``.
    """
    package = resources.files("chutes_jupyter.agent")
    files = {
        f"chutes_jupyter/agent/{item.name}": item.read_bytes()
        for item in package.iterdir()
        if item.name.endswith(".py")
    }
    files["chutes_jupyter/__init__.py"] = files[f"chutes_jupyter/agent/{_STANDIN}"]
    digest = hashlib.sha256()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in sorted(files.items()):
            for part in (name.encode("utf-8"), content):
                digest.update(_LENGTH.pack(len(part)) + part)
            # A ZipInfo of its own has a fixed date: the same files make the same archive.
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return digest.hexdigest()[:32], archive.getvalue()


def start_command(worker: Worker, program: str = SERVE, arguments: Sequence[str] = ()) -> str:
    """Return the command line that finds a Python on the worker and runs the agent there."""
    agent_hash, archive = agent_bundle()
    constants = {
        "ROOT": worker.dir or DEFAULT_ROOT,
        "HASH": agent_hash,
        "SHA256": hashlib.sha256(archive).hexdigest(),
        "NEED": NEED,
        "OLDEST": OLDEST_PYTHON,
        "TOO_OLD": _TOO_OLD,
        "CANT_WRITE": _CANT_WRITE,
        "PROGRAM": program,
        "ARGUMENTS": list(arguments),
    }
    settings = "; ".join(f"{name} = {value!r}" for name, value in constants.items())
    loader = base64.b64encode(_LOADER.format(settings=settings).encode("utf-8")).decode("ascii")
    names = " ".join(map(shlex.quote, candidates(worker)))
    return f"exec /bin/sh -c '{_FIND_PYTHON}' sh {loader} {names}"


def candidates(worker: Worker) -> list[str]:
    """Return the names under which the agent's Python is looked for, in order.

    It need not be the interpreter of the worker's jobs, so `Worker.python` is not asked.
    """
    minors = range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)
    return [
        *([sys.executable] if worker.host is None and sys.executable else []),
        "python3",
        *(f"python3.{minor}" for minor in minors),
        "/usr/bin/python3",
        "/usr/local/bin/python3",
        "/opt/conda/bin/python3",
        "python",
    ]


async def start_agent(
    connection: Connection,
    worker: Worker,
    program: str = SERVE,
    arguments: Sequence[str] = (),
    *,
    patience: float = START_TIMEOUT,
) -> Process:
    """Start a program of the agent on a worker, sending the agent first where it is missing.

    Parameters
    ----------
    connection : Connection
        A connection to the worker.
    worker : Worker
        The worker, which says where its folder lies.
    program : str
        The agent's module whose ``main(root, agent_hash, umask, *arguments)`` runs; it writes
        the marker when it is ready.
    arguments : sequence of str
        What that is given besides.
    patience : float
        Seconds that this may take.

    Returns
    -------
    Process
        Just after the marker: what is written to it now is the program's, as with `serve`
        requests.

    Raises
    ------
    AgentFailed
        If there is no Python, or the agent does not start; with the end of its stderr.
    ConnectionLost
        If the connection broke meanwhile.
    """
    process = await connection.start(start_command(worker, program, arguments))
    try:
        async with asyncio.timeout(patience):
            await _until_marker(process, connection, worker)
    except TimeoutError as error:
        await process.aclose()
        raise AgentFailed(
            f"{connection.description}: the agent did not answer within {patience:g} s. "
            f"Does its login shell wait for something?{_last_words(process, b'')}"
        ) from error
    except BaseException:
        await process.aclose()
        raise
    return process


async def _until_marker(process: Process, connection: Connection, worker: Worker) -> None:
    """Read past what login scripts print, and send the agent when the loader asks for it."""
    seen = b""
    sent = False
    while True:
        data = await process.read(64 * 1024)
        seen += data
        before, marker, after = seen.partition(wire.MARKER)
        if marker:
            if after:
                raise AgentFailed(f"{connection.description}: the agent spoke before it was asked.")
            return
        if other := _OTHER_MARKER.search(seen):
            raise other_protocol(connection.description, int(other[1]))
        if not sent and NEED in seen:
            sent = True
            await _send_agent(process)
        if not data:
            raise await _failed(process, connection, worker, seen)
        if len(before) > wire.MAX_NOISE:
            raise AgentFailed(
                f"{connection.description}: its login scripts print more than "
                f"{wire.MAX_NOISE // 1024} KiB before the agent starts. Let them print only to "
                "terminals: put  [ -t 1 ] || return  at the top of ~/.bashrc."
            )


async def _send_agent(process: Process) -> None:
    _, archive = agent_bundle()
    try:
        await process.write(_LENGTH.pack(len(archive)) + archive)
    except ConnectionLost:
        # The loader may have ended, and then says why: the next read tells both cases apart.
        return


async def _failed(
    process: Process, connection: Connection, worker: Worker, seen: bytes
) -> AgentFailed:
    status = await process.wait()
    where = connection.description
    if status == _NO_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return AgentFailed(
            f"{where} has no Python {oldest} or newer, which the agent needs. Looked for: "
            f"{', '.join(candidates(worker))}. Install one there (apt install python3), or put "
            f"it on the PATH of a login without a terminal.{_last_words(process, b'')}",
            "Python",
        )
    if status == _CANT_WRITE:
        folder = worker.dir or DEFAULT_ROOT
        return AgentFailed(
            f"{where}: the folder {folder} can't be written there "
            f"({process.stderr_tail() or 'it did not say why'}); choose another with: "
            f"jupyter chute worker add {worker.name} --dir PATH",
            "folder",
        )
    if status == 0 and not (seen or process.stderr_tail()):
        return AgentFailed(
            f"{where}: the agent did not start: the server runs something else in its place "
            "(ForceCommand in its sshd_config, or command= in authorized_keys there)."
        )
    ending = "" if status is None else f" (exit status {status})"
    return AgentFailed(f"{where}: the agent did not start{ending}.{_last_words(process, seen)}")


def other_protocol(where: str, number: int) -> AgentFailed:
    """Return the error for an agent that speaks another protocol than this version."""
    folder = f"agents/{agent_bundle()[0]}"
    return AgentFailed(
        f"The agent on {where} speaks protocol {number}, and this chutes_jupyter speaks "
        f"{wire.PROTOCOL}: somebody changed what lies in {folder} below the worker's folder "
        f"({DEFAULT_ROOT} by default). Remove {folder} there; it is sent again."
    )


def _last_words(process: Process, seen: bytes) -> str:
    """Return what the worker printed, for the end of a message."""
    words = seen.replace(NEED, b"").decode("utf-8", "replace").strip()[-2000:]
    text = "\n".join(filter(None, (words, process.stderr_tail())))
    return f" It said:\n{text}" if text else ""
