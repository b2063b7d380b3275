"""Every exception that this package raises on purpose.

ChuteError
├── SpecError            a declaration breaks a rule of the reference (also a ValueError)
├── CaptureError         a name that the job function uses can't travel
├── ConfigError          the workers file, or an option, is wrong
│   └── UnknownWorker    no worker has that name
├── UsageError           a magic or command was written wrongly
├── WorkerError          a worker could not be reached or used
│   ├── ConnectFailed    no connection: unreachable, refused, timed out
│   │   ├── LoginFailed      reached, but the login was refused
│   │   │   └── LoginNeeded      somebody must log in first: it asks for what is not stored
│   │   ├── ForwardingRefused   reached, but its server opens no connections to ports
│   │   └── HostKeyError     the host's identity could not be confirmed
│   │       ├── UnknownHostKey   never seen before
│   │       └── ChangedHostKey   not the key that is on record
│   ├── ConnectionLost   the connection broke while it was in use
│   ├── AgentFailed      the agent could not be started, or broke the protocol
│   ├── DoorShut         there is no way into the job: it has ended, or has no door
│   └── RequestRefused   the agent answered that it can't do this (carries its code)
├── ForwardFailed        a port of a job can't be opened on this machine
├── JobNotFound          no job has that id, or more than one begins with it
├── NotKept              what a job was given is not here, so that it can't run again
├── JobError             a job ended without success
│   ├── JobFailed        the function raised, its process died, or it could not start
│   ├── JobCancelled     cancelled; `.value` holds what the function returned, if it did
│   ├── JobTimedOut      its timeout passed; `.value` likewise
│   └── JobLost          the worker knows no ending, or never had the job
├── ResultError          the result can't be read here
├── OutputsError         outputs could not be mirrored
└── WaitTimeout          a wait ran out of time; the job goes on (also a TimeoutError)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chutes_jupyter.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AgentFailed",
    "CaptureError",
    "ChangedHostKey",
    "ChuteError",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "DoorShut",
    "ForwardFailed",
    "ForwardingRefused",
    "HostKeyError",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobLost",
    "JobNotFound",
    "JobTimedOut",
    "LoginFailed",
    "LoginNeeded",
    "NotKept",
    "OutputsError",
    "RequestRefused",
    "ResultError",
    "SpecError",
    "UnknownHostKey",
    "UnknownWorker",
    "UsageError",
    "WaitTimeout",
    "WorkerError",
]


class ChuteError(Exception):
    """Base of every error that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled by calling the class with `args`, which is only the message.
        return _restore, (type(self), self.args, dict(self.__dict__))


def _restore(kind: type[ChuteError], args: tuple[Any, ...], state: dict[str, Any]) -> ChuteError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class SpecError(ChuteError, ValueError):
    """A declaration breaks a rule of the reference.

    Parameters
    ----------
    field : str
        What was wrong, as the person wrote it (``timeout``, ``ports[1].name``).
    value : object
        The refused value.
    rule : str
        What is allowed.
    example : str
        How to write it.
    """

    def __init__(self, field: str, value: object, rule: str, example: str = "") -> None:
        self.field, self.value, self.rule, self.example = field, value, rule, example
        message = f"{field}={value!r}: {rule}."
        if example:
            message += f" Write it like {example}"
        super().__init__(message)


class CaptureError(ChuteError):
    """A name that the job function uses can't travel to the worker."""


class ConfigError(ChuteError):
    """The workers file, or an option, is wrong."""


class UnknownWorker(ConfigError):
    """No worker has that name."""


class UsageError(ChuteError):
    """A magic or command was written wrongly; the message says how it is written."""


class WorkerError(ChuteError):
    """A worker could not be reached or used.

    Parameters
    ----------
    message : str
        What happened. It may quote a worker: what a terminal would obey is taken out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(harmless(message))


class ConnectFailed(WorkerError):
    """No connection to the worker: unreachable, refused, or timed out."""


class LoginFailed(ConnectFailed):
    """The worker was reached, but it refused the login."""


class LoginNeeded(LoginFailed):
    """The login asks for a passphrase, a password or a code; `worker login` does it once."""


class ForwardingRefused(ConnectFailed):
    """The worker was reached, but its SSH server opens no TCP connections for us."""


class HostKeyError(ConnectFailed):
    """The host's identity could not be confirmed.

    Parameters
    ----------
    message : str
        What happened and what to do next.
    fingerprint : str
        The fingerprint that the host presented, as ``SHA256:…``.
    kind : str
        The type of that key (``ssh-ed25519``).
    host : str
        The name under which it would be kept (``[gpu1.example.org]:2222``): the worker's host,
        or a jump host on the way.
    """

    def __init__(self, message: str, fingerprint: str = "", kind: str = "", host: str = "") -> None:
        self.fingerprint, self.kind, self.host = fingerprint, kind, host
        super().__init__(message)


class UnknownHostKey(HostKeyError):
    """The host has never been seen before."""


class ChangedHostKey(HostKeyError):
    """The host's key is not the one on record."""


class ConnectionLost(WorkerError):
    """The connection broke while it was in use; jobs go on."""


class AgentFailed(WorkerError):
    """The agent could not be started, or what it sent broke the protocol.

    Parameters
    ----------
    message : str
        What happened and what to do next.
    lacks : str
        What the worker lacks for it: ``Python``, ``folder``, or "".
    """

    def __init__(self, message: str, lacks: str = "") -> None:
        self.lacks = lacks
        super().__init__(message)


class DoorShut(WorkerError):
    """There is no way into the job: it has ended, has no door, or its worker can't have one.

    Parameters
    ----------
    message : str
        Why, and what is possible instead.
    code : str
        The agent's word for the reason (``ended``, ``no_sshd``, …), where it was the agent's.
    """

    def __init__(self, message: str, code: str = "") -> None:
        self.code = harmless(code, lines=False)
        super().__init__(message)


class RequestRefused(WorkerError):
    """The agent answered that it can't do what was asked.

    Parameters
    ----------
    code : str
        The agent's word for the reason (``unknown_job``, ``other_spec``, …).
    message : str
        The reason in a sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = harmless(code, lines=False)
        super().__init__(message)


class ForwardFailed(ChuteError):
    """A port of a job can't be opened on this machine: taken, refused, or the job has ended."""


class JobNotFound(ChuteError):
    """No job has that id, or more than one begins with it."""


class NotKept(ChuteError):
    """What a job was given is not on this machine, so that it can't be run again from here."""


class JobError(ChuteError):
    """A job ended without success.

    Parameters
    ----------
    message : str
        Which job, how it ended and why.
    value : object, optional
        What the function returned, where it did.
    remote_traceback : str, optional
        Where it was, as the worker formatted that: the traceback of what it raised, or the
        stacks of its threads when a signal ended it.
    """

    def __init__(self, message: str, *, value: Any = None, remote_traceback: str = "") -> None:
        self.value = value
        self.remote_traceback = remote_traceback
        text = f"{message}\n\n{remote_traceback}" if remote_traceback else message
        # Not the next class's: that may be the type that the function raised; see `twins`.
        Exception.__init__(self, text)


class JobFailed(JobError):
    """The function raised, its process died, or the job could not start.

    What `job.result()` raises is also of the type that the function raised, where that type
    exists here: ``except ValueError`` catches it, too.

    Parameters
    ----------
    message : str
        Which job and why.
    remote_traceback : str, optional
        The traceback as the worker formatted it; its frames point at the cell's own lines.
    exception_type : str, optional
        The qualified name of the exception's type on the worker, or the name of the signal
        that ended the process (``SIGSEGV``).
    raised : sequence of Raised, optional
        The exception as data, with what it came from: what a notebook shows.
    """

    def __init__(
        self,
        message: str,
        *,
        value: Any = None,
        remote_traceback: str = "",
        exception_type: str = "",
        raised: Sequence[Any] = (),
    ) -> None:
        self.message = message
        self.raised = tuple(raised)
        self.exception_type = exception_type
        super().__init__(message, value=value, remote_traceback=remote_traceback)


class JobCancelled(JobError):
    """The job was cancelled; `.value` holds what the function returned, if it did."""


class JobTimedOut(JobError):
    """The job's timeout passed; `.value` holds what the function returned, if it did."""


class JobLost(JobError):
    """The worker knows no ending of the job, or never had it."""


class ResultError(ChuteError):
    """The result is on the worker but can't be read here."""


class OutputsError(ChuteError):
    """Outputs could not be mirrored."""


class WaitTimeout(ChuteError, TimeoutError):
    """A wait ran out of time; what was waited for goes on."""
