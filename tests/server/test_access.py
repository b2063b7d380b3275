"""Who may use the API: every route, walked; a login, `_xsrf` and the authorizer for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import httpx
import pytest

from chutes_jupyter.server.base import operations_of
from chutes_jupyter.server.openapi import BASE
from chutes_jupyter.server.routes import HANDLERS
from tests.server.rig import Server, serving

#: Refuses whatever a header names: an action, or an action on a resource.
AUTHORIZER = """
from jupyter_server.auth import Authorizer

class Picky(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if resource != "chutes":
            return True
        handler.set_header("X-Asked", f"{action} {resource}")
        return handler.request.headers.get("X-Refuse") not in (action, "all")
"""
#: What a route's path is called with: things that are not there.
NAMES = {"job": "ffff" * 8, "worker": "nowhere", "port": "web"}

ROUTES = [
    (method.upper(), re.sub(r"{(\w+)}", lambda part: NAMES[part[1]], handler.path))
    for handler in HANDLERS
    for method in operations_of(handler)
]
WRITES = [(method, path) for method, path in ROUTES if method not in ("GET", "HEAD")]


@pytest.fixture(scope="module")
def server(
    surroundings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    option = "--ServerApp.authorizer_class=picky.Picky"
    picky = [("picky.py", AUTHORIZER)]
    # Its own each time: a process that takes over tests of another one comes here twice.
    place = tmp_path_factory.mktemp("picky") / "root"
    with serving(place, surroundings, option, files=picky) as found:
        yield found


@pytest.fixture(scope="module")
def shared_http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as found:
        yield found


@pytest.fixture
def http(shared_http: httpx.Client) -> httpx.Client:
    """A client without cookies."""
    shared_http.cookies.clear()
    return shared_http


@pytest.fixture
def browser(server: Server, http: httpx.Client) -> httpx.Client:
    """What a browser is after its login: it has the cookies, and sends no token."""
    http.get(f"{server.url}api/status", params={"token": server.token}).raise_for_status()
    http.get(f"{server.url}login", follow_redirects=True)
    assert [name for name in http.cookies if name.startswith("username-")]
    assert "_xsrf" in http.cookies
    return http


def answer(
    http: httpx.Client, server: Server, method: str, path: str, **headers: str
) -> httpx.Response:
    """Ask, and return the answer when its head is there: streams never end."""
    address = server.url.rstrip("/") + BASE + path
    with http.stream(method, address, headers=headers) as found:
        if found.headers.get("Content-Type") != "text/event-stream":
            found.read()
        return found


def refused(found: httpx.Response) -> bool:
    """Whether an answer is a refusal in the form that errors have."""
    if found.request.method != "HEAD" and found.status_code == 403:
        body = found.json()
        assert set(body) == {"code", "message", "hint", "details"}
        assert body["code"] == "forbidden"
    return found.status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_comes_in_without_a_login(
    server: Server, http: httpx.Client, method: str, path: str
) -> None:
    assert refused(answer(http, server, method, path))
    assert refused(answer(http, server, method, path, Authorization="token wrong"))
    assert refused(answer(http, server, method, f"{path}?token=wrong"))
    assert refused(answer(http, server, method, path, Authorization=""))
    assert refused(answer(http, server, method, path, Cookie="username-127-0-0-1=forged"))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_who_has_the_token_comes_in(
    server: Server, http: httpx.Client, method: str, path: str
) -> None:
    found = answer(http, server, method, path, Authorization=f"token {server.token}")
    assert found.status_code not in (401, 403, 405, 500)
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_cookie_alone_writes_nothing(
    server: Server, browser: httpx.Client, method: str, path: str
) -> None:
    assert refused(answer(browser, server, method, path))
    assert refused(answer(browser, server, method, path, **{"X-XSRFToken": "2|wrong|wrong|1"}))
    # What a page of another origin could add: a form's field, no header.
    assert refused(answer(browser, server, method, f"{path}?_xsrf=wrong"))
    right = {"X-XSRFToken": browser.cookies["_xsrf"]}
    assert not refused(answer(browser, server, method, path, **right))
    foreign = answer(browser, server, method, path, Origin="https://evil.example", **right)
    assert foreign.status_code in (403, 404)
    assert foreign.json()["code"] in ("forbidden", "not_found")
    assert "extension" not in foreign.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_authorizer_is_asked_for_every_route(
    server: Server, http: httpx.Client, method: str, path: str
) -> None:
    token = {"Authorization": f"token {server.token}"}
    action = "read" if method in ("GET", "HEAD") else "write"
    found = answer(http, server, method, path, **token, **{"X-Refuse": action})
    assert refused(found)
    assert found.headers.get("X-Asked", f"{action} chutes") == f"{action} chutes"
    other = "write" if action == "read" else "read"
    assert not refused(answer(http, server, method, path, **token, **{"X-Refuse": other}))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "DELETE", "TRACE"])
def test_a_method_that_a_route_does_not_have_is_refused(
    server: Server, http: httpx.Client, method: str
) -> None:
    found = answer(http, server, method, "/about", Authorization=f"token {server.token}")
    assert found.status_code in (403, 405)
    assert "chutes" not in found.text or found.json()["code"]


def test_an_answer_belongs_to_no_other_origin(server: Server, browser: httpx.Client) -> None:
    found = answer(browser, server, "GET", "/about", Referer=server.url)
    assert found.status_code == 200
    foreign = answer(browser, server, "GET", "/about", Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in foreign.headers
    assert "Access-Control-Allow-Origin" not in found.headers
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert found.headers["Cache-Control"] == "no-store"


def test_no_token_and_no_secret_stands_in_the_log(server: Server, http: httpx.Client) -> None:
    secret = "hunter2-in-a-body"
    token = {"Authorization": f"token {server.token}"}
    for path, body in (
        ("/workers/nowhere/login", {"talk": "t", "answer": secret}),
        ("/workers/nowhere/login", {"talk": "t", "answer": [secret]}),
        ("/workers", {"name": "x", "host": "h h", "env": {"TOKEN": secret}}),
        ("/workers", {"name": "x", "host": "h", "env": {"bad name": secret}}),
    ):
        found = http.post(server.url.rstrip("/") + BASE + path, json=body, headers=token)
        assert found.is_error
        assert secret not in found.text
    assert secret not in server.log.read_text()
    http.get(server.url.rstrip("/") + BASE + "/about", params={"token": server.token})
    assert server.token not in server.log.read_text()
