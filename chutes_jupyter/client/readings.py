"""Reading what a job tells of itself, as long as somebody looks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from chutes_jupyter.errors import AgentFailed, RequestRefused
from chutes_jupyter.readingpages import ObjectPiece, ReadingsPage, points, unpacked
from chutes_jupyter.replies import parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.link import Reply
    from chutes_jupyter.readingpages import Sample, ShownItem, ShownList
    from chutes_jupyter.readings import Display, Point, Usage

_WAIT = 25.0
#: The pause between two answers: nobody sees more, and a cancel must not wait behind them.
_PAUSE = 0.25
#: Who only asks now and then counts as looking for so long, in seconds.
_LOOKS = 30.0
#: Of a metric at most so many points are kept here; then every second one of them goes.
_MOST_POINTS = 4000
_MOST_METRICS = 1000
#: No sound agent keeps more of the metrics, or of what was shown, in bytes.
_MOST_LINES, _MOST_SHOWN = 17 * 1024**2, 48 * 1024**2
#: How long samples of usage are kept, by the worker's clock, in seconds; and how many.
_KEPT, _MOST_SAMPLES = 600.0, 600
#: The store learns of progress at most this often, in seconds.
_SAVE = 5.0
#: So long, and so many, objects are fetched before the rest is looked at again, in seconds.
_TURN, _OBJECTS = 0.5, 50
#: No piece of one is smaller but the last, in bytes.
_LEAST = 64 * 1024


class Reader:
    """Keeps the readings of one job up to date.

    Parameters
    ----------
    session : Session
        The way to its worker.
    live : Live
        The job.
    save : callable
        Writes what is known into the store.
    """

    def __init__(
        self, session: Session, live: Live, save: Callable[[Live], Awaitable[None]]
    ) -> None:
        self._session, self._live, self._save = session, live, save
        self._stamps = {"progress": 0, "displays": 0, "usage": 0}
        self._offset, self._sample = 0, 0
        self._shown: dict[int, tuple[int, Display]] = {}
        self._missing: list[ShownItem] = []
        self._saved = 0.0
        self._looked = time.monotonic()
        #: Whether nothing more will come.
        self.over = False

    def look(self) -> None:
        """Note that somebody looks."""
        self._looked = time.monotonic()

    async def run(self) -> None:
        """Read as long as somebody looks, or until there is nothing more."""
        live = self._live
        await live.until(lambda: live.acknowledged or live.over)
        try:
            while live.acknowledged and not self.over and self._wanted():
                await self._read()
        except RequestRefused as error:
            # An older agent knows no readings; of a job that is gone there are none.
            if error.code not in ("bad_request", "unknown_job", "removed"):
                raise
            self.over = True
        finally:
            live.set(looked=True)

    def _wanted(self) -> bool:
        return self._live.watched or time.monotonic() - self._looked < _LOOKS

    async def _read(self) -> None:
        live = self._live
        before = live.readings.progress
        reply = await self._ask(
            "readings",
            stamps=self._stamps,
            metrics=self._offset,
            sample=self._sample,
            wait=_WAIT if live.looked and not self._missing else 0.0,
        )
        page = parse(ReadingsPage, reply.header)
        self._take(page, reply.body)
        await self._fetch()
        self.over = page.end and not self._missing
        live.set(looked=True)
        late = self.over or time.monotonic() - self._saved > _SAVE
        if live.readings.progress != before and late:
            self._saved = time.monotonic()
            await self._save(live)
        if not self.over:
            await asyncio.sleep(_PAUSE)

    async def _ask(self, op: str, **fields: object) -> Reply:
        live = self._live

        def trouble(reason: str | None) -> None:
            live.set(trouble=reason)

        return await self._session.persist(op, trouble=trouble, job=live.id, **fields)

    # -- what came --------------------------------------------------------------------

    def _take(self, page: ReadingsPage, body: bytes) -> None:
        self._offset += len(body)
        if self._offset > _MOST_LINES:
            raise self._endless("metrics")
        now = self._live.readings
        if page.progress is not None:
            now = replace(now, progress=page.progress.value())
        if body:
            now = replace(now, metrics=self._longer(now.metrics, points(body)))
        if page.usage:
            now = replace(now, usage=self._used(now.usage, page.usage))
        self._live.set(readings=now)
        if page.displays is not None:
            self._list(page.displays)
        self._stamps = page.stamps.model_dump()

    def _longer(
        self, before: Mapping[str, tuple[Point, ...]], new: Sequence[tuple[str, Point]]
    ) -> dict[str, tuple[Point, ...]]:
        added: dict[str, list[Point]] = {}
        for name, point in new:
            added.setdefault(name, []).append(point)
        found = dict(before)
        for name, later in added.items():
            whole = (*found.get(name, ()), *later)
            while len(whole) > _MOST_POINTS:
                # The newest stays.
                whole = whole[-1::-2][::-1]
            found[name] = whole
        if len(found) > _MOST_METRICS:
            raise self._endless("metrics")
        return found

    def _used(self, before: tuple[Usage, ...], new: Sequence[Sample]) -> tuple[Usage, ...]:
        for sample in new:
            if sample.n <= self._sample:
                raise AgentFailed(f"The agent on {self._live.worker} sent a sample twice.")
            self._sample = sample.n
        whole = (*before, *(sample.value() for sample in new))
        oldest = whole[-1].at - _KEPT
        return tuple(usage for usage in whole[-_MOST_SAMPLES:] if usage.at >= oldest)

    # -- what was shown ---------------------------------------------------------------

    def _list(self, shown: ShownList) -> None:
        """Note which objects there are, and which of them are not here."""
        if sum(item.size for item in shown.items) > _MOST_SHOWN:
            raise self._endless("results")
        kept = {item.n: item.v for item in shown.items}
        self._shown = {n: found for n, found in self._shown.items() if n in kept}
        self._missing = [
            item
            for item in shown.items
            if item.n not in self._shown or self._shown[item.n][0] != item.v
        ]
        self._tell_shown()

    async def _fetch(self) -> None:
        """Bring some of the objects that are not here; the rest has its turn later."""
        until = time.monotonic() + _TURN
        for _ in range(_OBJECTS):
            if not self._missing or time.monotonic() > until:
                return
            item = self._missing.pop(0)
            body = await self._object(item)
            if body is None:
                return
            self._shown[item.n] = item.v, unpacked(item, body)
            self._tell_shown()

    def _tell_shown(self) -> None:
        displays = tuple(display for _, (_, display) in sorted(self._shown.items()))
        self._live.set(readings=replace(self._live.readings, displays=displays))

    async def _object(self, item: ShownItem) -> bytes | None:
        """Return the bytes of one object; None if it is another one by now, or gone."""
        body, stamp = b"", None
        while True:
            try:
                reply = await self._ask("display", number=item.n, offset=len(body))
            except RequestRefused as error:
                if error.code != "not_found":
                    raise
                return None
            piece = parse(ObjectPiece, reply.header)
            if piece.size != item.size or stamp not in (None, piece.stamp):
                return None  # another one by now; the list tells of it again
            body, stamp = body + reply.body, piece.stamp
            rest = piece.size - len(body)
            if rest < 0 or (rest > 0 and len(reply.body) < _LEAST):
                raise self._endless("a result")
            if not rest:
                return body

    def _endless(self, what: str) -> AgentFailed:
        return AgentFailed(f"The agent on {self._live.worker} sends {what} without end.")
