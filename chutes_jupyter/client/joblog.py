"""The log of a job, for whoever reads it."""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from chutes_jupyter import portal
from chutes_jupyter.client.facts import JobFacts
from chutes_jupyter.client.logfeed import last_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from chutes_jupyter.client.hub import JobClient

T = TypeVar("T")


class JobLog(JobFacts):
    """What a job printed."""

    @abstractmethod
    def _followed(self, *, mirror: bool = True) -> JobClient:
        """Return the client, which follows this job from now on."""

    @abstractmethod
    def _in_time(self, future: Future[T], timeout: float | None) -> T:
        """Return what a future brings, or raise `WaitTimeout`."""

    # -- its log ----------------------------------------------------------------------

    def logs(
        self, *, follow: bool = False, tail: int | None = None, timeout: float | None = None
    ) -> Any:
        """Return the log so far, or follow it.

        Parameters
        ----------
        follow : bool
            Return an iterator over its lines, each with its line end, as they come, until
            the job ends.
        tail : int, optional
            Begin with the last so many lines.
        timeout : float, optional
            For how many seconds at the most to wait for the worker's next words.

        Returns
        -------
        str or iterator of str

        Raises
        ------
        WaitTimeout
            If the worker said nothing for so long: it can't be reached, or with `follow` the
            job was silent.
        """
        if follow:
            return self._lines(tail, timeout, follow=True)
        if tail is None:
            return "".join(self.stream_log(follow=False, timeout=timeout))
        # What was written meanwhile came behind.
        return "".join(deque(self._lines(tail, timeout, follow=False), maxlen=tail))

    def stream_log(
        self,
        *,
        follow: bool = True,
        offset: int = 0,
        timeout: float | None = None,
        beat: float | None = None,
    ) -> Iterator[str]:
        """Yield the log in pieces of any size, as it comes: what a terminal wants to show.

        Parameters
        ----------
        follow, timeout
            As for `logs`.
        offset : int
            The first byte.
        beat : float, optional
            Yield ``""`` after so many seconds without news, so that the caller can look around.
        """
        client = self._followed(mirror=False)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces = client.log(self._live, offset=offset, follow=follow)
        coming = portal.spawn(pieces.next)
        try:
            while True:
                while beat is not None and not portal.settled(coming, beat):
                    yield ""
                if (data := self._in_time(coming, timeout)) is None:
                    break
                if text := decoder.decode(data):
                    yield text
                coming = portal.spawn(pieces.next)
            if text := decoder.decode(b"", final=True):
                yield text
        finally:
            coming.cancel()
            portal.call(pieces.aclose)

    def _lines(self, tail: int | None, timeout: float | None, *, follow: bool) -> Iterator[str]:
        # Not splitlines, to which carriage returns and form feeds are ends of lines, too.
        offset = 0 if tail is None else self.tail_offset(tail, timeout)
        rest = ""
        for text in self.stream_log(follow=follow, offset=offset, timeout=timeout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line + "\n"
        if rest:
            yield rest

    def tail_offset(self, tail: int, timeout: float | None = None) -> int:
        """Return the byte at which the last so many lines of the log begin."""
        client = self._followed(mirror=False)
        return self._in_time(portal.spawn(client.log_offset, self._live, tail), timeout)

    def _last_runs(self, lines: int, most: int, timeout: float) -> list[tuple[int, bytes]]:
        """Return the last lines so far, as what one stream wrote after the other."""
        client = self._followed(mirror=False)
        control = client.follower(self._live).control
        return self._in_time(portal.spawn(last_runs, control, self._live, lines, most), timeout)
