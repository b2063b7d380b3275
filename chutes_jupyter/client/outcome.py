"""What the end of a job means to whoever asked for its result."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import codec
from chutes_jupyter.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobLost,
    JobTimedOut,
    ResultError,
)
from chutes_jupyter.twins import twin

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.results import Result
    from chutes_jupyter.own_classes import OwnClasses

_KINDS: dict[str, type[JobError]] = {"cancelled": JobCancelled, "timed_out": JobTimedOut}


def decoded(live: Live, data: Result, classes: OwnClasses) -> Any:
    """Return the value of a result's bytes, which may be a stranger's.

    Raises
    ------
    ResultError
        If they are none that can be read here.
    """
    try:
        return codec.loads(memoryview(data), classes=classes, keep=isinstance(data, mmap.mmap))
    except codec.CodecError as error:
        raise ResultError(f"The result of {live.label} can't be read here: {error}") from error


def untrusted(live: Live) -> str:
    """Return why a result is not read without trust, and what the person can do."""
    return (
        f"{live.label} returned what comes back only from a worker that you trust: "
        f"{live.untrusted} It was pickled, and reading a pickle lets {live.worker} run any code "
        "here. If you trust it with that: job.result(trust=True), or for all of its jobs: "
        f"jupyter chute worker add {live.worker} --trust"
    )


def outcome(live: Live, value: Any) -> Any:
    """Return what the function of a job that has ended returned, or raise why that is not it.

    Raises
    ------
    JobFailed, JobCancelled, JobTimedOut, JobLost
        If the job did not succeed; with what it returned all the same in ``.value``.
    ResultError
        If it did, and the worker has it no more.
    """
    if live.state == "succeeded" and live.removed and value is None:
        raise ResultError(
            f"{live.label} succeeded, but was removed on {live.worker} since; what it returned "
            "went with it. Its files, as far as they were brought, are in its output_dir."
        )
    if live.state == "succeeded" and live.untrusted is not None and value is None:
        raise ResultError(untrusted(live))
    if live.state == "succeeded":
        return value
    words = f"{live.label} {live.state.replace('_', ' ')} on {live.worker}"
    message = f"{words}: {live.reason}" if live.reason else f"{words}."
    error = live.error
    if live.state != "failed":
        where = error.traceback if error else ""
        raise _KINDS.get(live.state, JobLost)(message, value=value, remote_traceback=where)
    if error is None:
        raise JobFailed(message, value=value)
    kind = twin(error.raised[0].bases) if error.raised else JobFailed
    raise kind(
        message,
        value=value,
        remote_traceback=error.traceback,
        exception_type=error.type,
        raised=error.raised,
    )
