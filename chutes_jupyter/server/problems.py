"""The exception tree, mapped once to HTTP: a status, a word for programs, and a next step."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from tornado.web import HTTPError

from chutes_jupyter import errors
from chutes_jupyter.errors import ChuteError, HostKeyError, RequestRefused
from chutes_jupyter.harmless import harmless
from chutes_jupyter.server.shapes.base import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG_IN = "Log in to the worker: from the list of workers, or with: jupyter chute worker login NAME"
_COMPARE = (
    "Compare the fingerprint with what whoever runs the host tells you, and accept the key then."
)
_LATER = "Jobs go on meanwhile. Try again, or test the worker to see what is wrong."

#: The nearest class above counts. A worker that is out of reach is never 401 or 403: front ends
#: take those for a login to Jupyter.
_TREE: Mapping[type[ChuteError], tuple[HTTPStatus, str]] = {
    errors.ChuteError: (HTTPStatus.INTERNAL_SERVER_ERROR, ""),
    errors.SpecError: (HTTPStatus.BAD_REQUEST, ""),
    errors.CaptureError: (HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    errors.ConfigError: (HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    errors.UnknownWorker: (HTTPStatus.NOT_FOUND, ""),
    errors.UsageError: (HTTPStatus.BAD_REQUEST, ""),
    errors.WorkerError: (HTTPStatus.BAD_GATEWAY, _LATER),
    errors.ConnectFailed: (HTTPStatus.SERVICE_UNAVAILABLE, _LATER),
    errors.LoginFailed: (HTTPStatus.CONFLICT, _LOG_IN),
    errors.LoginNeeded: (HTTPStatus.CONFLICT, _LOG_IN),
    errors.HostKeyError: (HTTPStatus.CONFLICT, _COMPARE),
    errors.ConnectionLost: (HTTPStatus.SERVICE_UNAVAILABLE, _LATER),
    errors.DoorShut: (HTTPStatus.CONFLICT, ""),
    errors.RequestRefused: (HTTPStatus.CONFLICT, ""),
    errors.ForwardFailed: (HTTPStatus.CONFLICT, ""),
    errors.JobNotFound: (HTTPStatus.NOT_FOUND, ""),
    errors.NotKept: (HTTPStatus.CONFLICT, ""),
    errors.JobError: (HTTPStatus.CONFLICT, ""),
    errors.ResultError: (HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    errors.OutputsError: (HTTPStatus.CONFLICT, ""),
    errors.WaitTimeout: (HTTPStatus.GATEWAY_TIMEOUT, _LATER),
}
#: What an agent's refusals mean, where that is not a conflict.
_REFUSALS = {
    "unknown_job": HTTPStatus.NOT_FOUND,
    "no_output": HTTPStatus.NOT_FOUND,
    "removed": HTTPStatus.GONE,
}
_MOST = 4000


class ApiError(Exception):
    """A request that this API itself refuses.

    Parameters
    ----------
    status : HTTPStatus
        Of the answer.
    code : str
        The word for programs.
    message, hint : str
        What was wrong, and what to do next.
    headers : mapping of str to str, optional
        What the answer has besides.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        hint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers = dict(headers or {})
        super().__init__(message)


def problem_of(error: BaseException) -> tuple[int, Problem]:
    """Return the status and the answer that an error becomes."""
    if isinstance(error, ApiError):
        return error.status, Problem(code=error.code, message=error.message, hint=error.hint)
    if isinstance(error, ChuteError):
        return _ours(error)
    if isinstance(error, ValidationError):
        return HTTPStatus.BAD_REQUEST, _invalid(error)
    if isinstance(error, HTTPError):
        return error.status_code, _http(error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, Problem(
        code="internal",
        message="Something went wrong in the server extension of chutes_jupyter.",
        hint="The server's log has the reason.",
    )


def _ours(error: ChuteError) -> tuple[int, Problem]:
    known = next(each for each in type(error).__mro__ if each in _TREE)
    named = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
    status, hint = _TREE[known]
    code = _snake(named.__name__)
    details: dict[str, Any] = {}
    if isinstance(error, RequestRefused):
        status = _REFUSALS.get(error.code, status)
        details["refused"] = error.code
    if isinstance(error, HostKeyError):
        details |= {"fingerprint": error.fingerprint, "kind": error.kind, "host": error.host}
    message = harmless(str(error))[:_MOST]
    return status, Problem(code=code, message=message, hint=hint, details=details)


def _invalid(error: ValidationError) -> Problem:
    # Neither input nor context: what was sent may be a secret.
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    words = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'the body'}: {fault['msg']}"
        for fault in faults[:5]
    ]
    return Problem(
        code="invalid_request",
        message="; ".join(words),
        hint="See openapi.json for what this request may say.",
    )


def _http(error: HTTPError) -> Problem:
    try:
        phrase = HTTPStatus(error.status_code).phrase
    except ValueError:
        phrase = error.reason or "Unknown"
    hint = ""
    if error.status_code == HTTPStatus.FORBIDDEN:
        hint = "Log in to the Jupyter server, and send its token or its cookie with _xsrf."
    return Problem(
        code=_snake(phrase.title().replace(" ", "").replace("-", "")),
        message=error.log_message or phrase,
        hint=hint,
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
