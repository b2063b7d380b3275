"""One execution of a job function, as a person holds it.

A `Job` is a thin, synchronous face: everything happens in the background thread, and any
number of processes may hold the same job.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from os import getpid
from typing import TYPE_CHECKING, Any, TypeVar

from chutes_jupyter import portal, trusted
from chutes_jupyter.client import Submission
from chutes_jupyter.client.admission import admit, run_again
from chutes_jupyter.client.joblog import JobLog
from chutes_jupyter.client.jobreadings import JobReadings
from chutes_jupyter.client.outcome import decoded, outcome
from chutes_jupyter.client.views import MirrorView, PortView, PortViews
from chutes_jupyter.client.words import describe, late, undelivered, unlisted
from chutes_jupyter.current import close_client, current_client
from chutes_jupyter.errors import WaitTimeout
from chutes_jupyter.needs import NOTHING, Needs
from chutes_jupyter.own_classes import OwnClasses

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from chutes_jupyter.client import JobClient, Live
    from chutes_jupyter.client.results import Result
    from chutes_jupyter.doorway import DoorFolder
    from chutes_jupyter.mirror import FileView
    from chutes_jupyter.models import JobSpec
    from chutes_jupyter.nodes import NodeSelector
    from chutes_jupyter.preflight import Item

__all__ = [
    "Job",
    "MirrorView",
    "PortView",
    "attach",
    "close_client",
    "current_client",
    "jobs",
    "submit",
]

#: How long `cancel` waits for the worker's word, in seconds.
_CANCEL_PATIENCE = 10.0
#: How long `.files` waits for the first listing, in seconds.
_FILES_PATIENCE = 5.0
_NOT_YET = object()

T = TypeVar("T")


class Job(JobLog, JobReadings):
    """One execution of a job function.

    Parameters
    ----------
    live : Live
        What this process knows of it; `submit`, `attach` and `jobs` make jobs from that.
    """

    def __init__(self, live: Live) -> None:
        super().__init__(live)
        self._pid = getpid()
        self._value: Any = _NOT_YET
        #: Which classes the result may have instances of.
        self._classes = OwnClasses({})

    # -- waiting ----------------------------------------------------------------------

    def wait(self, timeout: float | None = None, *, outputs: bool = True) -> None:
        """Wait until the job has ended and its outputs are here.

        An interrupt (Ctrl-C) ends the wait; the job goes on.

        Parameters
        ----------
        timeout : float, optional
            For how many seconds at the most.
        outputs : bool
            Whether to wait for the outputs too.

        Raises
        ------
        WaitTimeout
            If that took longer; the job goes on.
        """
        client = self._followed()
        self._in_time(portal.spawn(client.wait, self._live, outputs=outputs), timeout)

    def result(
        self, timeout: float | None = None, *, outputs: bool = True, trust: bool = False
    ) -> Any:
        """Return what the function returned, once the job has ended.

        Parameters
        ----------
        timeout, outputs
            As for `wait`.
        trust : bool
            Unpickle what has no other form: that lets its worker run any code here.

        Raises
        ------
        JobFailed
            If the function raised, or the job could not start; with the worker's traceback, and
            also of the type that was raised, where that exists here.
        JobCancelled, JobTimedOut
            If it was ended so; with what it returned all the same in ``.value``.
        JobLost
            If nobody knows how it ended.
        WaitTimeout
            If that took longer than `timeout` seconds; the job goes on.
        ResultError
            If what it returned can't be read here, or only from a worker that is trusted.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wait(timeout, outputs=outputs)
        left = None if deadline is None else max(0.1, deadline - time.monotonic())
        value = self._fetched(left)
        if value is None and trusted.wanted(self._live, trust):
            data = self._in_time(portal.spawn(self._followed().result, self._live, "pickle"), left)
            self._value = value = trusted.loads(data, self._live, self._classes)
        return outcome(self._live, value)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result_async().__await__()

    async def _result_async(self) -> Any:
        client = self._followed()
        await asyncio.wrap_future(portal.spawn(client.wait, self._live, outputs=True))
        if self._value is _NOT_YET:
            data = await asyncio.wrap_future(portal.spawn(client.value, self._live))
            self._keep(data)
        if self._value is None and trusted.wanted(self._live, trust=False):
            data = await asyncio.wrap_future(portal.spawn(client.result, self._live, "pickle"))
            self._value = trusted.loads(data, self._live, self._classes)
        return outcome(self._live, self._value)

    @property
    def value(self) -> Any:
        """What the function returned, also where `result` raises, or None; it never unpickles."""
        return self._fetched(None) if self.done() else None

    def _fetched(self, timeout: float | None) -> Any:
        if self._value is _NOT_YET:
            future = portal.spawn(self._followed().value, self._live)
            self._keep(self._in_time(future, timeout))
        return self._value

    def _keep(self, data: Result | None) -> None:
        self._value = None if data is None else decoded(self._live, data, self._classes)

    def _late(self, timeout: float | None) -> WaitTimeout:
        return WaitTimeout(late(self._live, timeout or 0.0, time.time()))

    # -- ending it --------------------------------------------------------------------

    def cancel(
        self, *, timeout: float | None = _CANCEL_PATIENCE, wait: float | None = None
    ) -> None:
        """Cancel the job, any number of times; `wait()` afterwards tells when it has ended.

        Parameters
        ----------
        timeout : float, optional
            For how many seconds at the most to wait for the worker's word that it knows; None
            for as long as that takes.
        wait : float, optional
            In place of `timeout`: for how many seconds to wait without minding if no word
            comes; 0 returns at once.

        Raises
        ------
        WaitTimeout
            If the worker could not be told in `timeout` seconds. The cancel is kept: this
            process delivers it as soon as the worker can be reached.
        """
        client = self._followed(mirror=False)
        asked = portal.spawn(client.cancel, self._live)
        patience = timeout if wait is None else wait
        if patience is not None and patience <= 0:
            return
        try:
            # A future of its own: what ends is the wait, not the cancelling.
            portal.wait(portal.spawn(client.cancel_known, self._live), patience)
        except TimeoutError:
            if asked.done():
                asked.result()
            elif wait is None:
                raise WaitTimeout(undelivered(self._live, patience or 0.0, time.time())) from None

    def _in_time(self, future: Future[T], timeout: float | None) -> T:
        try:
            return portal.wait(future, timeout)
        except TimeoutError:
            raise self._late(timeout) from None

    # -- its outputs and ports --------------------------------------------------------

    @property
    def output_dir(self) -> Path:
        """Where its outputs land on this machine; made with the first of them."""
        folder = self._live.output_dir
        if folder is None:
            raise RuntimeError("a job in hand has a folder")
        return folder

    @property
    def files(self) -> Sequence[FileView]:
        """Its outputs, and where each of them is.

        Raises
        ------
        WaitTimeout
            If the worker, which alone knows them, can't be reached.
        """
        client = self._followed()
        if not self._live.listed and not portal.is_here():
            with contextlib.suppress(TimeoutError):
                portal.wait(portal.spawn(client.listed, self._live), _FILES_PATIENCE)
            if not self._live.listed and self._live.acknowledged and self._live.trouble:
                raise WaitTimeout(unlisted(self._live, _FILES_PATIENCE, time.time()))
        return self._live.list_files()

    def again(self, *, ack: bool = False) -> Job:
        """Run it again as a new job: the same function and options, with the same data.

        What it was given is kept on the machine that submitted it, so neither the notebook nor
        its worker is needed for that. Its worker's interpreter and environment are those of today.

        Parameters
        ----------
        ack : bool
            As for `submit`: wait until the worker has the new job on its disk.

        Raises
        ------
        NotKept
            If what it was given is not on this machine: another one submitted it, it was too
            large or is too long ago, or there was a secret in it.
        UnknownWorker
            If its worker is not there any more.
        """
        client = current_client()
        job = Job(portal.call(run_again, client, self.record))
        job._classes = self._classes
        if ack:
            portal.call(client.acknowledged, job._live)
        return job

    @property
    def mirror(self) -> MirrorView:
        """How far its outputs are here."""
        return MirrorView(self._live, self._followed)

    @property
    def ports(self) -> dict[str, PortView]:
        """Its ports by name: those that it declared, and those that `show_port` opened."""
        return PortViews(self._live, self._followed)

    def show_port(self, port: int) -> PortView:
        """Open a port that it listens on without having declared it, as if that were http.

        See `undeclared` for those that its worker found. Before each connection the worker looks
        whether it is the job's own processes that listen there.

        Parameters
        ----------
        port : int
            Its number; of one that is declared this is the same as `ports`.

        Raises
        ------
        SpecError
            If no job can be reached there.
        ForwardFailed
            If none of the job's processes listens there, or it has ended.
        WorkerError
            If its worker can't be reached.
        """
        client = self._followed()
        name = portal.call(client.show_port, self._live, port)
        return self.ports[name]

    @property
    def ssh_command(self) -> str:
        """The line for a terminal that opens a shell in the running job; for ``ssh=True``.

        A command can be appended, and ``scp -F`` and ``sftp -F`` take the same file.

        Raises
        ------
        DoorShut
            If the job was declared without ``ssh=True``, has ended, or its worker has no sshd.
        WaitTimeout
            If it does not start for a minute.
        WorkerError
            If its worker can't be reached.
        """
        return self._door().command

    @property
    def ssh_words(self) -> list[str]:
        """The same, as the words of a command."""
        return self._door().words

    def _door(self) -> DoorFolder:
        return portal.call(self._followed(mirror=False).door, self._live)

    # -- for those who show it --------------------------------------------------------

    def subscribe(self, callback: Callable[[], object], *, tail: bool = True) -> Callable[[], None]:
        """Call `callback` in the background thread after every change; with `tail` keep `.tail`.

        Returns
        -------
        callable
            Ends the subscription.
        """
        client = self._followed()
        if tail:
            portal.spawn(client.keep_tail, self._live)
        return self._live.subscribe(callback)

    def __repr__(self) -> str:
        return describe(self._live)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def _followed(self, *, mirror: bool = True) -> JobClient:
        """Return the client, which follows this job from now on, also after a fork."""
        client = current_client()
        if self._pid != getpid() or not client.has(self._live):
            self._live, self._pid = portal.call(client.adopt, self.record), getpid()
        if not portal.is_here():
            portal.call(_in_loop, client.follow, self._live, mirror)
        return client


async def _in_loop(function: Callable[..., object], live: Live, mirror: bool) -> None:
    function(live, mirror=mirror)


def submit(
    spec: JobSpec,
    payload: bytes,
    *,
    notices: Sequence[str] = (),
    node_selector: NodeSelector | None = None,
    files: Mapping[str, bytes] | None = None,
    needs: Needs = NOTHING,
    sent: tuple[Item, ...] = (),
    ack: bool = False,
    namespace: Mapping[str, Any] | None = None,
) -> Job:
    """Submit a job and return it at once, `pending` and recorded.

    A process that ends right afterwards waits a little for its worker to confirm the job.

    Parameters
    ----------
    spec : JobSpec
        What it is declared with; its worker's interpreter and environment are added.
    payload : bytes
        Its code, values and job data, encoded.
    notices : sequence of str
        What the person should read.
    node_selector : NodeSelector, optional
        What the worker must have.
    files : mapping, optional
        The files of modules that it needs, by their hashes.
    needs : Needs
        What the worker's interpreter must have.
    sent : tuple of Item
        What the payload and the files are, for whoever shows it.
    ack : bool
        Wait until the worker has the job on its disk and said so, or it can't start.
    namespace : mapping, optional
        The names around the job function: what it returns may be of the classes there.

    Raises
    ------
    UnknownWorker
        If no worker has the name that the spec's options give.
    """
    submission, record, worker, settings = admit(
        Submission(spec, payload, node_selector, tuple(notices), files or {}, needs, sent)
    )
    client = current_client()
    client.store.add(record)
    job = Job(portal.call(client.submit, record, submission, worker, settings))
    job._classes = OwnClasses(namespace or {})
    if ack:
        portal.call(client.acknowledged, job._live)
    return job


def attach(text: str, *, mirror: bool = True) -> Job:
    """Return the job whose id or label begins with `text`, whoever submitted it.

    Parameters
    ----------
    text : str
        ``train-3f9c2a``, a full id, or the beginning of either.
    mirror : bool
        Whether to bring its outputs.

    Raises
    ------
    JobNotFound
        If there is none that can be found, or more than one.
    RequestRefused
        If a newer version has started it, and this one can't read it.
    """
    return Job(portal.call(current_client().attach, text, mirror=mirror))


def jobs(*, refresh: bool = True, limit: int | None = None) -> list[Job]:
    """Return the jobs of this person, the newest first.

    Parameters
    ----------
    refresh : bool
        Ask the workers first; a job whose worker does not answer is shown as last confirmed.
    limit : int, optional
        Not more than so many; all by default.
    """
    found = portal.call(current_client().list_jobs, refresh=refresh, limit=limit)
    return [Job(live) for live in found]
