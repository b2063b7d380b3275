"""The way to a worker: its name, its port, its key, the login, and what the shell says."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from chutes_jupyter.commands.doctor.report import Report, milliseconds
from chutes_jupyter.errors import (
    ChangedHostKey,
    ChuteError,
    HostKeyError,
    LoginFailed,
    LoginNeeded,
    WorkerError,
)

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import Connection, Process, Transport
    from chutes_jupyter.transports.base import Hop, Login, Route

#: Seconds for looking a name up, for reaching a port, and for a command that does nothing.
_NAME_PATIENCE, _PORT_PATIENCE, _SHELL_PATIENCE = 10.0, 10.0, 30.0
#: A shell that takes longer makes every new connection wait, in seconds.
_SLOW_SHELL = 2.0
_MOST_NOISE = 64 * 1024
_SHOWN = 60
_METHODS = {
    "publickey": "with a key",
    "password": "with a password",
    "keyboard-interactive": "with answers to its questions",
    "gssapi-with-mic": "with a Kerberos ticket",
    "none": "without being asked for anything",
}
_REFUSED, _SILENT = "is closed: nothing listens there", "does not answer"
_PORT_ADVICE = {
    _REFUSED: "Is sshd running there, and on this port? Write another one as HOST:PORT, or as "
    "Port in ~/.ssh/config.",
    _SILENT: "Is it on? A firewall, or a VPN that is off, looks the same. Machines behind a "
    "gateway need ProxyJump in ~/.ssh/config.",
}
_NO_WAY = "Is there a network or a VPN between here and there that is switched off?"
_MARK = b"chutes-shell:"
_SAY_SHELL = f"exec /bin/sh -c 'echo {_MARK.decode()}$SHELL'"
#: How the start-up files of a shell are kept quiet.
_QUIET = {
    "bash": "put  [ -t 1 ] || return  at the top of ~/.bashrc",
    "zsh": "put  [ -t 1 ] || return  at the top of ~/.zshenv",
    "fish": "put what prints between  if status is-interactive  and  end  in "
    "~/.config/fish/config.fish",
    "tcsh": "put  if ( ! $?prompt ) exit  at the top of ~/.tcshrc or ~/.cshrc",
    "csh": "put  if ( ! $?prompt ) exit  at the top of ~/.cshrc",
}


async def arrive(transport: Transport, worker: Worker, report: Report) -> Connection | None:
    """Go the way to a worker step by step; return the connection, or None where it ends early."""
    if worker.host is None:
        return await _arrive_here(transport, report)
    try:
        route = await transport.route()
    except ChuteError as error:
        report.bad("name", "the settings for its host can't be used", str(error))
        return None
    if route is not None and not await _reach(route, report):
        return None
    try:
        connection = await transport.connect()
    except WorkerError as error:
        _say_refusal(error, report)
        return None
    _say_logins(connection.logins, route, report)
    return connection


async def _arrive_here(transport: Transport, report: Report) -> Connection | None:
    try:
        connection = await transport.connect()
    except WorkerError as error:
        report.bad("connection", "this machine can't be a worker", str(error))
        return None
    report.good("connection", "this machine, without a network")
    return connection


async def _reach(route: Route, report: Report) -> bool:
    """Look up the name of the first host on the way, and try its port."""
    first = route.hops[0]
    if route.command:
        # The command alone knows where it leads.
        report.good("name", f"{_called(first)}, by the ProxyCommand of ~/.ssh/config")
        return True
    through = f", a jump host on the way to {_called(route.hops[-1])}" if route.hops[1:] else ""
    addresses = await _look_up(first, through, report)
    return bool(addresses) and await _knock(first, addresses, report)


async def _look_up(hop: Hop, through: str, report: Report) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_NAME_PATIENCE):
            found = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # TimeoutError is one
        reason = getattr(error, "strerror", None) or "no answer in time"
        report.bad(
            "name",
            f"{_called(hop)}{through} can't be resolved ({reason})",
            "Is this machine online, and HOST written as it should be? An alias must stand in "
            "~/.ssh/config, and HostName there must be a name that this network knows.",
        )
        return []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    shown = _called(hop) if addresses == [hop.host] else f"{_called(hop)} → {', '.join(addresses)}"
    report.good("name", shown + through)
    return addresses


def _called(hop: Hop) -> str:
    """Return what the person calls a host, and what that means."""
    return hop.host if hop.alias in ("", hop.host) else f"{hop.alias} → {hop.host}"


async def _knock(hop: Hop, addresses: list[str], report: Report) -> bool:
    """Open a TCP connection to the first address that takes one."""
    reason = ""
    for address in addresses:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_PORT_PATIENCE):
                _, writer = await asyncio.open_connection(address, hop.port)
        except OSError as error:
            reason = _why_closed(error)
            continue
        took = time.perf_counter() - began
        writer.close()
        report.good("port", f"{hop.port} is open, after {milliseconds(took)}")
        return True
    report.bad("port", f"{hop.port} {reason}", _PORT_ADVICE.get(reason, _NO_WAY))
    return False


def _why_closed(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return _REFUSED
    if isinstance(error, TimeoutError):
        return _SILENT
    return f"can't be reached ({error.strerror or error})"


def _say_refusal(error: WorkerError, report: Report) -> None:
    """Say at which step a connection failed, and what its error says."""
    if isinstance(error, HostKeyError):
        what = "has CHANGED" if isinstance(error, ChangedHostKey) else "is not trusted"
        report.bad("key", f"that of {error.host} {what}" if error.host else what, str(error))
    elif isinstance(error, LoginFailed):
        report.good("key", "as on record")
        word = "needed" if isinstance(error, LoginNeeded) else "refused"
        report.bad("login", word, str(error))
    else:
        report.bad("connection", "not made", str(error))


def _say_logins(logins: tuple[Login, ...], route: Route | None, report: Report) -> None:
    """Show the keys and logins, of the jump hosts too."""
    if not logins:
        report.good("key", "as on record")
        report.good("login", "done")
        return
    names = [f"({hop.alias or hop.host})" for hop in route.hops] if route else []
    several = len(logins) > 1 and len(names) == len(logins)
    for name, login in zip(names if several else [""] * len(logins), logins, strict=True):
        report.good("key", " ".join(filter(None, (login.key_kind, login.fingerprint, name))))
    last = logins[-1]
    how = _METHODS.get(last.method, f"by {last.method}" if last.method else "")
    report.good("login", ", ".join(filter(None, (f"as {last.user} {how}".strip(), last.server))))


# -- the shell


async def try_shell(connection: Connection, report: Report) -> None:
    """Run a command that prints one word, and see what the login shell prints besides."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_SHELL_PATIENCE):
            process = await connection.start(_SAY_SHELL)
            try:
                said = await _read(process)
                took = time.perf_counter() - began
                await process.wait()
            finally:
                await process.aclose()
    except TimeoutError:
        report.bad(
            "shell",
            f"a command that does nothing took more than {_SHELL_PATIENCE:.0f} s",
            "Its start-up files (~/.bashrc and the like) wait for something.",
        )
        return
    except WorkerError as error:
        report.bad("shell", "no command can be started", str(error))
        return
    _judge_shell(said, took, process.stderr_tail(), report)


async def _read(process: Process) -> bytes:
    said = b""
    while len(said) < _MOST_NOISE and (piece := await process.read(_MOST_NOISE)):
        said += piece
    return said


def _judge_shell(said: bytes, took: float, stderr: str, report: Report) -> None:
    noise, mark, rest = said.partition(_MARK)
    if not mark:
        words = _shortened((said.decode("utf-8", "replace") + " " + stderr).strip())
        report.bad(
            "shell",
            f"commands are not run; it says: {words}" if words else "commands are not run",
            "The account may have no shell (nologin), or the server runs something else in its "
            "place (ForceCommand in its sshd_config, command= in authorized_keys).",
        )
        return
    name = rest.decode("utf-8", "replace").strip().rpartition("/")[2] or "sh"
    speed = f"answers after {milliseconds(took)}"
    if noise.strip():
        shown = _shortened(noise.decode("utf-8", "replace").strip())
        fix = _QUIET.get(name, "let its start-up files print only to terminals")
        report.odd(
            "shell",
            f"{name} prints {len(noise)} bytes before each command: {shown}",
            f"It does no harm here, but breaks scp and others: {fix}.",
        )
    elif took > _SLOW_SHELL:
        report.odd(
            "shell",
            f"{name} {speed}",
            "Each new connection waits that long: see what its start-up files do (conda and "
            "pyenv are known for it), and let them do it for terminals alone.",
        )
    else:
        report.good("shell", f"{name} prints nothing by itself, {speed}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
