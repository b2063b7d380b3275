"""Workers: the list, adding and testing one, its host key, and logging in."""

from __future__ import annotations

from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler
from chutes_jupyter.server.shapes.base import Nothing
from chutes_jupyter.server.shapes.workers import (
    AcceptRequest,
    HostKeyAnswer,
    LoginAnswer,
    LoginRequest,
    WorkerRequest,
    WorkersAnswer,
    WorkersQuery,
    WorkerTest,
    WorkerView,
)


class WorkersHandler(Handler):
    """All workers."""

    path = "/workers"

    @operation(query=WorkersQuery, answer=WorkersAnswer)
    async def get(self, query: WorkersQuery) -> WorkersAnswer:
        """List the workers, as they were last met; with `look` they are asked for their GPUs."""
        return await self.service.workers.list(look=query.look)

    @operation(body=WorkerRequest, answer=WorkerView)
    async def post(self, body: WorkerRequest) -> WorkerView:
        """Add a worker, or change what is said of one; nothing is connected to.

        Another `host` than the one that a worker has is refused: take another name, or remove
        the worker first.
        """
        return await self.service.workers.add(body)


class WorkerHandler(Handler):
    """One worker."""

    path = "/workers/{worker}"

    @operation(answer=Nothing)
    async def delete(self, worker: str) -> Nothing:
        """Forget a worker. Its jobs go on, and their folders stay there."""
        return await self.service.workers.remove(worker)


class WorkerTestHandler(Handler):
    """Whether a worker can take jobs."""

    path = "/workers/{worker}/test"

    @operation(answer=WorkerTest)
    async def post(self, worker: str) -> WorkerTest:
        """Go through all that a job needs of a worker, and tell each step; takes seconds."""
        return await self.service.workers.test(worker)


class HostKeyHandler(Handler):
    """The key of a worker's host."""

    path = "/workers/{worker}/host-key"

    @operation(answer=HostKeyAnswer)
    async def get(self, worker: str) -> HostKeyAnswer:
        """Connect to a worker, and tell the fingerprint that it presents, if it is not known."""
        return await self.service.workers.show_key(worker)

    @operation(body=AcceptRequest, answer=HostKeyAnswer)
    async def post(self, worker: str, body: AcceptRequest) -> HostKeyAnswer:
        """Accept a key, by the fingerprint that was shown before and that a person compared.

        One that this server did not show is refused. There may be more hosts on the way: the
        answer is what `GET` says then.
        """
        return await self.service.workers.accept_key(worker, body.fingerprint)


class LoginHandler(Handler):
    """Logging in to a worker by hand."""

    path = "/workers/{worker}/login"

    @operation(body=LoginRequest, answer=LoginAnswer)
    async def post(self, worker: str, body: LoginRequest) -> LoginAnswer:
        """Log in to a worker, once for all notebooks: a talk of questions and answers.

        Begin with an empty body; each answer with `done` false has a `prompt` and a `talk` to
        answer it in. Nobody answering ends it after some minutes. What is typed goes to the
        `ssh` program, and stands in no log.
        """
        return await self.service.workers.log_in(worker, body)


HANDLERS: tuple[type[Handler], ...] = (
    WorkersHandler,
    WorkerHandler,
    WorkerTestHandler,
    HostKeyHandler,
    LoginHandler,
)
