"""The description of the API, held to its handlers; and the tree of errors, mapped whole."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from openapi_spec_validator import validate
from pydantic import ValidationError
from tornado.web import HTTPError

from chutes_jupyter import errors
from chutes_jupyter.server import openapi, problems
from chutes_jupyter.server.base import operations_of
from chutes_jupyter.server.problems import ApiError, problem_of
from chutes_jupyter.server.routes import HANDLERS
from chutes_jupyter.server.shapes.workers import AcceptRequest, LoginRequest

METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}


def made(name: str) -> errors.ChuteError:
    """Return an error of that class, made as its own constructor wants it."""
    kind = getattr(errors, name)
    if kind is errors.SpecError:
        return kind("port", 0, "must be a port")
    if kind is errors.RequestRefused:
        return kind("not_found", "no such file")
    return kind("what happened")


def test_the_file_says_what_the_handlers_do() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.written(HANDLERS), (
        "run scripts/openapi"
    )


def test_the_file_is_a_description() -> None:
    validate(json.loads(openapi.FILE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda each: each.path)
def test_a_route_has_no_method_that_is_not_described(handler: type) -> None:
    own = {name for name in vars(handler) if name in METHODS}
    assert own == set(operations_of(handler))
    assert own


def test_no_two_routes_have_one_path() -> None:
    paths = [handler.path for handler in HANDLERS]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_an_answer(name: str) -> None:
    status, problem = problem_of(made(name))
    assert problem.message
    assert problem.code == problems._snake(name)
    # 401 and 403 would be read as a login to Jupyter, 500 as a fault of ours.
    assert 400 <= status < 600
    assert status not in (401, 403)
    assert (status == 500) == (name == "ChuteError")


def test_an_error_that_is_also_the_functions_own_keeps_its_code() -> None:
    class Twin(errors.JobFailed, ValueError):
        pass

    assert problem_of(Twin("it failed"))[1].code == "job_failed"


def test_a_host_key_comes_with_its_fingerprint() -> None:
    error = errors.UnknownHostKey("not known", "SHA256:abc", "ssh-ed25519", "gpu1")
    status, problem = problem_of(error)
    assert status == HTTPStatus.CONFLICT
    assert problem.code == "unknown_host_key"
    assert problem.details == {
        "fingerprint": "SHA256:abc",
        "kind": "ssh-ed25519",
        "host": "gpu1",
    }


@pytest.mark.parametrize(
    ("code", "status"), [("unknown_job", 404), ("removed", 410), ("other_spec", 409)]
)
def test_what_a_worker_refuses_has_its_own_status(code: str, status: int) -> None:
    found, problem = problem_of(errors.RequestRefused(code, "no"))
    assert (found, problem.details) == (status, {"refused": code})


def test_a_request_that_is_wrong_is_told_without_what_it_held() -> None:
    with pytest.raises(ValidationError) as caught:
        LoginRequest.model_validate({"talk": "t", "answer": ["hunter2"], "more": "hunter3"})
    status, problem = problem_of(caught.value)
    assert (status, problem.code) == (400, "invalid_request")
    assert "answer" in problem.message
    assert "hunter" not in problem.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        AcceptRequest.model_validate({"fingerprint": "hunter2"})
    assert "hunter" not in problem_of(caught.value)[1].model_dump_json()


def test_what_is_no_error_of_ours_says_nothing_of_itself() -> None:
    status, problem = problem_of(RuntimeError("a secret"))
    assert (status, problem.code) == (500, "internal")
    assert "secret" not in problem.model_dump_json()


def test_the_servers_own_refusals_have_the_same_form() -> None:
    assert problem_of(HTTPError(403))[1].code == "forbidden"
    assert problem_of(HTTPError(404))[1].code == "not_found"
    assert problem_of(ApiError(HTTPStatus.GONE, "gone", "It went."))[0] == 410
