"""Known hosts files: whose key is on record, and what to say of one that is not.

The files are OpenSSH's, and a host is looked up as OpenSSH does it: by name (not by address),
``[name]:port`` for another port than 22, hashed names and patterns included.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ChangedHostKey, HostKeyError, UnknownHostKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DEFAULT_PORT = 22
USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
#: Kinds of host keys without certificates, best first, with the algorithms to ask for.
KINDS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


@dataclass(frozen=True)
class HostKey:
    """A host's public key.

    Parameters
    ----------
    kind : str
        Its algorithm (``ssh-ed25519``).
    blob : bytes
        The key as SSH sends it.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint, as ``SHA256:…``."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")

    @property
    def text(self) -> str:
        """The key as known hosts files and key files write it."""
        return f"{self.kind} {base64.b64encode(self.blob).decode('ascii')}"


@dataclass(frozen=True)
class Entry:
    """A line of a known hosts file that speaks of the host.

    Parameters
    ----------
    key : HostKey
        The key on the line.
    marker : str
        ``""``, ``"cert-authority"`` or ``"revoked"``.
    file : Path
        The file it stands in.
    line : int
        The number of the line, from 1.
    """

    key: HostKey
    marker: str
    file: Path
    line: int


@dataclass(frozen=True)
class Record:
    """What the known hosts files say of one host.

    Parameters
    ----------
    name : str
        What the host is called there (``[gpu1.example.org]:2222``).
    own : list of Entry
        The lines for exactly that name.
    borrowed : list of Entry
        The lines for the name without its port, where it has no keys of its own. They may
        confirm the host, but can't prove that its key has changed.
    """

    name: str
    own: list[Entry]
    borrowed: list[Entry]

    def entries(self, marker: str = "") -> list[Entry]:
        """Return the lines with this marker."""
        return [entry for entry in (*self.own, *self.borrowed) if entry.marker == marker]


def lookup_name(host: str, port: int) -> str:
    """Return what known hosts files call this host and port."""
    return host.lower() if port == DEFAULT_PORT else f"[{host.lower()}]:{port}"


def read_record(files: Iterable[Path], host: str, port: int) -> Record:
    """Look a host up in known hosts files; files that are not there say nothing."""
    files = list(files)
    name = lookup_name(host, port)
    own = list(_matches(files, name))
    trusting = any(entry.marker != "revoked" for entry in own)
    borrowed = [] if trusting or port == DEFAULT_PORT else list(_matches(files, host.lower()))
    return Record(name, own, borrowed)


def _matches(files: Iterable[Path], name: str) -> Iterable[Entry]:
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            # As with OpenSSH, a file that can't be read vouches for nobody.
            continue
        for number, line in enumerate(text.split("\n"), 1):
            entry = _parse(file, number, line, name)
            if entry is not None:
                yield entry


def _parse(file: Path, number: int, line: str, name: str) -> Entry | None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0)[1:] if words[0].startswith("@") else ""
    if marker not in ("", "cert-authority", "revoked") or len(words) < 3:
        return None
    patterns, kind, blob = words[:3]
    if not _names(patterns, name):
        return None
    try:
        key = HostKey(kind, base64.b64decode(blob, validate=True))
    except binascii.Error:
        return None  # a broken line vouches for nobody
    return Entry(key, marker, file, number)


def _names(patterns: str, name: str) -> bool:
    """Whether a line's first word speaks of this name."""
    if patterns.startswith("|1|"):
        return _names_hashed(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        negated = pattern.startswith("!")
        text = re.escape(pattern[negated:]).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(text, name):
            if negated:
                return False
            found = True
    return found


def _names_hashed(pattern: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in pattern[3:].split("|"))
    except ValueError:
        return False
    # SHA-1 is what the file format has; it only hides the names from a reader of the file.
    made = hmac.new(salt, name.encode("utf-8"), hashlib.sha1).digest()
    return hmac.compare_digest(made, digest)


def algorithms(record: Record | None) -> list[str]:
    """Return what to ask a host for so that it shows any plain key, those on record first."""
    recorded = {entry.key.kind for entry in record.entries()} if record else set()
    kinds = sorted(KINDS, key=lambda kind: kind not in recorded)
    return [name for kind in kinds for name in KINDS[kind]]


def refusal(
    record: Record, presented: HostKey, worker: str, host: str, certificate: str = ""
) -> HostKeyError:
    """Return the error for a key that is not trusted: changed or unknown.

    Parameters
    ----------
    record : Record
        What is on record for the host.
    presented : HostKey
        The key that the host presented.
    worker : str
        The worker's name.
    host : str
        The worker's host, as the person wrote it.
    certificate : str
        Why the host's certificate does not vouch for it, in a sentence, where it has one.
    """
    recorded = [entry for entry in record.own if not entry.marker]
    facts = (presented.fingerprint, presented.kind, record.name)
    if recorded:
        return ChangedHostKey(_changed(record, presented, recorded), *facts)
    return UnknownHostKey(_unknown(record, presented, worker, host, certificate), *facts)


def distrusted(record: Record, authority: HostKey | None, reason: str) -> str:
    """Return in a sentence why a host's certificate does not vouch for it.

    Parameters
    ----------
    record : Record
        What is on record for the host.
    authority : HostKey or None
        Who signed the certificate, where that is nobody on record.
    reason : str
        What else is wrong with it.
    """
    if authority is None:
        return f"Its certificate does not vouch for it: {reason}."
    signed = f"Its certificate is signed by the authority {authority.fingerprint}"
    known = [
        f"{entry.key.fingerprint} ({entry.file} line {entry.line})"
        for entry in record.entries("cert-authority")
    ]
    if not known:
        return f"{signed}; no @cert-authority is on record for this host."
    return f"{signed}, but on record for this host as @cert-authority is {', '.join(known)}."


def _unknown(record: Record, presented: HostKey, worker: str, host: str, certificate: str) -> str:
    command = f"worker add {worker} {shlex.quote(host)} --accept-key {presented.fingerprint}"
    return (
        f"The host {record.name} of worker {worker!r} is not known here: nothing was sent to it. "
        f"{certificate + ' ' if certificate else ''}It presents a key of type {presented.kind} "
        "with the fingerprint\n"
        f"    {presented.fingerprint}\n"
        "Compare it with what whoever runs the host tells you (there: "
        "ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub). If it is the same, accept it with\n"
        f"    jupyter chute {command}\n"
        f"or, in a notebook, %chute {command}"
    )


def _changed(record: Record, presented: HostKey, recorded: list[Entry]) -> str:
    known = "\n".join(
        f"    {entry.key.fingerprint} ({entry.key.kind}, {entry.file} line {entry.line})"
        for entry in recorded
    )
    files = dict.fromkeys(str(entry.file) for entry in recorded)
    commands = "\n".join(
        f"    ssh-keygen -R {shlex.quote(record.name)} -f {shlex.quote(file)}" for file in files
    )
    return (
        f"The key of the host {record.name} has CHANGED: nothing was sent to it. On record is\n"
        f"{known}\n"
        "and it presents\n"
        f"    {presented.fingerprint} ({presented.kind})\n"
        "Either the machine was set up anew, or its address belongs to another machine now "
        "(rented ones change often), or somebody stands between you and it. Ask whoever runs "
        "it. Once you are sure, forget the old key with\n"
        f"{commands}\n"
        "and connect again: the new key is then shown for you to accept."
    )


def remember(file: Path, name: str, key: HostKey) -> None:
    """Add a host's key to a known hosts file, made for this person alone where it is new."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = file.read_bytes() if file.exists() else b""
    gap = b"" if not old or old.endswith(b"\n") else b"\n"
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as stream:
        stream.write(gap + f"{name} {key.text}\n".encode())
