"""Removing what has ended: on the worker, in the store, and where asked the outputs here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter import doorway
from chutes_jupyter.client import kept
from chutes_jupyter.config import Workers
from chutes_jupyter.errors import ChuteError, ConnectionLost
from chutes_jupyter.mirror import MirrorFolder
from chutes_jupyter.replies import Removal, RemovalPage, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.store import JobRecord, Store

_PAGE = 500
_TRIES = 3
#: Instead of a version: whatever outputs the worker has may go.
_WHATEVER = -1
_ADRIFT = "its worker was removed: name the job to take it off the list"


@dataclass
class Cleaned:
    """What came of it."""

    removed: list[JobRecord] = field(default_factory=list)
    kept: list[tuple[JobRecord, str]] = field(default_factory=list)
    #: Bytes by the name of the worker.
    freed: dict[str, int] = field(default_factory=dict)
    #: Bytes of outputs on this machine.
    freed_here: int = 0
    #: Workers that were not asked, and why.
    silent: list[str] = field(default_factory=list)


async def clean(
    client: JobClient,
    jobs: Sequence[str] = (),
    *,
    worker: str | None = None,
    older: float | None = None,
    outputs: bool = False,
    dry: bool = False,
) -> Cleaned:
    """Remove jobs that have ended, from their workers and from the store.

    Those of a worker that was removed can only be taken off the list, where they or their worker
    are named; named themselves, also those that had not ended when it was last heard of.

    Parameters
    ----------
    client : JobClient
        The way to the workers.
    jobs : sequence of str
        Only those; ids or labels, or their beginnings.
    worker : str, optional
        Only those of that worker.
    older : float, optional
        Only those that ended so many seconds ago, or longer.
    outputs : bool
        Also output files: those that were brought here, and those that were not.
    dry : bool
        Change nothing.
    """
    workers = await asyncio.to_thread(Workers.load)
    if worker is not None and not await asyncio.to_thread(client.store.count, worker=worker):
        workers.get(worker)
    named = [await client.find(text) for text in jobs]
    silent = {text.partition(" (")[0] for text in await client.discover()}
    found = await _chosen(client, named if jobs else None, worker, older)
    plan = _plan(found, workers, named=bool(jobs), worker=worker)
    cleaner = Cleaner(client.store, dry=dry, outputs=outputs)
    cleaner.done.kept += plan.kept
    await cleaner.forget(plan.forgotten)
    asked = set(plan.removed)
    if not jobs:
        asked |= {w.name for w in workers if worker in (None, w.name)} - silent
    for name in sorted(asked):
        records = plan.removed.get(name, [])
        await cleaner.clean(name, client.way_to(name)[0], records, sweep=not jobs)
    if not dry:
        await asyncio.to_thread(doorway.sweep, client.lives)
    return cleaner.done


async def _chosen(
    client: JobClient, named: Sequence[JobRecord] | None, worker: str | None, older: float | None
) -> list[JobRecord]:
    """Return the jobs that are meant, as they are now: the named ones, or what has ended."""
    if named is None:
        found = await asyncio.to_thread(client.store.list, worker=worker, live=False)
    else:
        found = [await asyncio.to_thread(client.store.get, each.id) for each in named]
    oldest = None if older is None else time.time() - older
    return [
        each
        for each in {each.id: client.newest(each) for each in found}.values()
        if (worker is None or each.worker == worker)
        and (oldest is None or (each.ended or each.created) <= oldest)
    ]


@dataclass
class _Plan:
    """What is to become of jobs."""

    #: Only taken off the list: no worker has them, or none that could be asked.
    forgotten: list[JobRecord] = field(default_factory=list)
    #: Removed from their workers, by the names of these.
    removed: dict[str, list[JobRecord]] = field(default_factory=dict)
    kept: list[tuple[JobRecord, str]] = field(default_factory=list)


def _plan(
    found: Sequence[JobRecord], workers: Workers, *, named: bool, worker: str | None
) -> _Plan:
    plan = _Plan()
    for each in found:
        reached = bool(each.event)  # the worker acknowledged it
        if each.worker not in workers:
            meant = each.ended_for_good and (worker is not None or not reached)
            if named or meant:
                plan.forgotten.append(each)
            else:
                plan.kept.append((each, _ADRIFT))
        elif not each.ended_for_good:
            plan.kept.append((each, f"it is {each.state}"))
        elif reached:
            plan.removed.setdefault(each.worker, []).append(each)
        else:
            plan.forgotten.append(each)
    return plan


class Cleaner:
    """Removes jobs of one worker after the other.

    Parameters
    ----------
    store : Store
        What is known here.
    dry : bool
        Only say what would be done.
    outputs : bool
        Whether output files go too: those that were brought here, and those that were not.
    """

    def __init__(self, store: Store, *, dry: bool, outputs: bool) -> None:
        self.done = Cleaned()
        self._store, self._dry, self._outputs = store, dry, outputs

    async def forget(self, records: Sequence[JobRecord]) -> None:
        """Remove jobs that no worker has, or none that could be asked."""
        await asyncio.to_thread(self._forget, records)

    async def clean(
        self, worker: str, control: Session, records: Sequence[JobRecord], *, sweep: bool
    ) -> None:
        """Remove jobs of a worker; with `sweep` also what interrupted work left there."""
        pages = [records[n : n + _PAGE] for n in range(0, len(records), _PAGE)] or [[]]
        for number, page in enumerate(pages):
            last = number == len(pages) - 1
            try:
                await self._clean_page(worker, control, page, sweep=sweep and last)
            except ChuteError as error:
                why = str(error).splitlines()[0]
                self.done.silent.append(f"{worker} ({why})")
                handled = {each.id for each in self.done.removed}
                handled |= {each.id for each, _ in self.done.kept}
                left = [each for each in records if each.id not in handled]
                self.done.kept += [(each, _unasked(worker)) for each in left]
                return

    async def _clean_page(
        self, worker: str, control: Session, page: Sequence[JobRecord], *, sweep: bool
    ) -> None:
        versions = await asyncio.to_thread(lambda: [self._version(each) for each in page])
        left = {each.id: (each, version) for each, version in zip(page, versions, strict=True)}
        gone: list[JobRecord] = []
        for number in range(_TRIES):
            jobs = [[job, version] for job, (_, version) in left.items()]
            try:
                async with control.stream(
                    "remove", jobs=jobs, dry=self._dry, sweep=sweep, worded=True
                ) as frames:
                    async for reply in frames:
                        part = parse(RemovalPage, reply.header)
                        for removal in part.done:
                            if removal.id in left:
                                gone += self._take(worker, left.pop(removal.id)[0], removal)
                        self._add(worker, part.swept)
                return
            except ConnectionLost:
                # What was removed by then is removed; asking again finds that.
                if number == _TRIES - 1:
                    raise
            finally:
                # What is gone there goes here, also when the rest could not be asked for.
                removed, gone = gone, []
                await asyncio.to_thread(self._forget, removed)

    def _take(self, worker: str, record: JobRecord, removal: Removal) -> list[JobRecord]:
        if not removal.removed:
            self.done.kept.append((record, removal.reason))
            return []
        self._add(worker, removal.bytes)
        return [record]

    def _add(self, worker: str, size: int) -> None:
        self.done.freed[worker] = self.done.freed.get(worker, 0) + size

    def _version(self, record: JobRecord) -> int | None:
        """Return which version of its outputs is here whole."""
        if self._outputs:
            return _WHATEVER
        folder = _folder(record)
        return folder.finished() if folder else None

    def _forget(self, records: Sequence[JobRecord]) -> None:
        """Remove what this machine has of jobs (in a thread)."""
        self.done.removed += records
        for record in records:
            folder = _folder(record)
            if folder is not None and self._outputs:
                folder.reload()
                self.done.freed_here += sum(placed.size for placed in folder.placed.values())
            if folder is not None and not self._dry:
                folder.forget(files=self._outputs)
        if not self._dry:
            self._store.remove([record.id for record in records])
            kept.forget(record.id for record in records)


def _unasked(worker: str) -> str:
    return f"{worker} can't be asked; if it is gone for good, remove the worker, and then its jobs"


def _folder(record: JobRecord) -> MirrorFolder | None:
    return MirrorFolder.of(Path(record.output_dir), record.id) if record.output_dir else None
