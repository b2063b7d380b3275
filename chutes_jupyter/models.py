"""What a job is declared with: the reference's rules, in one place.

The rules are those of the `@chute.job` reference (`docs/reference.md`): which ports are
allowed, how they are named, how long a timeout may be. Every refusal is a `SpecError` that
names the field, the value, what is allowed and how to write it.
"""

from __future__ import annotations

import base64
import re
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from chutes_jupyter.errors import SpecError

SSH_PORT = 2202
PORT_RANGE = (8002, 65535)
PROTOCOLS = ("tcp", "udp", "http")
TIMEOUT_RANGE = (30, 86400)
GPU_RANGE = (0, 64)
#: Seconds between telling the function to end and ending it by force.
DEFAULT_GRACE = 10.0
#: How much of its log a job keeps, in bytes, and the least that it may be told to keep.
DEFAULT_LOG_LIMIT = 1024**3
LEAST_LOG_LIMIT = 64 * 1024

State = Literal[
    "pending",
    "starting",
    "running",
    "cancelling",
    "collecting",
    "succeeded",
    "failed",
    "cancelled",
    "timed_out",
    "lost",
]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "timed_out", "lost"})

_PORT_NAME = re.compile(r"[a-z]+[0-9]*")
_DURATION = re.compile(r"([0-9]{1,9})\s*(s|m|h)?")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_PUBLIC_KEY = re.compile(
    r"((?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}) ([A-Za-z0-9+/]+={0,2})( [^\x00-\x1f\x7f-\x9f]*)?"
)
_SIZE = re.compile(r"([0-9]{1,15})\s*([kmgt]?)(?:i?b)?")


@dataclass(frozen=True)
class Port:
    """A port that the job listens on.

    Parameters
    ----------
    name : str
        Lowercase letters, then digits if you like (``web``, ``metrics1``).
    port : int
        2202 (SSH) or 8002 to 65535.
    proto : {"tcp", "udp", "http"}
        How the port is spoken to.

    Raises
    ------
    SpecError
        If one of the three breaks its rule.
    """

    name: str
    port: int
    proto: Literal["tcp", "udp", "http"]

    def __post_init__(self) -> None:
        _check_port(self, "port")

    @classmethod
    def parse(cls, text: str) -> Port:
        """Return the port that ``NAME:PORT/PROTO`` describes, as options write it."""
        match = re.fullmatch(r"([^:]*):([^/]*)/(.*)", text.strip())
        example = "--port web:8080/http"
        if not match:
            raise SpecError("--port", text, "must be NAME:PORT/PROTO", example)
        name, number, proto = match.groups()
        if not re.fullmatch("[0-9]{1,9}", number):
            raise SpecError("--port", text, f"the port {number!r} is not a whole number", example)
        try:
            return cls(name, int(number), proto)  # type: ignore[arg-type]  # checked there
        except SpecError as error:
            part = error.field.partition(".")[2]
            rule = f"the {part} {error.value!r} {error.rule}"
            raise SpecError("--port", text, rule, example) from None


def _check_port(port: Port, where: str) -> None:
    example = 'Port(name="web", port=8080, proto="http")'
    if not isinstance(port.name, str) or not _PORT_NAME.fullmatch(port.name):
        rule = "must be lowercase letters, optionally followed by digits"
        raise SpecError(f"{where}.name", port.name, rule, example)
    low, high = PORT_RANGE
    number = port.port
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or not (number == SSH_PORT or low <= number <= high):
        rule = f"must be {SSH_PORT} (reserved for SSH) or a whole number from {low} to {high}"
        raise SpecError(f"{where}.port", number, rule, example)
    if port.proto not in PROTOCOLS:
        raise SpecError(f"{where}.proto", port.proto, "must be tcp, udp or http", example)


def check_public_keys(text: str) -> tuple[str, ...]:
    """Return the SSH public keys of a text, one a line as in a ``.pub`` file.

    Raises
    ------
    SpecError
        If a line is something else, or there is none.
    """
    example = '_ssh_public_key="ssh-ed25519 AAAA… me@laptop"'
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise SpecError("_ssh_public_key", text, "holds no key", example)
    for line in found:
        match = _PUBLIC_KEY.fullmatch(line)
        kind = match[1].encode("ascii") if match else b""
        # The key says its own kind once more, inside.
        if match is None or not _decoded(match[2]).startswith(struct.pack("!I", len(kind)) + kind):
            rule = "must be an SSH public key, as in ~/.ssh/id_ed25519.pub, without options"
            raise SpecError("_ssh_public_key", line, rule, example)
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def check_ports(
    ports: Iterable[Port | Mapping[str, Any]] | None, *, ssh: bool = False
) -> tuple[Port, ...]:
    """Return the ports of a job, checked together, with the SSH port where it is asked for.

    Raises
    ------
    SpecError
        If a port breaks a rule, or two share a number or a name.
    """
    example = 'ports=[Port(name="web", port=8080, proto="http")]'
    if ports is None:
        ports = ()
    if isinstance(ports, (str, bytes, Mapping, Port)) or not isinstance(ports, Iterable):
        raise SpecError("ports", ports, "must be a list of ports", example)
    checked = [_as_port(item, f"ports[{index}]") for index, item in enumerate(ports)]
    _check_unique(checked, example)
    if ssh and not any(port.port == SSH_PORT for port in checked):
        for index, port in enumerate(checked):
            if port.name == "ssh":
                rule = f"with ssh=True this name belongs to port {SSH_PORT}"
                raise SpecError(f"ports[{index}].name", port.name, rule, example)
        checked.append(Port("ssh", SSH_PORT, "tcp"))
    return tuple(checked)


def _check_unique(checked: list[Port], example: str) -> None:
    for index, port in enumerate(checked):
        for earlier in checked[:index]:
            if port.port == earlier.port:
                rule = f"already used by {earlier.name!r}; each port number may be used once"
                raise SpecError(f"ports[{index}].port", port.port, rule, example)
            if port.name == earlier.name:
                rule = f"already the name of port {earlier.port}; each name may be used once"
                raise SpecError(f"ports[{index}].name", port.name, rule, example)


def _as_port(item: object, where: str) -> Port:
    if isinstance(item, Port):
        return item
    example = '{"name": "web", "port": 8080, "proto": "http"}'
    if not isinstance(item, Mapping) or set(item) != {"name", "port", "proto"}:
        rule = "must be a Port, or a dict with exactly the keys name, port and proto"
        raise SpecError(where, item, rule, example)
    port = object.__new__(Port)
    for key in ("name", "port", "proto"):
        object.__setattr__(port, key, item[key])
    _check_port(port, where)
    return port


def check_timeout(timeout: object) -> int | None:
    """Return the timeout in seconds, or None for a job without one.

    Raises
    ------
    SpecError
        If it is neither None nor a whole number from 30 to 86400 (bool and float are not).
    """
    if timeout is None:
        return None
    low, high = TIMEOUT_RANGE
    whole = isinstance(timeout, int) and not isinstance(timeout, bool)
    if not whole or not low <= timeout <= high:  # type: ignore[operator]  # an int by now
        rule = f"must be None (no limit) or a whole number of seconds from {low} to {high}"
        raise SpecError("timeout", timeout, rule, "timeout=3600")
    return timeout  # type: ignore[return-value]


def parse_timeout(text: str) -> int | None:
    """Return the timeout that an option writes as ``3600``, ``90m``, ``1h`` or ``none``."""
    cleaned = text.strip().lower()
    if cleaned == "none":
        return None
    match = _DURATION.fullmatch(cleaned)
    low, high = TIMEOUT_RANGE
    if match:
        seconds = int(match[1]) * _UNITS[match[2] or "s"]
        if low <= seconds <= high:
            return seconds
    rule = f"must be seconds, or a number with s, m or h, from {low} s to {high} s, or none"
    raise SpecError("--timeout", text, rule, "--timeout 90m")


def check_flag(name: str, value: object) -> bool:
    """Return `value` if it is True or False, and raise `SpecError` otherwise."""
    if not isinstance(value, bool):
        raise SpecError(name, value, "must be True or False", f"{name}=True")
    return value


def check_grace(value: object) -> float:
    """Return the grace in seconds: 0 to 3600."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 3600:  # type: ignore[operator]  # a number by now
        raise SpecError("grace", value, "must be a number of seconds from 0 to 3600", "grace=30")
    return float(value)  # type: ignore[arg-type]


def check_names(field: str, value: object) -> tuple[str, ...]:
    """Return names of the notebook as a tuple.

    Raises
    ------
    SpecError
        If it is no list of Python names.
    """
    names = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise SpecError(field, value, "must be a list of names", f'{field}=["HF_TOKEN"]')
    return names


def check_gpus(value: object, where: str = "gpus") -> int | None:
    """Return how many GPUs a job wants for itself, 0 for none, or None if it does not say.

    Parameters
    ----------
    value : int, str or None
        A text as an option writes it is taken, too.
    where : str
        What refusals call it.

    Raises
    ------
    SpecError
        If it is no whole number from 0 to 64.
    """
    count = value
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value.strip()):
        count = int(value)
    if count is None:
        return None
    low, high = GPU_RANGE
    whole = isinstance(count, int) and not isinstance(count, bool)
    if not whole or not low <= count <= high:  # type: ignore[operator]  # an int by now
        rule = f"must be a whole number from {low} (the job sees none) to {high}"
        raise SpecError(where, value, rule, "--gpus 1" if where.startswith("-") else "gpus=1")
    return count  # type: ignore[return-value]


def check_log_limit(value: object, where: str = "log_limit") -> int | str | None:
    """Return the limit of a log in bytes, None for no limit, or ``"default"``.

    Parameters
    ----------
    value : int, str or None
        Bytes, or a text like ``512k``, ``64m``, ``2g``, ``none`` or ``default``.
    where : str
        What refusals call it.

    Raises
    ------
    SpecError
        If it is none of these, or below 64 KiB.
    """
    size = value
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("default", "none"):
            return None if text == "none" else text
        match = _SIZE.fullmatch(text)
        size = int(match[1]) * 1024 ** " kmgt".index(match[2] or " ") if match else None
    elif value is None:
        return None
    whole = isinstance(size, int) and not isinstance(size, bool)
    if not whole or not LEAST_LOG_LIMIT <= size < 2**62:  # type: ignore[operator]  # an int by now
        rule = "must be a number of bytes from 64k on, with k, m or g if you like, or none"
        example = f"{where} 2g" if where.startswith("-") else f'{where}="2g"'
        raise SpecError(where, value, rule, example)
    return size  # type: ignore[return-value]


@dataclass(frozen=True)
class JobOptions:
    """How a job function is run: what the decorator, the magic and `.options()` set.

    Raises
    ------
    SpecError
        If a value breaks the reference's rules.
    """

    ports: tuple[Port, ...] = ()
    timeout: int | None = None
    upload: bool = True
    ssh: bool = False
    worker: str = "local"
    grace: float = DEFAULT_GRACE
    log_limit: int | str | None = "default"
    #: Names that look like credentials and may travel; those of `secret` are shown nowhere.
    send: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    gpus: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "send", check_names("send", self.send))
        object.__setattr__(self, "secret", check_names("secret", self.secret))
        check_flag("ssh", self.ssh)
        check_flag("upload", self.upload)
        # Kept for `changed`: the SSH port that ssh=True adds must go again with ssh=False.
        declared = check_ports(self.ports)
        object.__setattr__(self, "_declared", declared)
        object.__setattr__(self, "ports", check_ports(declared, ssh=self.ssh))
        check_timeout(self.timeout)
        object.__setattr__(self, "grace", check_grace(self.grace))
        object.__setattr__(self, "log_limit", check_log_limit(self.log_limit))
        object.__setattr__(self, "gpus", check_gpus(self.gpus))
        if not isinstance(self.worker, str) or not self.worker:
            raise SpecError("worker", self.worker, "must be the name of a worker", 'worker="gpu1"')

    def changed(self, **changes: Any) -> JobOptions:
        """Return a copy with some options changed, checked again."""
        names = set(self.__dataclass_fields__)
        for name, value in changes.items():
            if name not in names:
                rule = f"no such option; there are {', '.join(sorted(names))}"
                raise SpecError(name, value, rule, ".options(timeout=3600)")
        declared = self._declared  # type: ignore[attr-defined]  # set in __post_init__
        return replace(self, **{"ports": declared, **changes})


def new_job_id() -> str:
    """Return a new job id: 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class JobSpec:
    """One execution of a job function, as the worker is told of it.

    `payload` (the code, its values and the job data, encoded by the codec) travels beside
    it; the spec names its hash, so that a spec with other code is another spec.
    """

    id: str
    name: str
    options: JobOptions
    payload_sha256: str
    payload_size: int
    created: float
    python: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    notebook: str | None = None
    #: The cell that submitted it, by the id that the notebook's file keeps.
    cell: str | None = None
    node_selector: Mapping[str, Any] | None = None
    #: What ``"default"`` in the options means.
    default_log_limit: int | None = DEFAULT_LOG_LIMIT
    #: Who may come in where the options say `ssh`, one public key a line; the person's own
    #: key where it is None.
    ssh_public_key: str | None = None

    @property
    def log_limit(self) -> int | None:
        """How many bytes of its log are kept, or None for all."""
        chosen = self.options.log_limit
        return chosen if chosen is None or isinstance(chosen, int) else self.default_log_limit

    @property
    def label(self) -> str:
        """The id as it is shown and typed: ``train-3f9c2a``."""
        return f"{self.name}-{self.id[:6]}"

    def to_json(self) -> dict[str, Any]:
        """Return the spec as the agent reads it (`spec.json` in the job directory)."""
        return {
            "id": self.id,
            "name": self.name,
            "ports": [asdict(port) for port in self.options.ports],
            "timeout": self.options.timeout,
            "upload": self.options.upload,
            "ssh": self.options.ssh,
            "ssh_public_key": self.ssh_public_key,
            "grace": self.options.grace,
            "log_limit": self.log_limit,
            "gpus": self.options.gpus,
            "payload_sha256": self.payload_sha256,
            "payload_size": self.payload_size,
            "created": self.created,
            "python": self.python,
            "env": dict(self.env),
            "notebook": self.notebook,
            "cell": self.cell,
            "node_selector": dict(self.node_selector) if self.node_selector else None,
        }
