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
    if live.terminal:
        return ""
    if live.trouble:
        since = f"as of {_span(time.time() - live.confirmed)} ago; " if live.confirmed else ""
        return f"{since}the worker can't be reached: {_short(live.trouble)}"
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
