"""What a mirror says of itself, and what it needs of its worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from chutes_jupyter.link import Reply
    from chutes_jupyter.replies import Entry, Refusal

MirrorState = Literal["arriving", "complete", "stopped"]
FileState = Literal["worker", "arriving", "here", "failed"]


@dataclass(frozen=True)
class MirrorStatus:
    """How far a mirror is.

    Parameters
    ----------
    state : {"arriving", "complete", "stopped"}
        `complete`: everything that the job left is here and checked.
    reason : str, optional
        Why it stopped, or what it waits for.
    done, total : int
        Bytes that are here, and of all files of the newest listing.
    files_done, files_total : int
        The same in files.
    """

    state: MirrorState = "arriving"
    reason: str | None = None
    done: int = 0
    total: int = 0
    files_done: int = 0
    files_total: int = 0


@dataclass(frozen=True)
class FileView:
    """One output of a job.

    Parameters
    ----------
    path : str
        Below the output folder, with ``/`` between its parts.
    size : int
        In bytes, on the worker.
    state : {"worker", "arriving", "here", "failed"}
        Where it is.
    sha256 : str, optional
        Of what is here, or of what the worker listed at the end.
    """

    path: str
    size: int
    state: FileState
    sha256: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A whole listing of a job's output folder."""

    version: int
    final: bool
    entries: Sequence[Entry]
    refused: Sequence[Refusal] = ()


class Reading(Protocol):
    """Where a file comes from."""

    def read(
        self, path: str, offset: int, *, hashed: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        """Read a file from `offset` on; leaving early ends the transfer.

        Parameters
        ----------
        hashed : bool
            Whether the worker is to hash what it sends: not needed where it did so before.

        Raises
        ------
        WorkerError
            If the worker can't be reached, or refuses.
        """


class Source(Reading, Protocol):
    """Where the outputs of one job come from."""

    async def listing(self) -> Snapshot:
        """Return the newest listing, waiting for the worker as long as it takes."""

    async def news(self, version: int) -> None:
        """Wait until there may be a listing newer than `version`."""
