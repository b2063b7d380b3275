"""Getting a job to its worker: once, whatever breaks on the way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from chutes_jupyter import prefixes
from chutes_jupyter.client.interpreter import lacks
from chutes_jupyter.errors import (
    ChuteError,
    ConnectFailed,
    ConnectionLost,
    HostKeyError,
    LoginFailed,
    RequestRefused,
)
from chutes_jupyter.needs import NOTHING, Needs
from chutes_jupyter.nodes import too_few
from chutes_jupyter.preflight import lacking, perhaps_lacking
from chutes_jupyter.replies import Info, MissingFiles, Submitted, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.models import JobSpec
    from chutes_jupyter.nodes import NodeSelector
    from chutes_jupyter.preflight import Item

#: A larger payload goes ahead of the job, in pieces of this size.
STAGED = 512 * 1024
_PIECES_AT_ONCE = 4
#: So many files of modules are asked for in one request.
_HASHES_AT_ONCE = 2000
#: A slow line may take long for a piece, in seconds.
_PATIENCE = 300.0
#: How often a connection may break before anything of the submit was sent.
_TRIES = 3
#: So many places of a syntax that is too new are told.
_PLACES = 3


#: What the worker calls a job that was ended before it arrived, and as what that was.
_WITHDRAWN = {"withdrawn": "cancelled", "given_up": "lost"}
#: While pieces of its payload arrive, a job is not given up, in seconds since the last one.
_QUIET = 120.0


async def withdraw(session: Session, live: Live, state: str) -> str | None:
    """Let a job never start on its worker, and return as what it is ended there.

    A submit that was sent may still lie in a connection that is dying, and arrive after this:
    so the worker remembers. If it has the job already, this is None, and `cancelled` cancels it
    like any cancel, while one that was to be given up as `lost` goes on.
    """
    reply = await session.persist(
        "cancel",
        trouble=lambda reason: live.set(trouble=reason),
        job=live.id,
        **withdrawal(state),
    )
    ended = reply.header.get("withdrawn")
    return ended if ended in _WITHDRAWN.values() else None


def withdrawal(state: str) -> dict[str, Any]:
    """Return the fields of the request that keeps a job from starting; see `withdraw`."""
    return {"withdraw": state, **({"quiet": _QUIET} if state == "lost" else {})}


@dataclass(frozen=True)
class Submission:
    """A job as it goes to its worker.

    Parameters
    ----------
    spec : JobSpec
        What it is declared with.
    payload : bytes
        Its code, values and job data, encoded.
    node_selector : NodeSelector, optional
        What the worker must have.
    notices : tuple of str
        What the person should read.
    files : mapping
        The files of the person's own modules that it needs, by their hashes.
    needs : Needs
        What the worker's interpreter must have.
    sent : tuple of Item
        What the payload and the files are, for whoever shows it.
    """

    spec: JobSpec
    payload: bytes
    node_selector: NodeSelector | None = None
    notices: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    needs: Needs = NOTHING
    sent: tuple[Item, ...] = ()


class Undeliverable(Exception):
    """The job can't start; the message is the reason."""


class Withdrawn(Exception):
    """The job was ended before the worker had it, and the worker keeps it out from now on."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        #: As what it was ended.
        self.state = state


class Delivery:
    """Hands one job to its worker and waits for the word that it has it.

    Until something of the submit itself was sent, whatever fails ends the job: the person
    sees at once what is wrong. From then on the worker may have it, so it is asked until it
    answers; the id makes asking again harmless.

    Parameters
    ----------
    session : Session
        The way to the worker.
    live : Live
        The job.
    submission : Submission
        What is handed over.
    """

    def __init__(self, session: Session, live: Live, submission: Submission) -> None:
        self._session, self._live, self._submission = session, live, submission
        #: Whether the worker may have the job.
        self.sent = False
        #: How many bytes go ahead of it, and how many of them are there.
        self._total = self._gone = 0

    async def run(self) -> Submitted:
        """Deliver the job.

        Raises
        ------
        Undeliverable
            If it can't start, with the reason.
        Withdrawn
            If it was ended, here or by another process, and the worker never had it.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once()
            except RequestRefused as error:
                if error.code in _WITHDRAWN:
                    raise Withdrawn(_WITHDRAWN[error.code]) from error
                raise Undeliverable(str(error)) from error
            except ChuteError as error:
                self._live.set(carried="")
                if not self.sent and not (tries < _TRIES and self._passes(error)):
                    raise Undeliverable(str(error)) from error
                self._live.set(trouble=str(error))
            if self.sent:
                await self._session.patient_link(self._trouble)
            else:
                await self._session.pause()

    def _passes(self, error: ChuteError) -> bool:
        """Whether it may be a link that breaks now and then, and not something to mend."""
        if isinstance(error, LoginFailed | HostKeyError):
            return False
        # A worker that was never reached may be a name written wrongly: say so at once.
        lost = isinstance(error, ConnectionLost)
        return lost or (isinstance(error, ConnectFailed) and self._session.reached)

    def _trouble(self, reason: str | None) -> None:
        self._live.set(trouble=reason)

    async def _once(self) -> Submitted:
        spec, payload = self._submission.spec, self._submission.payload
        if self._live.cancel_asked:
            await self._withdraw()
        await self._session.link(self._trouble)
        self._trouble(None)
        await self._check_needs()
        await self._check_interpreter()
        files = await self._missing_files()
        staged = len(payload) if len(payload) > STAGED else 0
        self._total = staged + sum(len(self._submission.files[each]) for each in files)
        self._gone = 0
        await _some_at_once(partial(self._send_file, each) for each in files)
        if staged:
            await self._stage(payload)
            payload = b""
        self._live.set(carried="")
        if self._live.cancel_asked:
            await self._withdraw()
        link = await self._session.link()
        self.sent = True
        told = {**spec.to_json(), "prefixes": prefixes.of(spec.id, spec.options.ports)}
        reply = await link.request("submit", payload, patience=_PATIENCE, spec=told)
        return parse(Submitted, reply.header)

    async def _withdraw(self) -> None:
        """Raise if the worker does not have the job; otherwise it is delivered, and cancelled."""
        ended = "cancelled"
        if self.sent:
            ended = await withdraw(self._session, self._live, ended) or ""
        if ended:
            raise Withdrawn(ended)

    async def _check_needs(self) -> None:
        selector = self._submission.node_selector
        spec, worker = self._submission.spec, self._live.worker
        if self.sent or not (selector or spec.options.gpus):
            return
        reply = await self._session.request("info", python=spec.python, env=dict(spec.env))
        info = parse(Info, reply.header)
        gpus = None if info.gpus is None else [gpu.model_dump() for gpu in info.gpus]
        refusal, notice = selector.check(gpus, worker) if selector else (None, None)
        if refusal := refusal or too_few(spec.options.gpus, gpus, worker):
            raise Undeliverable(refusal)
        if notice:
            self._live.notice(notice)

    async def _check_interpreter(self) -> None:
        if self.sent:
            return
        spec, worker = self._submission.spec, self._live.worker
        lack = await lacks(self._session, self._submission.needs, spec.python, spec.env)
        if lack.syntax:
            raise Undeliverable("\n".join(lack.syntax[:_PLACES]))
        if lack.modules:
            raise Undeliverable(lacking(spec.name, worker, lack.modules, lack.executable))
        if lack.perhaps:
            self._live.notice(perhaps_lacking(worker, lack.perhaps))

    async def _stage(self, payload: bytes) -> None:
        """Send the payload ahead; several pieces are under way, for lines with a long way."""

        async def send(offset: int) -> None:
            await self._session.request(
                "stage",
                payload[offset : offset + STAGED],
                patience=_PATIENCE,
                job=self._live.id,
                offset=offset,
                total=len(payload),
            )
            self._told(len(payload[offset : offset + STAGED]))

        # The first alone: it makes the file.
        await send(0)
        await _some_at_once(partial(send, offset) for offset in range(STAGED, len(payload), STAGED))

    def _told(self, sent: int) -> None:
        self._gone += sent
        self._live.carry("on its way to the worker", self._gone, self._total)

    async def _missing_files(self) -> list[str]:
        """Return what the worker lacks of the person's modules, by its hashes."""
        hashes = sorted(self._submission.files)
        missing: list[str] = []
        for start in range(0, len(hashes), _HASHES_AT_ONCE):
            some = hashes[start : start + _HASHES_AT_ONCE]
            reply = await self._session.request("modules", hashes=some)
            missing += set(parse(MissingFiles, reply.header).missing) & set(some)
        return sorted(missing)

    async def _send_file(self, sha256: str) -> None:
        data = self._submission.files[sha256]
        # In order: the last piece ends the file.
        for offset in range(0, max(len(data), 1), STAGED):
            await self._session.request(
                "module",
                data[offset : offset + STAGED],
                patience=_PATIENCE,
                sha256=sha256,
                offset=offset,
                total=len(data),
            )
            self._told(len(data[offset : offset + STAGED]))


async def _some_at_once(sends: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of it, a few at a time; when one fails, the others are not waited for."""
    slots = asyncio.Semaphore(_PIECES_AT_ONCE)

    async def one(send: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await send()

    tasks = [asyncio.ensure_future(one(send)) for send in sends]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
