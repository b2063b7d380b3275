"""`worker list | add | test | remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.commands.arguments import changed_env, unquoted
from chutes_jupyter.commands.tables import table
from chutes_jupyter.commands.trust import accept, meet
from chutes_jupyter.config import LOCAL, Worker, Workers
from chutes_jupyter.errors import ConfigError, UsageError, WorkerError

if TYPE_CHECKING:
    import argparse

    from chutes_jupyter.commands.surroundings import Surroundings


def show_workers(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Show every worker; of its environment only the names, since values may be secrets."""
    workers = list(Workers.load())
    rows = [
        (
            worker.name,
            worker.host or "this machine",
            worker.python or "",
            worker.dir or "",
            " ".join(worker.env),
            worker.transport or "",
            "" if worker.trusted is None else "yes" if worker.trusted else "no",
        )
        for worker in workers
    ]
    titles = ("WORKER", "HOST", "PYTHON", "DIR", "ENV", "TRANSPORT", "TRUSTED")
    # Most people never set the last two.
    shown = [n for n in range(len(titles)) if n < 5 or any(row[n] for row in rows)]
    picked = [tuple(row[n] for n in shown) for row in (titles, *rows)]
    here.write(table(picked[0], picked[1:]))
    if not arguments.cached:
        _show_gpus(workers, here)


def _show_gpus(workers: list[Worker], here: Surroundings) -> None:
    from chutes_jupyter.client.glance import gpu_pages
    from chutes_jupyter.commands.gpus import gpus_text
    from chutes_jupyter.job import current_client

    here.write(gpus_text(portal.call(gpu_pages, current_client(), workers)))


def add(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Add a worker or change one, and ask about its host key where that is not known."""
    workers = Workers.load()
    old = workers.get(arguments.name) if arguments.name in workers else None
    worker = _wanted(arguments, old, here)
    if arguments.accept_key:
        # Before it is written: a wrong fingerprint should leave nothing behind.
        accept(worker, arguments.accept_key, here)
    workers.add(worker)
    what = "changed" if old and worker != old else "kept" if old else "added"
    if old == Worker(LOCAL) != worker:
        what = "changed"
    here.say(f"Worker {worker.name} {what}. Try it with: {here.prog} worker test {worker.name}")
    if arguments.host is not None and worker.host is not None and not arguments.no_connect:
        # After it is written: a host that is off, or an answer that never comes, loses nothing.
        meet(worker, here)


def _wanted(arguments: argparse.Namespace, old: Worker | None, here: Surroundings) -> Worker:
    name, host = arguments.name, arguments.host
    if host is None and name != LOCAL and old is None:
        raise UsageError(
            f"worker {name}: its HOST is missing.\n"
            f"usage: {here.prog} worker add {name} HOST [--python PATH] [--env K=V] [--dir PATH] "
            "[--transport NAME] [--trust]"
        )
    if old is not None and host is not None and host != old.host and name != LOCAL:
        raise ConfigError(
            f"There is a worker {name!r} already, at {old.host}. Take another name, or forget "
            f"it first with: {here.prog} worker remove {name}"
        )
    env = [(key, unquoted(value) if here.in_notebook else value) for key, value in arguments.env]
    old = old or Worker(name, host)
    return Worker(
        name=name,
        host=host if host is not None else old.host,
        python=arguments.python or old.python,
        env=changed_env(old.env, env),
        dir=arguments.dir or old.dir,
        transport=_transport(arguments.transport, old.transport),
        trusted=old.trusted if arguments.trust is None else arguments.trust,
    )


def _transport(given: str | None, old: str | None) -> str | None:
    if given is None:
        return old
    return None if given == "auto" else given


def remove(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Forget a worker."""
    Workers.load().remove(arguments.name)
    here.say(f"Worker {arguments.name} removed. Its jobs go on, and their folders stay there.")


def test(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Go through all that a job needs of a worker, step by step.

    Raises
    ------
    WorkerError
        If a step failed; what to do stands with each.
    """
    worker = Workers.load().get(arguments.name)
    if arguments.accept_key:
        accept(worker, arguments.accept_key, here)
    from chutes_jupyter.commands.doctor import examine
    from chutes_jupyter.commands.doctor.report import Report

    failed = portal.call(examine, worker, Report(here))
    if failed:
        raise WorkerError(
            f"Worker {worker.name} can't take jobs as it is: see {', '.join(failed)} above."
        )
    here.say(f"Worker {worker.name} can take jobs.")
