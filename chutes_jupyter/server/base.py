"""What every handler stands on: who may, what a request says, and what an error becomes."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError

from chutes_jupyter.server.problems import ApiError, problem_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel

    from chutes_jupyter.server.shapes.base import Answer, Asked

#: What names this API to the server's authorizer.
RESOURCE = "chutes"
#: A body holds names and options, never data.
_MOST_BODY = 1024 * 1024
_METHODS = ("get", "head", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Operation:
    """One method of a route, as `openapi.json` describes it.

    Parameters
    ----------
    query, body : type of Asked, optional
        What the request may say.
    answer : type of Answer, optional
        What comes back as JSON; None where it is something else.
    media : str
        The type of what comes back.
    status : HTTPStatus
        Of the answer where all went well.
    """

    query: type[Asked] | None = None
    body: type[Asked] | None = None
    answer: type[Answer] | None = None
    media: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK


def operation(
    *,
    query: type[Asked] | None = None,
    body: type[Asked] | None = None,
    answer: type[Answer] | None = None,
    media: str = "application/json",
    status: HTTPStatus = HTTPStatus.OK,
) -> Callable[[Callable[..., Awaitable[Answer | None]]], Callable[..., Awaitable[None]]]:
    """Make a method of a handler a part of the API: authorized, with its request checked.

    The method is called with the parts of the path, and with `query` and `body` where there
    are such; what it returns is the answer.
    """
    described = Operation(query, body, answer, media, status)

    def decorate(
        method: Callable[..., Awaitable[Answer | None]],
    ) -> Callable[..., Awaitable[None]]:
        @functools.wraps(method)
        async def run(self: ApiHandler, **path: str) -> None:
            asked: dict[str, Any] = {}
            if query is not None:
                asked["query"] = query.model_validate(self.said())
            if body is not None:
                asked["body"] = body.model_validate(self.sent())
            found = await method(self, **path, **asked)
            if found is not None:
                self.answer(found, status)

        whole = authorized(run)
        whole.operation = described  # type: ignore[attr-defined]  # read by `operations_of`
        return whole

    return decorate


class ApiHandler(APIHandler):
    """One route. `_xsrf` and the login are checked by the server's own base before any method.

    A subclass names its `path` and has methods made by `operation`; no other can be called.
    """

    path: ClassVar[str]
    auth_resource = RESOURCE

    async def prepare(self) -> None:  # type: ignore[override]  # as the server's own has it
        """Refuse who is not logged in, whatever the server's settings say of its own pages."""
        await super().prepare()
        if self.request.method != "OPTIONS" and not self.current_user:
            raise HTTPError(HTTPStatus.FORBIDDEN)

    def set_default_headers(self) -> None:
        """Let nobody else's page use an answer, and nothing take it for what it is not."""
        super().set_default_headers()
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    # -- what a request says ----------------------------------------------------------

    def said(self) -> dict[str, str]:
        """Return the query; the server's own words in it are not ours to check."""
        return {
            name: self.get_query_argument(name, strip=False)
            for name in self.request.query_arguments
            if name not in ("token", "_xsrf", "no_track_activity", "_")
        }

    def sent(self) -> Any:
        """Return the body, an empty one as no wishes."""
        if len(self.request.body) > _MOST_BODY:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body_too_large",
                f"The body has {len(self.request.body):,} bytes; {_MOST_BODY:,} are allowed.",
            )
        try:
            return json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise ApiError(
                HTTPStatus.BAD_REQUEST, "invalid_json", "The body is no JSON.", "Send an object."
            ) from None

    @property
    def own_origin(self) -> str:
        """How this request called the server, where the browser does not say it."""
        return f"{self.request.protocol}://{self.request.host}"

    # -- what comes back --------------------------------------------------------------

    def answer(self, found: BaseModel, status: int = HTTPStatus.OK) -> None:
        """Send an answer as JSON."""
        self.set_status(status)
        self.finish(found.model_dump_json())

    def compute_etag(self) -> str | None:
        """Return none: answers change with the jobs, and files have marks of their own."""
        return None

    @property
    def headers_out(self) -> bool:
        """Whether it is too late for another answer."""
        return bool(self._headers_written)

    def cut_off(self) -> None:
        """End the connection in the middle of an answer, so that nobody takes it for whole."""
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.stream.close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send what went wrong in the one form that errors have."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        status, problem = problem_of(error or HTTPError(status_code))
        for name, value in error.headers.items() if isinstance(error, ApiError) else ():
            self.set_header(name, value)
        self.answer(problem, status)

    def log_exception(self, _kind: Any, value: Any, _trace: Any) -> None:
        """Log only what is a fault of ours, and never what a request held."""
        status, problem = problem_of(value)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.code == "internal":
            self.log.error("%s %s failed", self.request.method, self.path, exc_info=value)
        else:
            self.log.debug("%s %s: %d %s", self.request.method, self.path, status, problem.code)


def operations_of(handler: type[ApiHandler]) -> dict[str, tuple[Operation, str]]:
    """Return the operations of a route by their methods, each with what its method says of it."""
    found = {}
    for name in _METHODS:
        method = getattr(handler, name)
        described = getattr(method, "operation", None)
        if described is not None:
            found[name] = (described, (method.__doc__ or "").strip())
    return found
