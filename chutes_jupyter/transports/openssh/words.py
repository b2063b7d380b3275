"""What an `ssh` that could not connect tells: our own errors for it.

Whose key was refused is known from the keys that it showed to our KnownHostsCommand. For the
rest there are only its last words, which are the same in every language.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.config import known_hosts_file
from chutes_jupyter.errors import ConnectFailed, HostKeyError, LoginFailed
from chutes_jupyter.transports import failures, hostkeys, keyfiles
from chutes_jupyter.transports.openssh import program
from chutes_jupyter.transports.openssh.control import Presented

if TYPE_CHECKING:
    from chutes_jupyter.transports.openssh.control import Outcome

_KEY_REFUSED = "Host key verification failed."
_LOGIN_REFUSED = re.compile(r"^(\S+): Permission denied \(([\w,@.-]*)\)", re.MULTILINE)
#: A jump host that opens no connection, with SSH's name of the reason and its own words.
_JUMP_FAILED = re.compile(r"open failed: ([\w ]+): (.*)")


def shows_certificate(outcome: Outcome) -> bool:
    """Whether the host was refused with a certificate, and may have a plain key as well."""
    return _KEY_REFUSED in outcome.said and "-cert-" in _last(outcome).kind


def _last(outcome: Outcome) -> Presented:
    return outcome.presented[-1] if outcome.presented else Presented("", "", "", "")


@dataclass(frozen=True)
class Failed:
    """Why a connection could not be made.

    Parameters
    ----------
    error : ConnectFailed
        What to raise.
    refused : tuple of str and HostKey, or None
        The key that was refused, and the host's name for it.
    """

    error: ConnectFailed
    refused: tuple[str, hostkeys.HostKey] | None = None

    @classmethod
    async def read(cls, outcome: Outcome, worker: str, host: str, *, asked: bool = False) -> Failed:
        """Return what an attempt's end means.

        Parameters
        ----------
        outcome : Outcome
            The end.
        worker, host : str
            The worker's name, and its host as the person wrote it.
        asked : bool
            Whether somebody answered what the host asked.
        """
        where = f"worker {worker!r} ({host})"
        if _KEY_REFUSED in outcome.said and outcome.presented:
            return await cls._key(_last(outcome), worker, host)
        if _KEY_REFUSED in outcome.said:
            return cls(HostKeyError(f"{where}: its host key could not be confirmed."))
        login = _LOGIN_REFUSED.search(outcome.said)
        if login and asked:
            return cls(LoginFailed(f"{where} refused the login: it did not take what was typed."))
        if login:
            return cls(await _login(login, outcome, worker, host))
        if jump := _JUMP_FAILED.search(outcome.said):
            prohibited = jump[1] == "administratively prohibited"
            return cls(failures.jump_failed(jump[2], where, prohibited=prohibited))
        last = outcome.said.strip().splitlines() or [f"it ended with status {outcome.status}"]
        return cls(ConnectFailed(f"{where}: ssh could not connect: {last[-1].strip()}"))

    @classmethod
    async def _key(cls, shown: Presented, worker: str, host: str) -> Failed:
        settings = await program.resolve(shown.alias)
        files = [*program.known_hosts(settings), known_hosts_file()]
        try:
            key = hostkeys.HostKey(shown.kind, base64.b64decode(shown.key, validate=True))
        except binascii.Error:
            return cls(HostKeyError(f"worker {worker!r} ({host}) shows a broken host key."))
        bracketed = re.fullmatch(r"\[(.*)\]:(\d+)", shown.name)
        name, port = (bracketed[1], int(bracketed[2])) if bracketed else (shown.name, 22)
        record = hostkeys.read_record(files, name, port)
        return cls(hostkeys.refusal(record, key, worker, host), (record.name, key))


async def _login(login: re.Match[str], outcome: Outcome, worker: str, host: str) -> ConnectFailed:
    where = f"worker {worker!r} ({host})"
    alias = _last(outcome).alias
    settings = await program.resolve(alias or host)
    if alias and alias != program.target(host)[-1]:
        where += f", at its jump host {alias}"
    asked = keyfiles.asked_for(login[2].split(","), program.key_files(settings))
    if asked:
        return failures.login_needed(asked, where, worker)
    return failures.login_refused(ConnectFailed(outcome.said), where)
