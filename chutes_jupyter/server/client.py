"""A small client of the API, for tests and scripts.

::

with Api("http://127.0.0.1:8888/", token) as api:
for job in api.jobs(state="live").jobs:
print(job.label, job.state)
api.cancel(job.id)
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from chutes_jupyter.server.openapi import BASE
from chutes_jupyter.server.shapes.base import About, Nothing, Problem
from chutes_jupyter.server.shapes.files import FetchAnswer, FilesAnswer, Preview
from chutes_jupyter.server.shapes.jobs import CancelAnswer, CleanAnswer, JobPage, JobView
from chutes_jupyter.server.shapes.ports import (
    ClosedAnswer,
    ForwardView,
    PortItem,
    PortsAnswer,
    SshAnswer,
    TabAnswer,
)
from chutes_jupyter.server.shapes.readings import ReadingsAnswer
from chutes_jupyter.server.shapes.words import EventsAnswer, LogAnswer, ResultAnswer
from chutes_jupyter.server.shapes.workers import (
    HostKeyAnswer,
    LoginAnswer,
    WorkersAnswer,
    WorkerTest,
    WorkerView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

M = TypeVar("M", bound=BaseModel)

#: How long an answer may take, in seconds: a test of a worker takes some.
_PATIENCE = 120.0


class ApiProblem(Exception):
    """The API answered that something was wrong.

    Parameters
    ----------
    status : int
        Of the answer.
    problem : Problem
        What it says.
    """

    def __init__(self, status: int, problem: Problem) -> None:
        self.status, self.problem = status, problem
        super().__init__(f"{problem.code} ({status}): {problem.message} {problem.hint}".strip())


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event."""

    name: str
    data: dict[str, Any]
    id: str


class Api:
    """The API of one Jupyter server.

    Parameters
    ----------
    server : str
        Its address, with its base URL: ``http://127.0.0.1:8888/user/jo/``.
    token : str, optional
        Its token.
    http : httpx.Client, optional
        What asks; by default one made for it.
    """

    def __init__(self, server: str, token: str = "", *, http: httpx.Client | None = None) -> None:
        headers = {"Authorization": f"token {token}"} if token else {}
        self.http = http or httpx.Client(trust_env=False, timeout=_PATIENCE)
        self.base = server.rstrip("/") + BASE
        self._headers = headers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.http.close()

    # -- jobs -------------------------------------------------------------------------

    def about(self) -> About:
        """Return what answers there."""
        return self._ask(About, "GET", "/about")

    def jobs(self, **query: Any) -> JobPage:
        """List jobs; the words are those of `JobsQuery`."""
        return self._ask(JobPage, "GET", "/jobs", query)

    def job(self, job: str) -> JobView:
        """Return everything that is known of a job."""
        return self._ask(JobView, "GET", f"/jobs/{job}")

    def cancel(self, job: str, wait: float = 5.0) -> CancelAnswer:
        """Cancel a job."""
        return self._ask(CancelAnswer, "POST", f"/jobs/{job}/cancel", body={"wait": wait})

    def again(self, job: str) -> JobView:
        """Run a job again as a new one."""
        return self._ask(JobView, "POST", f"/jobs/{job}/again")

    def remove(self, job: str, *, outputs: bool = False) -> CleanAnswer:
        """Remove a job that has ended."""
        return self._ask(CleanAnswer, "DELETE", f"/jobs/{job}", {"outputs": outputs})

    def clean(self, **wanted: Any) -> CleanAnswer:
        """Remove jobs that have ended; the words are those of `CleanRequest`."""
        return self._ask(CleanAnswer, "POST", "/clean", body=wanted)

    def events(self, job: str, **query: Any) -> EventsAnswer:
        """Read numbered events; the words are those of `EventsQuery`."""
        return self._ask(EventsAnswer, "GET", f"/jobs/{job}/events", query)

    def log(self, job: str, **query: Any) -> LogAnswer:
        """Read a piece of a log; the words are those of `LogQuery`."""
        return self._ask(LogAnswer, "GET", f"/jobs/{job}/log", query)

    def result(self, job: str) -> ResultAnswer:
        """Tell how a job ended."""
        return self._ask(ResultAnswer, "GET", f"/jobs/{job}/result")

    def readings(self, job: str, *, displays: bool = False) -> ReadingsAnswer:
        """Return what a job told of itself."""
        path = f"/jobs/{job}/readings"
        return self._ask(ReadingsAnswer, "GET", path, {"displays": displays})

    def ssh(self, job: str) -> SshAnswer:
        """Return the command that opens a shell in a job."""
        return self._ask(SshAnswer, "POST", f"/jobs/{job}/ssh")

    # -- files and ports --------------------------------------------------------------

    def files(self, job: str, **query: Any) -> FilesAnswer:
        """List outputs; the words are those of `FilesQuery`."""
        return self._ask(FilesAnswer, "GET", f"/jobs/{job}/files", query)

    def content(self, job: str, path: str, **headers: str) -> httpx.Response:
        """Return the answer that holds a file; headers may ask for a range."""
        return self.http.get(
            f"{self.base}/jobs/{job}/files/content",
            params={"path": path},
            headers={**self._headers, **headers},
        )

    def preview(self, job: str, path: str, **query: Any) -> Preview:
        """Look at the beginning of a file."""
        found = {"path": path, **query}
        return self._ask(Preview, "GET", f"/jobs/{job}/files/preview", found)

    def fetch(self, job: str, *paths: str) -> FetchAnswer:
        """Bring files to the server's machine now; without paths begin to bring all."""
        body = {"paths": list(paths)}
        return self._ask(FetchAnswer, "POST", f"/jobs/{job}/files/fetch", body=body)

    def ports(self, job: str) -> PortsAnswer:
        """List the ports of a job."""
        return self._ask(PortsAnswer, "GET", f"/jobs/{job}/ports")

    def show_port(self, job: str, port: int) -> PortItem:
        """Make a port reachable that a job listens on and did not declare."""
        return self._ask(PortItem, "POST", f"/jobs/{job}/ports/{port}/show")

    def tab(
        self, job: str, port: str, browser_origin: str = "", kind: str | None = None
    ) -> TabAnswer:
        """Return where to open a port in a tab."""
        body = {"browser_origin": browser_origin, "kind": kind}
        return self._ask(TabAnswer, "POST", f"/jobs/{job}/ports/{port}/tab", body=body)

    def forward(self, job: str, name: str, /, **where: Any) -> ForwardView:
        """Open a port at an address of the server's machine: `port` and `bind`."""
        path = f"/jobs/{job}/ports/{name}/forwards"
        return self._ask(ForwardView, "POST", path, body=where)

    def close_forwards(self, job: str, port: str) -> int:
        """Close what `forward` opened, and return how many they were."""
        path = f"/jobs/{job}/ports/{port}/forwards"
        return self._ask(ClosedAnswer, "DELETE", path).closed

    # -- workers ----------------------------------------------------------------------

    def workers(self, *, look: Literal["", "met", "all"] = "") -> Sequence[WorkerView]:
        """List the workers."""
        return self._ask(WorkersAnswer, "GET", "/workers", {"look": look}).workers

    def add_worker(self, name: str, **said: Any) -> WorkerView:
        """Add a worker, or change one; the words are those of `WorkerRequest`."""
        return self._ask(WorkerView, "POST", "/workers", body={"name": name, **said})

    def remove_worker(self, name: str) -> None:
        """Forget a worker."""
        self._ask(Nothing, "DELETE", f"/workers/{name}")

    def test_worker(self, name: str) -> WorkerTest:
        """Go through all that a job needs of a worker."""
        return self._ask(WorkerTest, "POST", f"/workers/{name}/test")

    def host_key(self, name: str) -> HostKeyAnswer:
        """Return the key of a worker's host that is not known, if there is one."""
        return self._ask(HostKeyAnswer, "GET", f"/workers/{name}/host-key")

    def accept_key(self, name: str, fingerprint: str) -> HostKeyAnswer:
        """Accept a key that was shown."""
        body = {"fingerprint": fingerprint}
        return self._ask(HostKeyAnswer, "POST", f"/workers/{name}/host-key", body=body)

    def log_in(self, name: str, talk: str = "", answer: str | None = None) -> LoginAnswer:
        """Begin a login, or answer its question."""
        body = {"talk": talk, "answer": answer}
        return self._ask(LoginAnswer, "POST", f"/workers/{name}/login", body=body)

    # -- streams ----------------------------------------------------------------------

    @contextlib.contextmanager
    def stream(self, path: str, *, last: str = "", **query: Any) -> Iterator[Iterator[StreamEvent]]:
        """Follow a stream of server-sent events, such as ``/events`` or ``/jobs/ID/log/live``.

        Parameters
        ----------
        path : str
            Of the route.
        last : str
            The id of the last event that was seen.
        **query
            The words of the route's query.
        """
        headers = {**self._headers, **({"Last-Event-ID": last} if last else {})}
        address = self.base + path
        with self.http.stream("GET", address, params=_plain(query), headers=headers) as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            yield _events(answer)

    def _ask(
        self,
        model: type[M],
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> M:
        answer = self.http.request(
            method,
            self.base + path,
            params=_plain(query or {}),
            json=body,
            headers=self._headers,
        )
        if answer.is_error:
            raise _problem(answer)
        return model.model_validate_json(answer.content)


def _plain(query: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
    }


def _problem(answer: httpx.Response) -> ApiProblem:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:  # not ours: a proxy's, or a server without the extension
        problem = Problem(code="no_api", message=answer.text[:500], hint="")
    return ApiProblem(answer.status_code, problem)


def _events(answer: httpx.Response) -> Iterator[StreamEvent]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line:
            if "data" in fields:
                data = json.loads(fields["data"])
                yield StreamEvent(fields.get("event", "message"), data, fields.get("id", ""))
            fields = {}
