"""Which of the two ways to dial out reaches a worker: asyncssh, or the `ssh` program."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConnectFailed
from chutes_jupyter.transports.base import Connection, Route
from chutes_jupyter.transports.dialling import DiallingTransport
from chutes_jupyter.transports.openssh import program

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports.openssh.transport import OpenSshTransport
    from chutes_jupyter.transports.ssh import SshTransport

_log = logging.getLogger(__name__)

#: What asyncssh does not know, or only with a package that is not installed with us: settings
#: as `ssh -G` names them, and the values that mean that nobody asked for it.
_ONLY_SSH = {
    "bindinterface": {"none"},
    "hostbasedauthentication": {"no"},
    "knownhostscommand": {"none"},
    "pkcs11provider": {"none"},
    "proxyusefdpass": {"no"},
    "revokedhostkeys": {"none"},
    "securitykeyprovider": {"internal", "$SSH_SK_PROVIDER"},
    "verifyhostkeydns": {"false", "no"},
}
#: What leads to another host, or to another login there. asyncssh reads no file but the person's.
_WAY = ("hostname", "port", "user", "proxyjump", "proxycommand", "hostkeyalias", "identityfile")


class ChosenTransport(DiallingTransport):
    """The transport that a worker names, or the one that fits it.

    Parameters
    ----------
    worker : Worker
        A worker with a host.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self._worker = worker

    async def connect(self, *, bulk: bool = False) -> Connection:
        """Choose, and connect; see `Transport.connect`."""
        transport = await self._chosen()
        try:
            return await transport.connect(bulk=bulk)
        finally:
            self.refused = transport.refused

    async def route(self) -> Route | None:
        """Return the hosts on the way; see `Transport.route`."""
        return await (await self._chosen()).route()

    async def _chosen(self) -> SshTransport | OpenSshTransport:
        if (self._worker.transport or await fitting(self._worker)) == "openssh":
            return _openssh(self._worker)
        from chutes_jupyter.transports.ssh import SshTransport

        return SshTransport(self._worker)


def _openssh(worker: Worker) -> OpenSshTransport:
    program.need()  # or it says what is missing
    if sys.platform == "win32":
        raise AssertionError("there is no ssh that shares a connection")
    from chutes_jupyter.transports.openssh.transport import OpenSshTransport

    return OpenSshTransport(worker)


async def fitting(worker: Worker) -> str:
    """Return which transport fits a worker that names none."""
    found = program.find()
    if worker.host is None or found is None or found.version < program.OLDEST:
        return "asyncssh"
    if await logged_in(worker):
        return "openssh"
    try:
        reasons = await only_ssh(worker.host)
    except ConnectFailed:
        return "asyncssh"  # the configuration is wrong, and asyncssh says where
    if reasons:
        _log.info("worker %s: through ssh, for %s", worker.name, ", ".join(reasons))
    return "openssh" if reasons else "asyncssh"


async def logged_in(worker: Worker) -> bool:
    """Whether `ssh` has a connection to a worker that can be used at once; quick."""
    if sys.platform == "win32" or worker.host is None or program.find() is None:
        return False
    from chutes_jupyter.transports.openssh import control

    try:
        return (await control.place(worker.host)).alive
    except ConnectFailed:
        return False


async def only_ssh(host: str) -> list[str]:
    """Return the settings of a host that asyncssh can't follow, by their names in `ssh -G`.

    Raises
    ------
    ConnectFailed
        If the configuration is wrong.
    """
    settings = await program.resolve(host)
    reasons = [
        name for name, usual in _ONLY_SSH.items() if not usual.issuperset(settings.get(name, usual))
    ]
    own = await program.resolve(host, system=False)
    reasons += [name for name in _WAY if settings.get(name) != own.get(name)]
    if any(_is_security_key(file) for file in program.key_files(settings)):
        reasons.append("identityfile (a security key)")
    return reasons


def _is_security_key(file: object) -> bool:
    """Whether a private key file is only the handle of a key in a security device."""
    from pathlib import Path

    try:
        public = Path(f"{file}.pub").read_bytes()
    except OSError:
        return False
    return public.startswith(b"sk-")
