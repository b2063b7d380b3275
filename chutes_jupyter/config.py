"""Named workers and settings, in one TOML file in Jupyter's config folder.

The file, `chutes_workers.toml`, is meant to be read and edited by people::

    [settings]
    outputs = "chute_outputs"

    [workers.gpu1]
    host = "me@gpu1.example.org:2222"
    python = "/opt/conda/bin/python"
    env = { HF_HOME = "/scratch/me/hf" }

What we write into it keeps their comments. `local` always exists, in the file or not.
"""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from chutes_jupyter.errors import ConfigError, SpecError, UnknownWorker
from chutes_jupyter.files import file_lock, write_private
from chutes_jupyter.models import DEFAULT_LOG_LIMIT, check_log_limit

LOCAL = "local"
#: Ways to reach a worker with a host.
TRANSPORTS = ("asyncssh", "openssh")
FILE_NAME = "chutes_workers.toml"
DEFAULT_OUTPUTS = "chute_outputs"
DEFAULT_MIRROR_LIMIT_GB = 10.0

_WORKER_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_USER_NAME = re.compile(r"[^\s@:/\x00-\x1f-][^\s:/\x00-\x1f]*")
_HOST_EXAMPLE = "gpu1 (an alias of ~/.ssh/config), me@gpu1.example.org:2222 or me@[2001:db8::1]:22"


def config_file() -> Path:
    """Return the path of the workers file; it need not exist."""
    from jupyter_core.paths import jupyter_config_dir

    return Path(jupyter_config_dir()) / FILE_NAME


def state_dir() -> Path:
    """Return the folder of our own state, made on first use for this person alone (0700)."""
    from jupyter_core.paths import jupyter_data_dir

    folder = Path(jupyter_data_dir()) / "chutes_jupyter"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32" and folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def known_hosts_file() -> Path:
    """Return our own known hosts file, read besides ``~/.ssh/known_hosts``; it need not exist."""
    return state_dir() / "known_hosts"


@dataclass(frozen=True)
class HostAddress:
    """A host as a worker names it, in parts; what is not written is None.

    `host` may be an alias of ``~/.ssh/config``.
    """

    host: str
    user: str | None = None
    port: int | None = None


def parse_host(text: object) -> HostAddress:
    """Return the parts of ``alias``, ``user@host:port`` or ``[ipv6]:port``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if not isinstance(text, str) or not text:
        raise _wrong("host", text, "must be a host", _HOST_EXAMPLE)
    user, at, rest = text.rpartition("@")
    if at and not _USER_NAME.fullmatch(user):
        raise _wrong("host", text, f"{user!r} is not a user name", _HOST_EXAMPLE)
    host, port = _split_port(text, rest)
    return HostAddress(host, user or None, port)


def _split_port(text: str, rest: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", rest)
    if bracketed:
        host, number = bracketed[1], bracketed[2]
        if not _is_ipv6(host):
            raise _wrong("host", text, f"{host!r} is not an IPv6 address", _HOST_EXAMPLE)
    elif rest.count(":") > 1:
        raise _wrong("host", text, "an IPv6 address must stand in brackets", _HOST_EXAMPLE)
    else:
        host, colon, after = rest.partition(":")
        number = after if colon else None
        if not _HOST_NAME.fullmatch(host):
            raise _wrong("host", text, f"{host!r} is not a host name", _HOST_EXAMPLE)
    if number is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", number) or not 1 <= int(number) <= 65535:
        rule = f"the port {number!r} must be a whole number from 1 to 65535"
        raise _wrong("host", text, rule, _HOST_EXAMPLE)
    return host, int(number)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def validate_name(name: object) -> str:
    """Return the worker's name, or raise `ConfigError` if it breaks the rule of names."""
    if not isinstance(name, str) or not _WORKER_NAME.fullmatch(name):
        rule = "must begin with a lowercase letter and go on with lowercase letters, digits, _ or -"
        raise _wrong("name", name, rule, "gpu1")
    return name


def validate_env(env: object) -> dict[str, str]:
    """Return the environment as a new dict, or raise `ConfigError` naming the wrong key."""
    if not isinstance(env, Mapping):
        raise _wrong("env", env, "must be a table of names and texts", '{ HF_HOME = "/data/hf" }')
    for key, value in env.items():
        if not isinstance(key, str) or not _ENV_KEY.fullmatch(key):
            rule = "must be a name of letters, digits and _, not beginning with a digit"
            raise _wrong("env key", key, rule, "HF_HOME=/data/hf")
        if not isinstance(value, str) or "\0" in value:
            # Not the value itself: an environment holds secrets.
            raise ConfigError(f"env.{key}: must be a text without NUL. Write it like {key}=value")
    return dict(env)


def _validate_path(key: str, value: object, *, rooted: bool, example: str) -> None:
    if value is None:
        return
    if not _is_path(value):
        raise _wrong(key, value, "must be a path on the worker", example)
    if rooted and not str(value).startswith(("/", "~/")):
        raise _wrong(key, value, "must be an absolute path or begin with ~/", example)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not re.search(r"[\x00-\x1f]", value)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True)
class Worker:
    """A place where jobs run.

    Parameters
    ----------
    name : str
        What it is called here (``gpu1``).
    host : str, optional
        An alias of ``~/.ssh/config``, ``user@host:port`` or ``[ipv6]:port``; None for `local`.
    python : str, optional
        The interpreter of its jobs; the agent's own where it is None.
    env : mapping of str to str
        Added to the environment of its jobs. Never logged, never stored elsewhere.
    dir : str, optional
        Where the folders of its jobs lie; ``~/.chutes_jupyter`` where it is None.
    transport : str, optional
        What carries the bytes: ``asyncssh``, or ``openssh``, the `ssh` program; chosen for each
        connection where it is None.
    trusted : bool, optional
        Whether what its jobs return may be unpickled here, which lets it run any code; where
        it is None, only of `local`, which is this machine and this person.

    Raises
    ------
    ConfigError
        If one of them breaks its rule.
    """

    name: str
    host: str | None = None
    python: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    dir: str | None = None
    transport: str | None = None
    trusted: bool | None = None

    def __post_init__(self) -> None:
        validate_name(self.name)
        if self.name == LOCAL:
            if self.host is not None:
                rule = "the worker 'local' is this machine and has no host"
                raise _wrong("host", self.host, rule, "another name for it")
        else:
            parse_host(self.host)
        _validate_path("python", self.python, rooted=False, example="/opt/conda/bin/python")
        _validate_path("dir", self.dir, rooted=True, example="/scratch/me/chutes")
        self._validate_transport()
        if self.trusted is not None and not isinstance(self.trusted, bool):
            raise _wrong("trusted", self.trusted, "must be true or false", "true")
        object.__setattr__(self, "env", validate_env(self.env))

    def _validate_transport(self) -> None:
        if self.transport is None:
            return
        if self.transport not in TRANSPORTS:
            rule = "must be asyncssh or openssh (the ssh program)"
            raise _wrong("transport", self.transport, rule, '"openssh"')
        if self.host is None:
            rule = "the worker 'local' is this machine, and no SSH leads to it"
            raise _wrong("transport", self.transport, rule, "another name for it")

    @property
    def is_trusted(self) -> bool:
        """Whether what its jobs return may be unpickled here."""
        return self.host is None if self.trusted is None else self.trusted

    @property
    def address(self) -> HostAddress | None:
        """The host in parts, or None for `local`."""
        return None if self.host is None else parse_host(self.host)


@dataclass(frozen=True)
class Settings:
    """Settings of this person, from the table `[settings]`.

    Parameters
    ----------
    outputs : str
        The folder that takes the outputs of jobs, relative to the notebook's own folder.
    mirror_limit_gb : float
        A mirror past this size (10**9 bytes each) stops and asks; ``inf`` for no limit.
    again_limit_gb : float
        How much of what jobs were given is kept on this machine, so that they can be run again
        (10**9 bytes each); 0 keeps nothing.
    log_limit : int or str
        How much of its log a job keeps, where it does not say so itself: bytes, a text like
        ``"2g"``, or ``"none"``.
    """

    outputs: str = DEFAULT_OUTPUTS
    mirror_limit_gb: float = DEFAULT_MIRROR_LIMIT_GB
    again_limit_gb: float = 1
    log_limit: int | str = "1g"

    def __post_init__(self) -> None:
        if not _is_path(self.outputs):
            raise _wrong("outputs", self.outputs, "must be a folder", f'"{DEFAULT_OUTPUTS}"')
        if not _is_positive(self.mirror_limit_gb):
            rule = "must be a number of gigabytes above 0, or inf"
            raise _wrong("mirror_limit_gb", self.mirror_limit_gb, rule, "10")
        if self.again_limit_gb != 0 and not _is_positive(self.again_limit_gb):
            rule = "must be a number of gigabytes from 0 on, or inf"
            raise _wrong("again_limit_gb", self.again_limit_gb, rule, "1")
        try:
            check_log_limit(self.log_limit)
        except SpecError as error:
            raise _wrong("log_limit", self.log_limit, error.rule, '"2g"') from None

    @classmethod
    def load(cls, path: Path | None = None) -> Settings:
        """Return the settings of the workers file, with defaults for what it does not say.

        Raises
        ------
        ConfigError
            If the file is wrong.
        """
        path = path or config_file()
        table = _tables(path)[0]
        _refuse_unknown(path, "settings", table, {each.name for each in fields(cls)})
        with _naming(path, "settings"):
            return cls(**table)

    @property
    def mirror_limit(self) -> int | None:
        """The limit of a mirror in bytes, or None for no limit."""
        if self.mirror_limit_gb == float("inf"):
            return None
        return int(self.mirror_limit_gb * 1e9)

    @property
    def again_limit(self) -> int:
        """How many bytes of what jobs were given are kept."""
        return int(min(self.again_limit_gb * 1e9, 2**62))

    @property
    def log_limit_bytes(self) -> int | None:
        """How many bytes of a log are kept, or None for all."""
        limit = check_log_limit(self.log_limit)
        return DEFAULT_LOG_LIMIT if isinstance(limit, str) else limit

    def outputs_dir(self, base: Path) -> Path:
        """Return the outputs folder of a notebook or script that lies in the folder `base`."""
        return base / Path(self.outputs).expanduser()


class Workers:
    """The named workers of this person.

    Parameters
    ----------
    path : Path
        The workers file.
    workers : mapping of str to Worker
        What it holds.
    """

    def __init__(self, path: Path, workers: Mapping[str, Worker]) -> None:
        self.path = path
        self._workers = {LOCAL: Worker(LOCAL), **workers}

    @classmethod
    def load(cls, path: Path | None = None) -> Workers:
        """Read the workers file; without one there is only `local`.

        Raises
        ------
        ConfigError
            If the file is wrong; the message names it, with the line or key and the rule.
        """
        path = path or config_file()
        found = {name: _worker(path, name, table) for name, table in _tables(path)[1].items()}
        return cls(path, found)

    def names(self) -> list[str]:
        """Return the names of all workers, `local` first."""
        return list(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def __contains__(self, name: object) -> bool:
        return name in self._workers

    def get(self, name: str) -> Worker:
        """Return the worker of that name.

        Raises
        ------
        UnknownWorker
            If there is none; the message says which there are and how to add one.
        """
        if name in self._workers:
            return self._workers[name]
        message = f"There is no worker {name!r}; there are: {', '.join(self.names())}."
        close = difflib.get_close_matches(str(name), self.names(), n=1)
        if close:
            message += f" Did you mean {close[0]!r}?"
        message += f" Add it with: jupyter chute worker add {_name_to_type(name)} HOST"
        raise UnknownWorker(message)

    def add(self, worker: Worker) -> None:
        """Write a worker into the file, in place of one of the same name."""

        def change(document: Any) -> None:
            import tomlkit

            tables = document.setdefault("workers", tomlkit.table(is_super_table=True))
            _fill(tables.setdefault(worker.name, tomlkit.table()), worker)

        self._rewrite(change)

    def remove(self, name: str) -> None:
        """Take a worker out of the file.

        Raises
        ------
        UnknownWorker
            If there is none of that name.
        ConfigError
            If it is `local`, which always exists.
        """
        if name == LOCAL:
            raise ConfigError("The worker 'local' is this machine; it can't be removed.")
        self.get(name)

        def change(document: Any) -> None:
            document.get("workers", {}).pop(name, None)

        self._rewrite(change)

    def _rewrite(self, change: Callable[[Any], None]) -> None:
        import tomlkit

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(self.path.with_suffix(".lock")):
            # Read again under the lock: another process may have added one meanwhile.
            type(self).load(self.path)
            document = tomlkit.parse(_read(self.path))
            change(document)
            write_private(self.path, tomlkit.dumps(document).encode("utf-8"))
            self._workers = type(self).load(self.path)._workers


def _fill(table: Any, worker: Worker) -> None:
    """Make a TOML table say what the worker says, touching only what differs."""
    for key in ("host", "python", "dir", "transport", "trusted"):
        value = getattr(worker, key)
        if value is None:
            table.pop(key, None)
        elif table.get(key) != value:
            table[key] = value
    if not worker.env:
        table.pop("env", None)
        return
    if "env" not in table:
        table["env"] = {}
    known = table["env"]
    for name in [name for name in known if name not in worker.env]:
        del known[name]
    for name, value in worker.env.items():
        if known.get(name) != value:
            known[name] = value


def _name_to_type(name: object) -> str:
    text = str(name)
    return text if _WORKER_NAME.fullmatch(text) else "NAME"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error


def _tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tables `[settings]` and `[workers]` of the file, unchecked inside."""
    import tomllib

    try:
        document = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    _refuse_unknown(path, "", document, {"settings", "workers"})
    for key in ("settings", "workers"):
        if not isinstance(document.get(key, {}), dict):
            raise ConfigError(f"{path}: {key}: must be a table. Write it like [{key}]")
    return document.get("settings", {}), document.get("workers", {})


def _worker(path: Path, name: str, table: object) -> Worker:
    where = f"workers.{name}"
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {where}: must be a table. Write it like [workers.gpu1]")
    _refuse_unknown(path, where, table, {each.name for each in fields(Worker)} - {"name"})
    with _naming(path, where):
        return Worker(name, **table)


def _refuse_unknown(path: Path, where: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            full = f"{where}.{key}" if where else key
            raise ConfigError(f"{path}: {full}: no such key; there are {', '.join(sorted(known))}.")


@contextlib.contextmanager
def _naming(path: Path, where: str) -> Iterator[None]:
    """Say in which file and table a value is wrong."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {where}: {error}") from error


def _wrong(key: str, value: object, rule: str, example: str) -> ConfigError:
    return ConfigError(f"{key}={value!r}: {rule}. Write it like {example}")
