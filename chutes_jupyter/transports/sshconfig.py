"""What ``~/.ssh/config`` says of one host, in our terms.

asyncssh reads the file; here is what its client would otherwise decide by itself, or not at all:
jump hosts, key files that aren't there, and which known hosts files count.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chutes_jupyter.config import HostAddress, known_hosts_file, parse_host
from chutes_jupyter.transports import hostkeys, keyfiles
from chutes_jupyter.transports.base import Hop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class HostSettings:
    """The settings of one host.

    Parameters
    ----------
    get : callable
        Returns the value of a setting by its name in ssh_config, or None.
    tokens : mapping of str to str
        What ``%h``, ``%n``, ``%p`` and ``%r`` stand for, by their letters.
    alias : str or None
        The name to look the host key up by, from HostKeyAlias.
    """

    def __init__(
        self, get: Callable[[str], Any], tokens: Mapping[str, str], alias: str | None
    ) -> None:
        self._get = get
        self._tokens = {**tokens, "%": "%", "d": str(Path.home())}
        self._alias = alias

    @property
    def hop(self) -> Hop:
        """The host as the file resolves it."""
        tokens = self._tokens
        return Hop(tokens["h"], int(tokens["p"]), tokens["r"], tokens["n"])

    @property
    def proxy_command(self) -> str:
        """The command that carries the connection, or ""."""
        command: str = self._get("ProxyCommand") or ""
        return "" if command == "none" else command

    @property
    def connect_timeout(self) -> float | None:
        """Seconds for connecting, where the file says."""
        seconds: float | None = self._get("ConnectTimeout") or None
        return seconds

    @property
    def ciphers(self) -> str | None:
        """The ciphers that the file insists on."""
        ciphers: str | None = self._get("Ciphers")
        return ciphers

    def jumps(self, address: HostAddress) -> list[HostAddress]:
        """Return the hosts of ProxyJump on the way to `address`, in order."""
        text = self._get("ProxyJump") or ""
        names = [hop.strip().removeprefix("ssh://").rstrip("/") for hop in text.split(",") if hop]
        hops = [parse_host(name) for name in names]
        # `Host *` with a ProxyJump speaks of the jump host too; like ssh, go there directly.
        return [] if address in hops else hops

    def identities(self) -> list[str] | None:
        """Return the key files that the file names and that are there; None if it names none."""
        named = self._get("IdentityFile")
        if not named:
            return None
        # Like ssh, pass over files that aren't there: shared configurations name many.
        return [file for file in named if Path(file).expanduser().exists()]

    def key_files(self) -> list[Path]:
        """Return the key files that are tried, and that are there."""
        named = self.identities()
        names = named if named is not None else [f"~/.ssh/{name}" for name in keyfiles.DEFAULTS]
        files = [Path(name).expanduser() for name in names]
        return [file for file in files if file.is_file()]

    def record(self, host: str, port: int | None) -> hostkeys.Record:
        """Return what the known hosts files say of the host."""
        if self._alias:
            port = None  # an alias stands for host and port
        return hostkeys.read_record(self._known_hosts(), host, port or hostkeys.DEFAULT_PORT)

    def _known_hosts(self) -> list[Path]:
        user, system = self._get("UserKnownHostsFile"), self._get("GlobalKnownHostsFile")
        named = [
            *(hostkeys.USER_FILES if user is None else user),
            *(hostkeys.GLOBAL_FILES if system is None else system),
        ]
        return [*(Path(self._expand(name)).expanduser() for name in named), known_hosts_file()]

    def _expand(self, name: str) -> str:
        return re.sub("%(.)", lambda match: self._tokens.get(match[1], match[0]), name)
