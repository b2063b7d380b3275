"""`clean`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.commands.tables import size

if TYPE_CHECKING:
    import argparse

    from chutes_jupyter.client.clean import Cleaned
    from chutes_jupyter.commands.surroundings import Surroundings

_SHOWN = 10


def clean(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Remove jobs that have ended, and say what that freed, and what was kept and why."""
    from chutes_jupyter.client.clean import clean as clean_jobs
    from chutes_jupyter.job import current_client

    done = portal.call(
        clean_jobs,
        current_client(),
        arguments.job,
        worker=arguments.worker,
        older=arguments.older_than,
        outputs=arguments.outputs,
        dry=arguments.dry_run,
    )
    here.say(summary(done, dry=arguments.dry_run))
    for record, reason in done.kept[:_SHOWN]:
        here.say(f"  kept {record.label}: {reason}{_advice(reason, record.label, here)}")
    if len(done.kept) > _SHOWN:
        here.say(f"  … and {len(done.kept) - _SHOWN} more")
    for silent in done.silent:
        here.say(f"  not cleaned: {silent}")


def summary(done: Cleaned, *, dry: bool = False) -> str:
    """Return what was done in a line."""
    count = len(done.removed)
    if not count and not done.kept:
        words = "Nothing to remove"
    else:
        jobs = f"{count} job" + "s" * (count != 1)
        words = f"{'would remove' if dry else 'removed'} {jobs}"
    freed = [f"{size(number)} on {worker}" for worker, number in done.freed.items() if number]
    if done.freed_here:
        freed.append(f"{size(done.freed_here)} of outputs here")
    if freed:
        words += f", {'would free' if dry else 'freed'} {', '.join(freed)}"
    if done.kept:
        words += f"; kept {len(done.kept)}"
    return words + ("" if done.kept else ".") + (":" if done.kept else "")


def _advice(reason: str, label: str, here: Surroundings) -> str:
    if "on the worker alone" not in reason:
        return ""
    return f"; bring them with {here.prog} files --wait {label}, or give them up with --outputs"
