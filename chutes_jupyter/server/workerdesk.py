"""What the API does with workers; all of it but the face itself runs in the background loop."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from chutes_jupyter.client.glance import gpu_pages
from chutes_jupyter.commands.trust import unknown_key
from chutes_jupyter.config import LOCAL, Worker, Workers
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ConfigError, UsageError
from chutes_jupyter.server import steps
from chutes_jupyter.server.bridge import ask
from chutes_jupyter.server.problems import ApiError
from chutes_jupyter.server.shapes.base import Nothing
from chutes_jupyter.server.shapes.workers import HostKeyAnswer, WorkerGpu, WorkersAnswer, WorkerView
from chutes_jupyter.server.talks import Talks
from chutes_jupyter.transports import accept_host_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client import JobClient
    from chutes_jupyter.gpupages import GpuPage, GpuUse
    from chutes_jupyter.server.feed import Feed
    from chutes_jupyter.server.shapes.jobs import JobSummary
    from chutes_jupyter.server.shapes.workers import (
        LoginAnswer,
        LoginRequest,
        WorkerRequest,
        WorkerTest,
    )

#: Which workers are asked for their GPUs.
Look = Literal["", "met", "all"]

#: Fingerprints that are remembered as shown, of one worker.
_MOST_SHOWN = 20


class WorkerDesk:
    """Everything about workers.

    Parameters
    ----------
    feed : Feed
        Counts their jobs, and asks them in rounds.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._talks = Talks(feed.rounds.soon)
        #: Which fingerprints a person was shown, by worker: no other can be accepted.
        self._shown: dict[str, list[str]] = {}

    async def list(self, *, look: Look) -> WorkersAnswer:
        """Return all workers as they are known, or as they are where they are asked."""
        return await ask(self._list, look)

    async def _list(self, look: Look) -> WorkersAnswer:
        client = current_client()
        workers = list(Workers.load())
        asked = [each for each in workers if look == "all" or (look and _met(client, each))]
        pages = await gpu_pages(client, asked) if asked else {}
        jobs = await self._feed.jobs()
        return WorkersAnswer(
            workers=[
                _view(
                    client,
                    worker,
                    pages.get(worker.name),
                    [each for each in jobs if each.live and each.worker == worker.name],
                )
                for worker in workers
            ]
        )

    async def add(self, wanted: WorkerRequest) -> WorkerView:
        """Add a worker, or change one."""
        return await ask(self._add, wanted)

    async def _add(self, wanted: WorkerRequest) -> WorkerView:
        workers = Workers.load()
        old = workers.get(wanted.name) if wanted.name in workers else None
        worker = _wanted(wanted, old)
        workers.add(worker)
        self._feed.rounds.soon(worker.name)
        return _view(current_client(), worker, None, [])

    async def remove(self, name: str) -> Nothing:
        """Forget a worker."""

        async def remove() -> None:
            Workers.load().remove(name)

        await ask(remove)
        self._shown.pop(name, None)
        return Nothing()

    async def test(self, name: str) -> WorkerTest:
        """Go through all that a job needs of a worker."""
        return await ask(steps.test, Workers.load().get(name))

    async def show_key(self, name: str) -> HostKeyAnswer:
        """Return the key that a person should compare, if there is one that is not known."""
        return await ask(self._show_key, _with_host(name))

    async def _show_key(self, worker: Worker) -> HostKeyAnswer:
        error = await unknown_key(worker)
        if error is None:
            return HostKeyAnswer(known=True, fingerprint="", kind="", host="", message="")
        shown = self._shown.setdefault(worker.name, [])
        if error.fingerprint not in shown:
            shown.append(error.fingerprint)
            del shown[:-_MOST_SHOWN]
        return HostKeyAnswer(
            known=False,
            fingerprint=error.fingerprint,
            kind=error.kind,
            host=error.host,
            message=str(error),
        )

    async def accept_key(self, name: str, fingerprint: str) -> HostKeyAnswer:
        """Accept a key that was shown; return what is to be shown next."""
        worker = _with_host(name)
        if fingerprint not in self._shown.get(name, ()):
            raise ApiError(
                HTTPStatus.CONFLICT,
                "not_shown",
                f"The fingerprint {fingerprint} of {name} was not shown to anybody by this server.",
                "Ask for it first (GET), compare it, and accept it then.",
            )
        await ask(accept_host_key, worker, fingerprint)
        self._feed.rounds.soon(name)
        return await self.show_key(name)

    async def log_in(self, name: str, said: LoginRequest) -> LoginAnswer:
        """Begin a login, or go on with it."""
        worker = _with_host(name)
        if not said.talk:
            return await ask(self._talks.begin, worker)
        answer = said.answer.get_secret_value() if said.answer is not None else None
        return await ask(self._talks.go_on, worker, said.talk, answer)


def _with_host(name: str) -> Worker:
    worker = Workers.load().get(name)
    if worker.host is None:
        raise UsageError("The worker 'local' is this machine: it has no host key and no login.")
    return worker


def _wanted(wanted: WorkerRequest, old: Worker | None) -> Worker:
    name = wanted.name
    if old is None and wanted.host is None and name != LOCAL:
        raise UsageError(f"worker {name}: its host is missing.")
    if old is not None and wanted.host is not None and wanted.host != old.host:
        raise ConfigError(
            f"There is a worker {name!r} already, at {old.host or 'this machine'}. Take another "
            "name, or remove that one first."
        )
    said = wanted.model_dump(
        include={"host", "python", "dir", "transport", "trusted"}, exclude_none=True
    )
    if wanted.env is not None:
        env = {key: value.get_secret_value() for key, value in wanted.env.items()}
        said["env"] = {**(old.env if old is not None else {}), **env}
    return replace(old or Worker(name, wanted.host), **said)


def _met(client: JobClient, worker: Worker) -> bool:
    return worker.host is None or client.way_to(worker.name)[0].hello is not None


def _view(
    client: JobClient, worker: Worker, page: GpuPage | str | None, jobs: Sequence[JobSummary]
) -> WorkerView:
    trouble = page if isinstance(page, str) else None
    if page is None:
        # Who follows its jobs notices first that it is away.
        told = (each.trouble for each in jobs if each.trouble)
        trouble = client.silent.get(worker.name) or next(told, None)
    hello = client.way_to(worker.name)[0].hello
    reachable = False if trouble else True if hello is not None else None
    gpus: Sequence[GpuUse] | None = None
    waiting = 0
    if page is not None and not isinstance(page, str):
        reachable, gpus, waiting = True, page.gpus, len(page.waiting)
    return WorkerView(
        name=worker.name,
        host=worker.host,
        python=worker.python,
        dir=worker.dir,
        env=sorted(worker.env),
        transport=worker.transport,
        trusted=worker.trusted,
        reachable=reachable,
        trouble=trouble,
        gpus=None if gpus is None else [_gpu(each) for each in gpus],
        waiting=waiting,
        version=hello.version if hello is not None else None,
        jobs=len(jobs),
    )


def _gpu(gpu: GpuUse) -> WorkerGpu:
    return WorkerGpu(
        index=gpu.index,
        name=gpu.name,
        memory_mib=gpu.memory_mib,
        free_mib=gpu.free_mib,
        holder=gpu.holder.label if gpu.holder is not None else None,
        holder_user=gpu.holder.user if gpu.holder is not None else None,
        others=list(gpu.others),
    )
