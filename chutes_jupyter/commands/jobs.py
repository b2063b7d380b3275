"""`run`, `again`, `jobs`, `logs`, `cancel` and `files`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands import tables
from chutes_jupyter.commands.scripts import load_function
from chutes_jupyter.errors import CaptureError, WaitTimeout
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from chutes_jupyter.chute import JobFunction
    from chutes_jupyter.commands.surroundings import Surroundings
    from chutes_jupyter.job import Job
    from chutes_jupyter.store import JobRecord

#: A live state that was confirmed longer ago than this is shown with its age, in seconds.
FRESH = 60.0
#: How much of what a function returned is shown, in characters.
_MAX_VALUE = 100_000
#: How long `files` waits for the files of a job that has ended, in seconds.
_LOOK = 3.0
#: What `run` changes of a job function's options where it is given.
_OPTIONS = ("worker", "upload", "gpus")
#: How often a silent log is looked at for an outage, in seconds.
_BEAT = 1.0
#: How long a cancel waits for the worker's word, and a log for its next piece, in seconds.
_TELL, _NEXT_PIECE = 10.0, 60.0


def run(arguments: argparse.Namespace, here: Surroundings) -> Job:
    """Submit a job function; with --wait print its log, and fail if it fails."""
    data = here.read_data(arguments.data)
    function: JobFunction = (here.find or load_function)(arguments.function)
    changes: dict[str, Any] = {name: getattr(arguments, name) for name in _OPTIONS}
    changes = {name: value for name, value in changes.items() if value is not None}
    if arguments.timeout is not ...:
        changes["timeout"] = arguments.timeout
    changes.update(_named(arguments, function))
    if changes:
        function = function.options(**changes)
    # A terminal's process ends now: the worker must have the job before it does.
    return _see_to(function.submit(data, ack=not here.in_notebook), arguments, here)


def again(arguments: argparse.Namespace, here: Surroundings) -> Job:
    """Run a job again as a new one; with --wait print its log, and fail if it fails."""
    from chutes_jupyter.job import attach

    job = attach(arguments.job, mirror=False)
    return _see_to(job.again(ack=not here.in_notebook), arguments, here)


def _see_to(job: Job, arguments: argparse.Namespace, here: Surroundings) -> Job:
    """Say what became of a job that was just submitted, as far as that is asked for."""
    if here.submitted:
        here.submitted(job)
    if here.in_notebook and not arguments.wait:
        return job
    _say_state(job, here)
    for notice in job.notices:
        here.say(f"note: {notice}")
    if arguments.wait:
        _watch(job, here)
    elif job.done():
        job.result()  # it could not start: say why, and fail
    else:
        here.say(f"Its log: {here.prog} logs -f {job.label}")
    return job


def _named(arguments: argparse.Namespace, function: JobFunction) -> dict[str, Any]:
    """Return the options that name credentials, beside those that the job function has."""
    given = {
        "send": [*function.send, *arguments.send],
        "secret": [*function.secret, *arguments.secret],
    }
    return {name: value for name, value in given.items() if value}


def check(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Show what a job would take along; in a terminal, fail if it can't start like this."""
    function: JobFunction = (here.find or load_function)(arguments.function)
    changes = _named(arguments, function)
    if arguments.worker is not None:
        changes["worker"] = arguments.worker
    report = (function.options(**changes) if changes else function).check()
    here.write(str(report))
    if not report.ok and not here.in_notebook:
        raise CaptureError(f"{function.name} can't start like this.")


def _say_state(job: Job, here: Surroundings) -> None:
    words = job.state.replace("_", " ")
    if job.state == "pending" and job.reason:
        here.say(f"{job.label} is pending on {job.worker}: {job.reason}.")
        return
    here.say(f"{job.label} {words}." if job.done() else f"{job.label} is {words} on {job.worker}.")


def _watch(job: Job, here: Surroundings) -> None:
    with _going_on(job.label, here):
        _follow_log(job, here)
        value = job.result()
    _say_state(job, here)
    if value is not None:
        here.say(f"It returned {tables.value(value, _MAX_VALUE)}")
    if job.mirror.status.files_total:
        here.say(f"Its files are in {job.output_dir}")


def _copy_log(pieces: Iterable[str], here: Surroundings) -> None:
    """Show a log as it comes; what is said after it begins a line of its own."""
    last = "\n"
    for text in pieces:
        here.write(text)
        last = text[-1:] or last
    if last != "\n":
        here.say()


def _follow_log(job: Job, here: Surroundings, tail: int | None = None) -> None:
    """Show a log until the job ends; beside it what it waits for, and its worker's outages."""
    offset = 0 if tail is None else job.tail_offset(tail)
    pieces = job.stream_log(offset=offset, beat=_BEAT)
    _copy_log(_telling_outages(job, _telling_waits(job, pieces, here), here), here)


def _telling_waits(job: Job, pieces: Iterable[str], here: Surroundings) -> Iterator[str]:
    told: str | None = None
    for text in pieces:
        if job.state == "pending" and job.reason != told:
            told = job.reason
            here.remark(f"[{job.label}: {told}]")
        yield text


def _telling_outages(job: Job, pieces: Iterable[str], here: Surroundings) -> Iterator[str]:
    since: float | None = None
    for text in pieces:
        outage = job.outage
        if outage and since is None:
            since = time.monotonic()
            here.remark(f"[{job.label}: {outage}]")
        elif not outage and since is not None:
            span = tables.span(time.monotonic() - since)
            here.remark(f"[{job.label}: {job.worker} answers again, after {span}]")
            since = None
        yield text


@contextlib.contextmanager
def _going_on(label: str, here: Surroundings) -> Iterator[None]:
    """Say on Ctrl-C that the job goes on; only the watching has ended."""
    try:
        yield
    except KeyboardInterrupt:
        here.say(f"\n{label} goes on. Cancel it with: {here.prog} cancel {label}")
        raise


def show_jobs(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Show the jobs of this person, the newest first."""
    from chutes_jupyter import portal
    from chutes_jupyter.job import current_client

    shown, count = portal.call(
        current_client().list_records,
        refresh=not arguments.cached,
        limit=arguments.limit or None,
        worker=arguments.worker,
        live=arguments.live or None,
    )
    if not shown:
        here.say("No jobs." if not arguments.live else "No live jobs.")
        return
    silent = {} if arguments.cached else current_client().silent
    here.write(jobs_table(shown, time.time(), full=arguments.full, silent=silent))
    for name in sorted({record.worker for record in shown} & set(silent)):
        here.say(f"{name} was not reached, its states are as last confirmed: {silent[name]}")
    if count > len(shown):
        here.say(f"… and {count - len(shown):,} older: {here.prog} jobs --all")


def jobs_table(
    records: Sequence[JobRecord],
    now: float,
    *,
    full: bool = False,
    silent: Collection[str] = (),
) -> str:
    """Return the listing of jobs, with states as confirmed, or with when that was.

    Parameters
    ----------
    records : sequence of JobRecord
        In the order of the lines.
    now : float
        The time, in seconds since the epoch.
    full : bool
        Whether to show whole ids, and why jobs ended.
    silent : collection of str
        Workers that did not answer: how old a state is, is shown however fresh it is.
    """
    head = ["JOB", "STATE", "WORKER", "STARTED", "ELAPSED", "NOTEBOOK"]
    rows = [
        [
            f"{record.name}-{record.id}" if full else record.label,
            _state(record, now, 0.0 if record.worker in silent else FRESH),
            record.worker,
            tables.clock(record.started, now) if record.started else "",
            _elapsed(record, now),
            _notebook(record, full=full),
        ]
        for record in records
    ]
    if any(record.progress for record in records):
        head.insert(5, "PROGRESS")
        for row, record in zip(rows, records, strict=True):
            row.insert(5, _progress(record))
    if full:
        head.append("REASON")
        rows = [[*row, record.reason or ""] for row, record in zip(rows, records, strict=True)]
    return tables.table(head, rows)


def _state(record: JobRecord, now: float, fresh: float) -> str:
    if record.state in TERMINAL:
        return record.state
    waits = record.state == "pending" and record.reason
    word = f"pending: {record.reason}" if waits else record.state
    if record.confirmed is None:
        # Only this machine's own knowledge so far: the worker has said nothing yet.
        return f"{word}, not confirmed"
    if now - record.confirmed <= fresh:
        return word
    return f"{word}, last confirmed {tables.ago(now - record.confirmed)}"


def _elapsed(record: JobRecord, now: float) -> str:
    if record.started is None:
        return ""
    if record.ended is not None:
        return tables.span(record.ended - record.started)
    # What nobody has confirmed lately may have ended long ago.
    until = record.confirmed if record.state in TERMINAL else now
    return tables.span(until - record.started) if until is not None else ""


def _progress(record: JobRecord) -> str:
    """Return how far a job is: what fits into a table."""
    progress = record.progress
    if progress is None:
        return ""
    fraction = progress.fraction
    return str(progress) if fraction is None else f"{int(fraction * 100)} %"


def _notebook(record: JobRecord, *, full: bool) -> str:
    notebook = record.notebook or ""
    if full:
        return notebook
    folder = "/" if notebook.endswith("/") else ""
    return notebook.replace("\\", "/").rstrip("/").rpartition("/")[2] + folder


def show_logs(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Show a job's log, or its last lines, and go on until it ends where that is asked."""
    from chutes_jupyter.job import attach

    job = attach(arguments.job, mirror=False)
    if not arguments.follow:
        whole = arguments.tail is None
        pieces = (
            job.stream_log(follow=False, timeout=_NEXT_PIECE)
            if whole
            else [job.logs(tail=arguments.tail, timeout=_NEXT_PIECE)]
        )
        _copy_log(pieces, here)
        return
    with _going_on(job.label, here):
        _follow_log(job, here, arguments.tail)


def cancel(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Cancel jobs; every id is looked up before the first of them is cancelled."""
    from chutes_jupyter.job import attach

    found = [attach(text, mirror=False) for text in arguments.job]
    untold: list[str] = []
    for job in found:
        if job.done():
            here.say(f"{job.label} has ended already: {job.state.replace('_', ' ')}.")
            continue
        try:
            job.cancel(timeout=None if arguments.wait else _TELL)
        except WaitTimeout as error:
            untold.append(_untold(job, error, here))
        else:
            _say_state(job, here)
    if untold:
        raise WaitTimeout("\n".join(untold))


def _untold(job: Job, error: WaitTimeout, here: Surroundings) -> str:
    """Return what becomes of a cancel that did not get through."""
    if here.in_notebook:
        return str(error)
    # The process ends now, and the cancel with it.
    return (
        f"{job.label} is NOT cancelled: {job.worker} was not told within {_TELL:g} s "
        f"({job.outage or job.state}). Try again, or let it go on until it is: "
        f"{here.prog} cancel --wait {job.label}"
    )


def show_files(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Show a job's output files and where they are, once they are here where that is asked."""
    from chutes_jupyter.job import attach

    job = attach(arguments.job)
    with _going_on(job.label, here), contextlib.suppress(WaitTimeout):
        # Without --wait only so long that what is here already was looked at.
        if arguments.wait or job.done():
            job.wait(None if arguments.wait else _LOOK)
    rows = [(entry.path, tables.size(entry.size), entry.state) for entry in job.files]
    if rows:
        here.write(tables.table(("FILE", "SIZE", "STATE"), rows))
        here.say(f"here: {job.output_dir}")
    else:
        here.say(f"{job.label} has no output files" + ("." if job.done() else " so far."))
    if job.mirror.state == "stopped" and job.mirror.reason:
        here.say(f"stopped: {job.mirror.reason}")
