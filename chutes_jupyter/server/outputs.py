"""The outputs of a job: what there is, and where; everything here is in the background loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.client.now import bring_now
from chutes_jupyter.client.outputs import JobOutputs
from chutes_jupyter.errors import ChuteError, RequestRefused, WorkerError
from chutes_jupyter.mirror import MirrorFolder
from chutes_jupyter.replies import Entry
from chutes_jupyter.server.problems import problem_of
from chutes_jupyter.server.shapes.files import (
    FetchAnswer,
    FetchedFile,
    FileItem,
    FilesAnswer,
    RefusedFile,
)
from chutes_jupyter.server.views import below, mirror_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client import Live
    from chutes_jupyter.mirror import Snapshot
    from chutes_jupyter.mirror.folder import Placed
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.shapes.base import FileWord
    from chutes_jupyter.server.shapes.files import FetchRequest, FilesQuery

#: How long a listing may take before what is here is shown instead, in seconds.
_PATIENCE = 5.0
#: So many listings are remembered, each with its version.
_MOST_KNOWN = 32
#: So many names that bring no file are told.
_MOST_REFUSED = 200

_known: OrderedDict[str, Snapshot] = OrderedDict()


async def listing(case: Case) -> Snapshot:
    """Return the newest listing of a job's outputs; each version is asked for once.

    Raises
    ------
    WorkerError
        If the worker can't be asked, or has the job no more.
    """
    live = case.live
    found = _known.get(live.id)
    if found is not None and _is_newest(found, live):
        _known.move_to_end(live.id)
        return found
    source = JobOutputs(live, case.control, case.bulk)
    found = await case.within(source.listing(), _PATIENCE)
    _known[live.id] = found
    _known.move_to_end(live.id)
    while len(_known) > _MOST_KNOWN:
        _known.popitem(last=False)
    return found


def _is_newest(found: Snapshot, live: Live) -> bool:
    same = live.checked and not live.trouble and found.version == live.outputs_version
    return same and (found.final or not live.terminal)


async def listed(case: Case, query: FilesQuery) -> FilesAnswer:
    """List the outputs of a job, and where each of them is."""
    live = case.live
    snapshot: Snapshot | None = None
    trouble: str | None = None
    if live.acknowledged and not live.removed:
        try:
            snapshot = await listing(case)
        except WorkerError as error:
            trouble = str(error)
    failed = {each.path for each in live.list_files() if each.state == "failed"}
    found = await asyncio.to_thread(_look, case, snapshot, query, failed)
    final = (snapshot is not None and snapshot.final) or (live.terminal and live.removed)
    return found.model_copy(update={"trouble": trouble, "final": final})


def _entry(placed: Placed) -> Entry:
    return Entry(
        path=placed.path,
        size=placed.size,
        mtime_ns=placed.mtime_ns,
        sha256=placed.sha256,
        quiet=True,
    )


@dataclass(frozen=True)
class Here:
    """What of a job's outputs is on this machine; made and used in a thread."""

    folder: MirrorFolder | None

    @classmethod
    def of(cls, case: Case) -> Here:
        """Look at the folder of a job."""
        path = case.live.output_dir
        folder = MirrorFolder.of(path, case.live.id) if path is not None else None
        if folder is not None:
            folder.reload()
        return cls(folder)

    def entries(self) -> list[Entry]:
        """Return what was put in place, as a worker would list it."""
        if self.folder is None:
            return []
        return [_entry(placed) for placed in self.folder.placed.values()]

    def has(self, path: str) -> bool:
        """Whether any version of a file is here."""
        return self.folder is not None and self.folder.exists(path)

    def current(self, entry: Entry) -> bool:
        """Whether what is here is the listed version, or was brought since."""
        if self.folder is None:
            return False
        placed = self.folder.placed.get(entry.path)
        if placed is not None and placed.mtime_ns > entry.mtime_ns:
            entry = _entry(placed)
        return self.folder.has(entry)


def _look(
    case: Case, snapshot: Snapshot | None, query: FilesQuery, failed: set[str]
) -> FilesAnswer:
    here = Here.of(case)
    entries: Sequence[Entry] = here.entries() if snapshot is None else snapshot.entries
    wanted = query.text.casefold()
    found = sorted(
        (each for each in entries if wanted in each.path.casefold()), key=lambda each: each.path
    )
    shown = found[query.offset : query.offset + query.limit]
    arrived = here.folder.arrived() if here.folder is not None else {}
    folder = case.live.output_dir
    placed = here.folder.placed if here.folder is not None else {}
    return FilesAnswer(
        files=[_item(here, each, arrived, failed) for each in shown],
        total=len(found),
        bytes=sum(each.size for each in found),
        here=sum(each.path in placed for each in found),
        final=False,
        confirmed=snapshot is not None,
        trouble=None,
        refused=[
            RefusedFile(path=each.path, reason=each.reason)
            for each in (snapshot.refused if snapshot is not None else ())[:_MOST_REFUSED]
        ],
        output_dir=str(folder) if folder is not None else None,
        output_path=below(case.root, folder),
    )


def _item(here: Here, entry: Entry, arrived: dict[str, int], failed: set[str]) -> FileItem:
    current = here.current(entry)
    on_its_way = arrived.get(MirrorFolder.partial_name(entry))
    state: FileWord = "worker"
    if current or here.has(entry.path):
        state = "here"
    if entry.path in failed and not current:
        state = "failed"
    elif on_its_way is not None and not current:
        state = "arriving"
    return FileItem(
        path=entry.path,
        size=entry.size,
        modified=entry.mtime_ns / 1e9,
        state=state,
        arrived=entry.size if current else on_its_way or 0,
        current=current,
    )


# -- bringing them


async def fetched(case: Case, wanted: FetchRequest) -> FetchAnswer:
    """Bring some files here now, or begin to bring all."""
    live = case.live
    files = [await _fetch_one(case, path) for path in dict.fromkeys(wanted.paths)]
    if not wanted.paths:
        # Without the limit: whoever asks for all of it has seen how much that is.
        await case.client.mirror_again(live, None)
    return FetchAnswer(
        files=files,
        mirror=mirror_view(live),
        output_dir=str(live.output_dir) if live.output_dir is not None else None,
        output_path=below(case.root, live.output_dir),
    )


async def _fetch_one(case: Case, path: str) -> FetchedFile:
    try:
        if case.live.trouble:
            await case.within(case.bulk.patient_link(case.trouble), _PATIENCE)
        size = await bring_now(case.client, case.live, path)
    except ChuteError as error:
        if isinstance(error, RequestRefused) and error.code in ("unknown_job", "removed"):
            raise
        return FetchedFile(path=path, size=0, here=False, problem=problem_of(error)[1])
    return FetchedFile(path=path, size=size, here=True, problem=None)
