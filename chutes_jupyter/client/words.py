"""A job in words: what plain text shows where there is no panel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live

#: A state that was confirmed longer ago than this says so, in seconds.
_FRESH = 60.0
_NEXT = {
    "failed": "job.result() raises with the traceback; job.logs() is the whole log",
    "cancelled": "what it wrote is in job.output_dir; what it returned is job.value",
    "timed_out": "what it wrote is in job.output_dir; what it returned is job.value",
    "lost": "submit it again; what it wrote, if anything, is in job.output_dir",
    "succeeded": "job.result() is what it returned; its files are in job.output_dir",
}
_MAX_NOTICES = 5


def describe(live: Live) -> str:
    """Return a job as a few lines of text."""
    lines = [f"{live.label}: {live.state} on {live.worker}{_clock(live)}"]
    if live.reason:
        lines.append(f"  {_short(live.reason)}")
    if age := _age(live):
        lines.append(f"  {age}")
    if live.carried:
        lines.append(f"  {live.carried}")
    if live.gpus and not live.terminal:
        lines.append(f"  {live.gpus}")
    if live.mirror.files_total or live.mirror.reason:
        lines.append(f"  {_outputs(live)}")
    notices = live.notices
    lines += [f"  note: {_short(notice)}" for notice in notices[:_MAX_NOTICES]]
    if len(notices) > _MAX_NOTICES:
        lines.append(f"  and {len(notices) - _MAX_NOTICES} more in job.notices")
    next_step = _NEXT.get(
        live.state, "await job, job.result(), job.logs(follow=True), job.cancel()"
    )
    return "\n".join([*lines, f"  {next_step}"])


def outage(live: Live, now: float) -> str:
    """Return that the worker is out of reach, for how long, and how old the state is, or ""."""
    reason = live.trouble
    if not reason or (live.terminal and live.mirror.state != "arriving"):
        return ""
    since = live.trouble_since if live.trouble_since is not None else now
    span = _span(max(0.0, now - since))
    why = f"the worker can't be reached: {_short(reason)}"
    if live.terminal:
        return f"reconnecting, {span}; the rest of its outputs comes later; {why}"
    if live.confirmed is None:
        return f"connecting, {span}; nothing is confirmed so far; {why}"
    age = _span(max(0.0, now - live.confirmed))
    return f"reconnecting, {span}; {live.state} as of {age} ago; {why}"


def closed(live: Live) -> str:
    """Return that nobody comes into a job any more."""
    return f"{live.label} has ended ({live.state.replace('_', ' ')}): its door is shut."


def undelivered(live: Live, timeout: float, now: float) -> str:
    """Return what is known of a cancel that the worker has not confirmed, and what is next."""
    state = outage(live, now) or f"{live.state}, and the worker has not answered"
    return (
        f"{live.worker} was not told within {timeout:g} s to cancel {live.label} ({state}). "
        f"The cancel is kept and delivered when {live.worker} can be reached, as long as this "
        "process lives; wait() tells when the job has ended."
    )


def unlisted(live: Live, timeout: float, now: float) -> str:
    """Return that the files of a job are not known, and where those are that came before."""
    state = outage(live, now) or f"{live.worker} has not answered: {_short(live.trouble or '')}"
    return (
        f"The files of {live.label} are not known after {timeout:g} s ({state}). "
        f"What came before is in {live.output_dir}."
    )


def late(live: Live, timeout: float, now: float) -> str:
    """Return what is known of a job whose end, or outputs, did not come in time."""
    if state := outage(live, now):
        return (
            f"{live.label} is not known to be over after {timeout:g} s: {state}. Waiting longer "
            "goes on by itself once the worker can be reached; the job needs nobody."
        )
    what = f"has ended; {live.carried or 'its outputs arrive'}"
    if not live.terminal:
        what = f"is still {live.state}" + (f" ({live.carried})" if live.carried else "")
    return f"{live.label} {what} after {timeout:g} s. It goes on."


def _clock(live: Live) -> str:
    if live.elapsed is None:
        return ""
    limit = f" of {_span(live.timeout)}" if live.timeout and not live.terminal else ""
    return f", {_span(live.elapsed)}{limit}"


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _age(live: Live) -> str:
    """Return since when the state is not confirmed, where that is so."""
    if words := outage(live, time.time()):
        return words
    if live.terminal:
        return ""
    if live.confirmed and time.time() - live.confirmed > _FRESH:
        return f"as of {_span(time.time() - live.confirmed)} ago"
    return ""


def _outputs(live: Live) -> str:
    status = live.mirror
    text = f"{status.files_done} of {status.files_total} files are in {live.output_dir}"
    return f"{text} ({status.state}: {status.reason})" if status.reason else text


def _short(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else ""
    return first if len(first) <= 300 else first[:300] + " …"
