"""What a worker says, checked before anything else looks at it.

A worker may be a stranger's machine: every reply is bounded and of the expected shape, or it
is `AgentFailed`. Paths of outputs have their own rules, since they become files here.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.harmless import harmless
from chutes_jupyter.models import PORT_RANGE, SSH_PORT, TERMINAL, check_public_keys
from chutes_jupyter.raised import RaisedList
from chutes_jupyter.undeclared import ListenerList

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_FILES",
    "OTHER_FORMAT",
    "Checkup",
    "DoorFacts",
    "DoorRefusal",
    "Entry",
    "Event",
    "EventPage",
    "Gpu",
    "Hello",
    "IndexPage",
    "Info",
    "JobPage",
    "JobStatus",
    "Listing",
    "LogPiece",
    "Pong",
    "ReadEnd",
    "Refusal",
    "RemoteError",
    "Removal",
    "RemovalPage",
    "Submitted",
    "Unreadable",
    "parse",
    "path_fault",
    "printable",
]

#: The agent's word for a job directory of a format that it does not know.
OTHER_FORMAT = "other_format"
_MAX_COUNT = 2**53
_MAX_SIZE = 2**63 - 1
#: The agent lists no more files, and paths that long fit on no file system.
MAX_FILES = 200_000
_MAX_PATH = 4096
_MAX_PARTS = 100
#: The last second of the year 9999: later ones can't be shown as a date.
_MAX_TIME = 253_402_300_799


def _shown(lines: bool) -> BeforeValidator:
    """Return what makes text fit to be shown, before anything else looks at it."""
    return BeforeValidator(lambda v: harmless(v, lines=lines) if isinstance(v, str) else v)


def _may_be_declared(number: int) -> int:
    low, high = PORT_RANGE
    if number != SSH_PORT and not low <= number <= high:
        raise ValueError(f"no job may have port {number}")
    return number


def _is_public_key(line: str) -> str:
    if check_public_keys(line) != (line,):
        raise ValueError("not one public key")
    return line


Count = Annotated[int, Field(ge=0, le=_MAX_COUNT)]
Size = Annotated[int, Field(ge=0, le=_MAX_SIZE)]
Nanoseconds = Annotated[int, Field(ge=-_MAX_SIZE, le=_MAX_SIZE)]
Time = Annotated[float, Field(ge=0, le=_MAX_TIME, allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=256), _shown(lines=False)]
Text = Annotated[str, Field(max_length=64 * 1024), _shown(lines=True)]
LongText = Annotated[str, Field(max_length=1024 * 1024), _shown(lines=True)]
# In these patterns `$` is the very end: the engine is Rust's.
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
JobName = Annotated[str, Field(pattern=r"^[^\W\d]\w{0,199}$")]
PortName = Annotated[str, Field(pattern=r"^[a-z]+[0-9]*$", max_length=256)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Path = Annotated[
    str,
    Field(max_length=16 * 1024),
    # Not `harmless`: a line end is a part of the name.
    BeforeValidator(lambda v: printable(v) if isinstance(v, str) else v),
]
WorkerState = Literal[
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


class _Reply(BaseModel):
    """A shape that replies have; fields that it does not name are dropped."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class RemoteError(_Reply):
    """What the job function raised."""

    type: Word
    message: Text
    traceback: LongText
    #: The same as data, the first being the one that was raised; empty from an older agent.
    raised: RaisedList = []


class Event(_Reply):
    """One numbered event of a job. Types that this version does not know are kept, unread."""

    n: Annotated[int, Field(ge=1, le=_MAX_COUNT)]
    t: Time
    type: Word
    state: WorkerState | None = None
    reason: Text | None = None
    error: RemoteError | None = None
    has_value: bool = False
    value_size: Size | None = None
    #: Why the result was pickled, for who trusts the worker; else None.
    untrusted: Text | None = None
    by: Word | None = None
    python: Word | None = None
    message: Text | None = None
    version: Count = 0
    files: Count = 0
    bytes: Size = 0
    final: bool = False
    name: Word | None = None
    port: PortNumber | None = None
    ready: bool = False
    ports: ListenerList = []

    def fault(self) -> str | None:
        """Return what a known type lacks, or None."""
        needed = {"state": self.state, "port": self.name}
        needed |= dict.fromkeys(("notice", "waiting", "gpus"), self.message)
        if self.type in needed and needed[self.type] is None:
            return f"event {self.n} of type {self.type} is not whole"
        return None


class EventPage(_Reply):
    """The reply to `events`."""

    events: Annotated[list[Event], Field(max_length=100_000)]
    state: WorkerState | None
    terminal: bool


class DoorFacts(_Reply):
    """The reply to `door`. Its texts become lines of ssh's own files: nothing else fits in."""

    user: Annotated[str, Field(pattern=r"^[\w][\w.@+\\-]{0,127}\$?$")]
    host_key: Annotated[str, Field(pattern=r"^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]{16,2000}={0,2}$")]
    keys: Annotated[
        list[Annotated[str, Field(max_length=20_000), AfterValidator(_is_public_key)]],
        Field(max_length=100),
    ]


class _Fault(_Reply):
    code: Word
    message: Text


class DoorRefusal(_Reply):
    """The answer of the program `door` that there is no way in."""

    error: _Fault


class Submitted(_Reply):
    """The reply to `submit`."""

    state: WorkerState | None
    event: Count
    known: bool


class MissingFiles(_Reply):
    """The reply to `modules`: which of the files that were asked for are not there."""

    missing: Annotated[list[Sha256], Field(max_length=10_000)]


class MissingModules(_Reply):
    """The reply to `installed`: which modules the interpreter of jobs does not have."""

    missing: Annotated[list[Word], Field(max_length=1000)]
    executable: Text
    version: Word


class LogPiece(_Reply):
    """The header of the reply to `log`; the bytes are its body.

    Of the log's bytes from `offset` on, `skipped` are kept no more: the body follows them.
    """

    offset: Size
    size: Size
    end: bool
    skipped: Size = 0
    limit: Size | None = None


class IndexPage(_Reply):
    """The header of the reply to `index`; the records are its body."""

    records: Count


class Entry(_Reply):
    """One file of a listing. Its path is checked by `path_fault`, where it becomes a file."""

    path: Path
    size: Size
    mtime_ns: Nanoseconds
    sha256: Sha256 | None
    quiet: bool


class Refusal(_Reply):
    """A name in the output folder that brings no file, and why."""

    path: Path
    reason: Text


class Listing(_Reply):
    """One page of the reply to `outputs`."""

    version: Count
    final: bool
    total: Annotated[int, Field(ge=0, le=MAX_FILES)]
    entries: Annotated[list[Entry], Field(max_length=10_000)]
    refused: Annotated[list[Refusal], Field(max_length=10_000)]


class ReadEnd(_Reply):
    """The header of the last frame of the replies to `read` and `result`.

    Without a hash where the client asked for none, since the listing has it.
    """

    size: Size
    mtime_ns: Nanoseconds
    sha256: Sha256 | None
    changed: bool


class LargeResult(_Reply):
    """The header of the reply to `result` for one that is larger than was asked for."""

    size: Size
    mtime_ns: Nanoseconds


class Hello(_Reply):
    """The reply to `hello`; `jobs_python` is the version of the interpreter of jobs, if asked."""

    protocol: Count
    agent: Word
    python: Text
    version: Word
    host: Word
    user: Word
    boot: Word
    pid: Count
    root: Text
    platform: Word
    jobs_python: Word | None = None


class Gpu(_Reply):
    """One GPU of a worker."""

    name: Word
    memory_mib: Count


class Interpreter(_Reply):
    """The interpreter of a worker's jobs."""

    executable: Text
    version: Word
    implementation: Word


class Info(_Reply):
    """The reply to `info`. Without GPU tools on the worker `gpus` is None.

    `logout` says when a logout would end jobs, and what helps.
    """

    gpus: Annotated[list[Gpu], Field(max_length=1024)] | None
    cpus: Count | None
    memory_mib: Count | None
    interpreter: Interpreter
    logout: Text | None = None


class Pong(_Reply):
    """The reply to `ping`: the worker's clock."""

    time: Time


class Checkup(_Reply):
    """The reply to `check`: the worker's folder, and what fails there."""

    path: Text
    free: Size
    total: Size
    files_free: Size | None
    kind: Word | None
    write_fault: Text | None
    lock_fault: Text | None


class JobPort(_Reply):
    """A port as the worker's copy of the spec has it; one that no job may declare is refused."""

    name: PortName
    port: Annotated[PortNumber, AfterValidator(_may_be_declared)]
    proto: Literal["tcp", "udp", "http"]


class JobStatus(_Reply):
    """One job in the reply to `jobs`."""

    id: JobId
    name: JobName
    state: WorkerState | None
    event: Count
    created: Time
    started: Time | None
    ended: Time | None
    reason: Text | None
    notebook: Text | None
    cell: Word | None = None
    ports: Annotated[list[JobPort], Field(max_length=1000)]
    timeout: Count | None
    upload: bool
    #: What it waits for before it starts.
    waiting: Word | None = None
    #: How far it is, as the job's own process wrote it: `readingpages.told` reads it.
    progress: dict[str, Any] | None = None
    #: Whether only this is left of it.
    removed: bool = False

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL


class Unreadable(_Reply):
    """A job that this version can't read, and why."""

    id: JobId
    reason: Text


class JobPage(_Reply):
    """The reply to `jobs`."""

    jobs: Annotated[list[JobStatus], Field(max_length=10_000)]
    next: JobId | None
    unreadable: Annotated[list[Unreadable], Field(max_length=10_000)] = []
    newest: Time = 0.0


class Removal(_Reply):
    """What became of one job that was to be removed."""

    id: JobId
    removed: bool
    bytes: Size
    reason: Text


class RemovalPage(_Reply):
    """One frame of the reply to `remove`."""

    done: Annotated[list[Removal], Field(max_length=10_000)]
    swept: Size = 0


Model = TypeVar("Model", bound=_Reply)


def parse(model: type[Model], header: Mapping[str, Any]) -> Model:
    """Return a reply as its model.

    Raises
    ------
    AgentFailed
        If it does not have the shape, or something in it is out of bounds.
    """
    try:
        reply = model.model_validate(header)
    except (ValidationError, RecursionError) as error:
        # Not from `error`, which quotes what came.
        raise AgentFailed(
            f"The worker's agent sent a malformed reply ({model.__name__}): {_first(error)}"
        ) from None
    if isinstance(reply, EventPage):
        for event in reply.events:
            if fault := event.fault():
                raise AgentFailed(f"The worker's agent sent a malformed reply: {fault}")
    return reply


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    item = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in item["loc"])
    return f"{where}: {item['msg']}"[:500]


# --------------------------------------------------------------------------- paths of outputs

_MAX_PART = 255
_SURROGATES = re.compile("[\ud800-\udfff]")
_WINDOWS_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE
)
_WINDOWS_CHARACTERS = re.compile(r'[\x00-\x1f<>:"|?*\\]')


def path_fault(path: str, *, windows: bool = sys.platform == "win32") -> str | None:
    """Return why no file of this path may be made here, or None if it may.

    Parameters
    ----------
    path : str
        As the worker gave it, with ``/`` between its parts.
    windows : bool
        Whether the file system is one of Windows, which reads more into names.
    """
    if "\0" in path:
        return "the name holds a NUL"
    if path.startswith("/"):
        return "an absolute path"
    if "\ufffd" in path:
        return "the name is not UTF-8"
    parts = path.split("/")
    if len(path) > _MAX_PATH or len(parts) > _MAX_PARTS:
        return "a path that is too long"
    for part in parts:
        if fault := _part_fault(part, windows):
            return fault
    return None


def _part_fault(part: str, windows: bool) -> str | None:
    if part in ("", "."):
        return "a path with an empty part"
    if part == "..":
        return "a path that leaves the output folder"
    if len(os.fsencode(part)) > _MAX_PART:
        return "a name that is too long"
    if windows:
        if _WINDOWS_CHARACTERS.search(part):
            return "a character that Windows does not allow in names"
        if part[-1] in ". " or _WINDOWS_RESERVED.fullmatch(part):
            return "a name that Windows keeps for itself"
    return None


def printable(text: str) -> str:
    """Return text with what is not Unicode (bytes of a name that is no UTF-8) replaced."""
    return _SURROGATES.sub("\ufffd", text)
