"""Which headers pass: nothing of Jupyter's to the job, and nothing of the job's to Jupyter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.tabs.stage import FETCH, GO, GO_ON, JUPYTER, OPENER, TOKEN, Stage, stage

pytestmark = pytest.mark.anyio


class App:
    """Says what it got, and answers with what it was told to."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        got = {
            "target": request.raw_path,
            "body": body.decode("latin-1"),
            "headers": [[k.decode(), v.decode("latin-1")] for k, v in request.raw_headers],
        }
        reply = web.Response(status=self.status, text=json.dumps(got))
        for name, value in self.headers:
            reply.headers.add(name, value)
        return reply


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def here(tmp_path: Path, app: App) -> AsyncIterator[Stage]:
    async with stage(tmp_path, app) as found:
        yield found


def got(body: bytes) -> dict[str, list[str]]:
    """Return the headers that the app got."""
    found: dict[str, list[str]] = {}
    for name, value in json.loads(body)["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


# -- on the way in


async def test_the_app_is_asked_as_if_nobody_were_between(here: Stage) -> None:
    reply = await here.ask(
        "/x",
        Cookie=f"theme=dark; {here.key}; _xsrf=1; empty=",
        Origin=here.origin,
        Referer=f"{here.origin}/page?a=b",
        X_Forwarded_For="1.2.3.4",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Prefix="/evil",
        Forwarded="for=1.2.3.4",
        X_Real_IP="1.2.3.4",
        X_XSRFToken="of-the-app",
        X_Own="own",
        Connection="keep-alive, X-Hop",
        X_Hop="hop",
        TE="trailers",
        Proxy_Authorization="Basic x",
    )
    headers = got(reply.body)
    assert headers["host"] == ["localhost:8501"]
    assert headers["cookie"] == ["theme=dark; _xsrf=1; empty="]
    assert headers["origin"] == ["http://localhost:8501"]
    assert headers["referer"] == ["http://localhost:8501/page?a=b"]
    assert headers["x-forwarded-host"] == [here.host]
    assert headers["x-forwarded-proto"] == ["http"]
    assert headers["x-own"] == ["own"]
    assert headers["x-xsrftoken"] == ["of-the-app"]  # that goes with its own cookie
    for name in (
        "x-forwarded-for", "x-forwarded-prefix", "forwarded", "x-real-ip", "x-hop", "te",
        "proxy-authorization", "connection",
    ):  # fmt: skip
        assert name not in headers, name


async def test_another_sites_address_is_not_told(here: Stage) -> None:
    reply = await here.ask(
        "/", own=False, Cookie=here.key, **GO_ON, Referer=f"{OPENER}/lab?token=x"
    )
    assert "referer" not in got(reply.body)


async def test_jupyters_token_does_not_get_in(here: Stage) -> None:
    for said in (f"token {TOKEN}", f"Bearer {TOKEN}", "token x", f"bearer   {TOKEN}"):
        assert "authorization" not in got((await here.ask("/", Authorization=said)).body), said
    kept = got((await here.ask("/", Authorization="Bearer of-the-app")).body)
    assert kept["authorization"] == ["Bearer of-the-app"]
    asked = json.loads((await here.ask(f"/x?a=1&token={TOKEN}&b=2")).body)
    assert asked["target"] == "/x?a=1&b=2"
    own = json.loads((await here.ask("/x?token=of-the-app")).body)
    assert own["target"] == "/x?token=of-the-app"


async def test_a_path_brings_nothing_of_jupyters(here: Stage) -> None:
    reply = await here.at(
        "/x?a=1&token=any&b=2",
        Cookie=f"username-localhost-8888=secret; _xsrf=1; {here.key}",
        Authorization="Bearer of-anybody",
        Referer=f"{OPENER}/lab",
        X_XSRFToken="1",
    )
    headers = got(reply.body)
    assert json.loads(reply.body)["target"] == "/x?a=1&b=2"
    for name in ("cookie", "authorization", "referer", "x-xsrftoken"):
        assert name not in headers
    assert headers["origin"] == ["http://localhost:8501"]
    assert headers["x-forwarded-prefix"] == [here.path.name]


# -- on the way out


async def test_only_the_tab_itself_may_be_changed(here: Stage, app: App) -> None:
    app.headers = [
        ("Set-Cookie", "a=1; Domain=localhost; Path=/x; SameSite=Lax; HttpOnly"),
        ("Set-Cookie", "b=2; secure; partitioned; Max-Age=5"),
        ("Set-Cookie", "__Host-chutes-tab=stolen; Path=/; Secure"),
        ("Set-Cookie", "__HOST-chutes-tab=stolen; Path=/; Secure"),
        ("Service-Worker-Allowed", "/"),
        ("Clear-Site-Data", '"*"'),
        ("Strict-Transport-Security", "max-age=99999"),
        ("Alt-Svc", 'h3=":443"'),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "unsafe-url"),
        ("X-Content-Type-Options", "none"),
        ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),
        ("Content-Security-Policy", "frame-ancestors *"),
        ("Connection", "X-Hop"),
        ("X-Hop", "hop"),
        ("X-Own", "own"),
    ]
    reply = await here.ask("/")
    assert reply.all("Set-Cookie") == [
        "a=1; Path=/x; HttpOnly; Secure; SameSite=None; Partitioned",
        "b=2; Max-Age=5; Secure; SameSite=None; Partitioned",
    ]
    for name in (
        "Service-Worker-Allowed", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc",
        "Access-Control-Allow-Credentials", "X-Frame-Options", "X-Hop",
    ):  # fmt: skip
        assert name not in reply.headers, name
    assert reply.all("Referrer-Policy") == ["same-origin"]
    assert reply.all("X-Content-Type-Options") == ["nosniff"]
    assert reply.all("Content-Security-Policy") == [
        f"frame-ancestors 'self' {OPENER}",
        "default-src 'self'",
    ]
    assert reply.all("X-Own") == ["own"]


async def test_a_path_sets_nothing_and_lets_nobody_else_read(here: Stage, app: App) -> None:
    app.headers = [
        ("Set-Cookie", "a=1; Path=/"),
        ("Access-Control-Allow-Origin", OPENER),
        ("Access-Control-Allow-Credentials", "true"),
        ("Content-Security-Policy", "sandbox allow-same-origin allow-scripts"),
        ("Service-Worker-Allowed", "/"),
        ("Clear-Site-Data", '"*"'),
    ]
    reply = await here.at("/")
    assert reply.all("Access-Control-Allow-Origin") == ["null"]
    for name in (
        "Set-Cookie", "Access-Control-Allow-Credentials", "Service-Worker-Allowed",
        "Clear-Site-Data",
    ):  # fmt: skip
        assert name not in reply.headers, name
    # Of two sandboxes only what both allow is allowed.
    assert "sandbox allow-scripts allow-forms allow-downloads" in reply.all(
        "Content-Security-Policy"
    )


async def test_values_that_are_no_header_are_left_out(here: Stage, app: App) -> None:
    app.headers = [("X-Spaces", "around   "), ("X-Latin", "é")]
    reply = await here.ask("/")
    assert reply.status == 200
    assert reply.headers["X-Spaces"] == "around"


# -- redirects


OWN = "http://localhost:8501"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/next?a=b#c", "/next?a=b#c"),
        ("next", "next"),
        ("?a", "?a"),
        (f"{OWN}/next?a", "/next?a"),
        (f"{OWN}", "/"),
        ("http://127.0.0.1:8501/x", "/x"),
        ("http://0.0.0.0:8501/x", "/x"),
        ("http://{host}/x", "/x"),
    ],
)
async def test_redirects_within_the_app(
    here: Stage, app: App, location: str, expected: str
) -> None:
    app.status, app.headers = 302, [("Location", location.format(host=here.host))]
    reply = await here.ask("/", own=False, Cookie=here.key, **GO_ON)
    assert (reply.status, reply.headers["Location"]) == (302, expected)


ELSEWHERE = [
    f"{OPENER}/logout",
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "///evil.example/",
    "\\\\evil.example",
    "http:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "http://localhost:8501@evil.example/",
    "http://localhost:8501.evil.example/",
    "https://[evil",
]


@pytest.mark.parametrize("location", ELSEWHERE)
async def test_redirects_elsewhere_start_from_the_jobs_own_page(
    here: Stage, app: App, location: str
) -> None:
    """A redirect would be followed as if Jupyter's page had asked for it, with its cookies."""
    app.status, app.headers = 302, [("Location", location.format(port=here.port))]
    for reply in (
        await here.ask("/", own=False, Cookie=here.key, **GO_ON),
        await here.at("/", **GO),
    ):
        assert (reply.status, "Location" in reply.headers) == (200, False)
        assert b'data-chutes="leaving"' in reply.body
        assert JUPYTER.encode() not in reply.body
    # Nobody followed it on this side.
    assert len(here.seen) == 2
    script = await here.at("/", **FETCH | {"Sec-Fetch-Site": "cross-site"})
    assert (script.status, "Location" in script.headers) == (200, False)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/next", "/next"),
        ("next", "/a/next"),
        ("../next", "/next"),
        ("../../../../api/contents", "/api/contents"),
        ("/../../api/contents", "/api/contents"),
        ("/%2e%2e/%2E%2E/api", "/api"),
        ("/x/..", "/"),
        ("..\\..\\lab", "/lab"),
        ("/lab", "/lab"),
        (f"{OWN}/../lab", "/lab"),
        ("http://{host}/lab", "/lab"),
        ("{prefix}/in", "/in"),
        ("{prefix}x/in", "{prefix}x/in"),
        ("?a=/../..", "/a/b?a=/../.."),
    ],
)
@pytest.mark.parametrize("base", ["/", "/user/jo/"])
async def test_redirects_do_not_leave_a_path(
    tmp_path: Path, app: App, base: str, location: str, expected: str
) -> None:
    async with stage(tmp_path, app, base=base) as here:
        prefix = here.path.name
        assert prefix == f"{base}chutes/tab/5ec3e7"
        filled = location.format(host=f"localhost:{here.port}", prefix=prefix)
        app.status, app.headers = 302, [("Location", filled)]
        reply = await here.at("/a/b")
        assert reply.headers["Location"] == prefix + expected.format(prefix=prefix)


async def test_a_redirect_to_jupyter_leads_nowhere(here: Stage, app: App) -> None:
    jupyter = f"http://localhost:{here.port}"
    app.status, app.headers = 302, [("Location", f"{jupyter}/logout")]
    on_host = await here.ask("/", own=False, Cookie=here.key, **GO_ON)
    assert (on_host.status, "Location" in on_host.headers) == (200, False)
    # There Jupyter's address is the app's own.
    assert (await here.at("/", **GO)).headers["Location"] == f"{here.path.name}/logout"


# -- path tricks and smuggling


TRICKS = [
    "/../../api/contents",
    "/%2e%2e/%2e%2e/api/contents",
    "/..%2f..%2fapi/contents",
    "//api/contents",
    "//localhost:8888/api/contents",
    "/\\api",
    "/%00/api",
    "/%2fapi",
    "/a%0d%0aX-Evil:%201",
    "/%5c..%5capi",
    "/?/../..",
    "/@evil.example/",
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_path_leads_out_of_a_tab(here: Stage, trick: str) -> None:
    for reply in (await here.ask(trick), await here.at(trick)):
        assert JUPYTER.encode() not in reply.body
        if reply.status == 200:
            # The app got it, exactly as it was sent, and nobody else.
            assert json.loads(reply.body)["target"] == trick
    assert len(here.seen) == 2


@pytest.mark.parametrize(
    "target",
    ["http://localhost:8888/api", "*", "x", "http://169.254.169.254/", "//evil.example/x", "/a#b"],
)
async def test_only_the_app_can_be_asked(here: Stage, target: str) -> None:
    reply = await here.ask(target, method="OPTIONS")
    assert reply.status in (200, 400)
    assert JUPYTER.encode() not in reply.body
    if reply.status == 200:
        assert got(reply.body)["host"] == ["localhost:8501"]


async def test_no_request_is_smuggled_in_another(here: Stage) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
    tricks = [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length : 5\r\n",
        b"X-A: 1\x00\r\n",
    ]
    for trick in tricks:
        try:
            await here.ask("/", method="POST", raw=trick + b"\r\n0\r\n\r\n" + hidden)
        except (EOFError, ConnectionError):
            continue
    assert all("hidden" not in request.raw_path for request in here.seen)


async def test_a_body_that_looks_like_a_request_is_a_body(here: Stage) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
    reply = await here.ask("/", method="GET", body=hidden)
    assert json.loads(reply.body)["body"].encode() == hidden
    assert len(here.seen) == 1


async def test_an_app_that_smuggles_gets_no_second_answer(here: Stage, app: App) -> None:
    app.headers = [("X-Evil", "1"), ("Transfer-Encoding", "chunked")]
    app.status = 304
    reply = await here.ask("/")
    assert (reply.status, "Transfer-Encoding" in reply.headers) == (304, False)


# -- an app that was told its path


async def test_an_app_that_knows_its_path_is_asked_with_it(here: Stage, app: App) -> None:
    here.backend.prefixed = True
    asked = json.loads((await here.at("/a?b")).body)
    assert asked["target"] == f"{here.path.name}/a?b"
    app.status, app.headers = 302, [("Location", f"{here.path.name}/next")]
    assert (await here.at("/a")).headers["Location"] == f"{here.path.name}/next"
    # On its own host it is not at / but there.
    page = await here.ask("/", own=False, Cookie=here.key, **GO_ON)
    assert (page.status, page.headers["Location"]) == (302, f"{here.path.name}/")


async def test_an_app_that_writes_its_path_but_is_not_there(here: Stage) -> None:
    """As Dash with `requests_pathname_prefix`: it relies on somebody who takes it off."""
    for rest, target in (("/a?b", "/a?b"), ("", "/"), ("?b", "/?b")):
        for reply in (await here.ask(f"{here.path.name}{rest}"), await here.at(rest or "/")):
            asked = json.loads(reply.body)["target"] if reply.status == 200 else target
            assert asked == target
    longer = f"{here.path.name}x/a"
    assert json.loads((await here.ask(longer)).body)["target"] == longer


async def test_a_page_in_the_sandbox_may_ask_its_app_anything(here: Stage) -> None:
    said = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-a, x-b"}
    reply = await here.at("/x", method="OPTIONS", **said)
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Methods"] == "PUT"
    assert reply.headers["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert "Access-Control-Allow-Credentials" not in reply.headers
    assert here.seen == []
    assert (await here.at("/x", method="OPTIONS")).status == 200
    assert len(here.seen) == 1


async def test_behind_a_proxy_that_speaks_tls_the_app_knows(here: Stage) -> None:
    here.path.openers.add("https://hub.example.org")
    headers = got((await here.at("/", host="hub.example.org")).body)
    assert headers["x-forwarded-host"] == ["hub.example.org"]
    assert headers["x-forwarded-proto"] == ["https"]
