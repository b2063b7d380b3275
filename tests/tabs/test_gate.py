"""The gate: who may come in, and what refuses everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from chutes_jupyter.server.tabs import gate
from chutes_jupyter.server.tabs.gate import Tickets
from tests.tabs.stage import GO, GO_ON, JUPYTER, OPENER, Backend, Stage, stage

pytestmark = pytest.mark.anyio


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="the app")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, hello) as found:
        yield found


async def test_a_ticket_becomes_a_key_that_opens_the_app(here: Stage) -> None:
    ticket = here.tickets.mint(here.tab.name)
    entered = await here.ask(here.enter(ticket), own=False, **GO)
    assert entered.status == 200
    assert b'content="0; url=/"' in entered.body
    (line,) = entered.all("Set-Cookie")
    key, *attributes = line.split("; ")
    assert key == here.key
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"}
    opened = await here.ask("/", own=False, Cookie=key, **GO_ON)
    assert (opened.status, opened.body) == (200, b"the app")
    # Only the tab itself goes on: not a page of another site, in a frame or not.
    for dest in ("iframe", "document"):
        other = await here.ask("/", own=False, Cookie=key, **{**GO, "Sec-Fetch-Dest": dest})
        assert other.status == 403


async def test_a_ticket_opens_once(here: Stage) -> None:
    ticket = here.tickets.mint(here.tab.name)
    assert (await here.ask(here.enter(ticket), own=False, **GO)).status == 200
    again = await here.ask(here.enter(ticket), own=False, **GO)
    assert (again.status, again.all("Set-Cookie")) == (403, [])


async def test_a_page_that_is_loaded_again_has_its_key_already(here: Stage) -> None:
    again = await here.ask(here.enter("used"), own=False, Cookie=here.key, **GO)
    assert (again.status, again.all("Set-Cookie")) == (200, [])


async def test_a_ticket_is_for_one_host(here: Stage) -> None:
    other = here.new_tab(Backend(here.backend.upstream, "/other"))
    ticket = here.tickets.mint(other.name)
    assert (await here.ask(here.enter(ticket), own=False, **GO)).status == 403
    # Somebody has it who should not: it opens nothing any more.
    host = f"{other.name}:{here.port}"
    assert (await here.ask(here.enter(ticket), host=host, own=False, **GO)).status == 403


async def test_a_forged_ticket_opens_nothing(here: Stage) -> None:
    for forged in ("", "x", "A" * 43, "%00", "../", here.tab.key):
        reply = await here.ask(here.enter(forged), own=False, **GO)
        assert (reply.status, reply.all("Set-Cookie")) == (403, []), forged


@pytest.mark.parametrize(
    "dest",
    [
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "embed"},
    ],
)
async def test_only_a_page_takes_a_ticket(here: Stage, dest: dict[str, str]) -> None:
    ticket = here.tickets.mint(here.tab.name)
    reply = await here.ask(here.enter(ticket), own=False, **{**GO, **dest})
    assert (reply.status, reply.all("Set-Cookie")) == (403, [])


def test_a_ticket_is_too_old_after_a_minute() -> None:
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    ticket, late = tickets.mint("a"), tickets.mint("a")
    now[0] = gate.TICKET_LIFE - 1
    assert tickets.redeem(ticket, "a")
    now[0] = gate.TICKET_LIFE + 1
    assert not tickets.redeem(late, "a")


def test_tickets_of_a_tab_that_is_over_are_taken_back() -> None:
    tickets = Tickets()
    gone, other = tickets.mint("a"), tickets.mint("b")
    tickets.forget("a")
    assert not tickets.redeem(gone, "a")
    assert tickets.redeem(other, "b")


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "__Host-chutes-tab=",
        "__Host-chutes-tab=" + "A" * 43,
        "__Host-chutes-tab=é",
        "__host-chutes-tab={key}",
        "chutes-tab={key}",
        "__Host-chutes-tab={key}x",
        "a=b,__Host-chutes-tab={key}",
    ],
)
async def test_without_the_key_nothing_is_shown(here: Stage, cookie: str) -> None:
    cookies = {"Cookie": cookie.replace("{key}", here.tab.key)} if cookie else {}
    for headers in (GO, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        reply = await here.ask("/", own=False, **cookies, **headers)
        assert reply.status == 403
        assert b"the app" not in reply.body
    assert here.seen == []


async def test_another_tabs_key_opens_nothing(here: Stage) -> None:
    other = here.new_tab(Backend(here.backend.upstream, "/other"))
    assert other.key != here.tab.key
    reply = await here.ask("/", Cookie=f"__Host-chutes-tab={other.key}")
    assert reply.status == 403
    both = await here.ask("/", Cookie=f"__Host-chutes-tab={other.key}; {here.key}")
    assert both.status == 200


ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.mark.parametrize(
    "headers",
    [
        ELSEWHERE,
        {**ELSEWHERE, "Sec-Fetch-Site": "same-site"},
        {**ELSEWHERE, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {**ELSEWHERE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"},
        {"Origin": OPENER},
        {"Origin": "null"},
        {"Origin": "http://{name}"},
        {"Origin": "https://{name}:{port}"},
        {"Origin": "http://x.{name}:{port}"},
    ],
)
async def test_other_pages_ask_for_nothing(here: Stage, headers: dict[str, str]) -> None:
    filled = {
        name: value.format(name=here.tab.name, port=here.port) for name, value in headers.items()
    }
    for method in ("GET", "POST"):
        assert (await here.ask("/", method=method, body=b"", **filled)).status == 403
    assert here.seen == []


async def test_a_form_of_another_page_is_refused(here: Stage) -> None:
    assert (await here.ask("/", method="POST", body=b"a=1", **GO)).status == 403
    assert here.seen == []


@pytest.mark.parametrize("origin", [None, OPENER, "null", "https://evil.example"])
async def test_a_websocket_of_another_page_is_refused(here: Stage, origin: str | None) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    said = {"Origin": origin} if origin else {}
    reply = await here.ask("/ws", Sec_WebSocket_Key="x" * 22 + "==", **headers, **said)
    assert reply.status == 403
    assert here.seen == []


async def test_no_host_below_localhost_is_jupyters(here: Stage) -> None:
    for name in (
        "unknown.localhost",
        f"x.{here.tab.name}",
        "a.b.c.localhost",
        "UNKNOWN.LOCALHOST",
        "unknown.localhost.",
    ):
        for host in (name, f"{name}:{here.port}"):
            reply = await here.ask("/api/contents", host=host)
            assert reply.status == 404, host
            assert JUPYTER.encode() not in reply.body
    for name in ("localhost", "127.0.0.1", "lab.localhost"):
        assert (await here.ask("/api/contents", host=name)).body == JUPYTER.encode()


async def test_a_domain_for_tabs_is_not_jupyters_either(tmp_path: Path) -> None:
    async with stage(tmp_path, hello, domain="ports.example.net") as here:
        for host in ("ports.example.net", "x.ports.example.net", "PORTS.example.net.:443"):
            assert (await here.ask("/api/contents", host=host)).status == 404, host
        for host in ("example.net", "xports.example.net"):
            assert (await here.ask("/api/contents", host=host)).body == JUPYTER.encode()


async def test_a_host_is_the_same_however_it_is_written(here: Stage) -> None:
    upper = here.host.upper().replace("LOCALHOST", "localhost.")
    assert (await here.ask("/", host=upper)).body == b"the app"


async def test_jupyters_page_learns_whether_a_host_leads_here(here: Stage) -> None:
    reply = await here.ask("/__chutes__/probe", own=False, Origin=OPENER)
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (200, OPENER)
    assert reply.body == b'{"tab": true}'
    other = await here.ask("/__chutes__/probe", own=False, Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in other.headers
    unknown = await here.ask("/__chutes__/probe", own=False, host="x.localhost", Origin=OPENER)
    assert unknown.status == 404


async def test_a_tab_that_is_over_says_so_and_nothing_else(here: Stage) -> None:
    here.labels.revoke(here.backend)
    for target in ("/", here.enter(here.tickets.mint(here.tab.name)), "/__chutes__/probe"):
        reply = await here.ask(target, **GO)
        assert reply.status == 410
        assert b'data-chutes="over"' in reply.body
        # In the frame where the app was.
        assert not any("frame-ancestors" in each for each in reply.all("Content-Security-Policy"))
    assert (await here.at("/")).status == 410
    fresh = here.labels.host(here.backend, "origin", "localhost", "http")
    assert fresh.name != here.tab.name
    assert here.seen == []


# -- the tab that is a path


@pytest.mark.parametrize("origin", [OPENER, "http://localhost", "https://evil.example"])
async def test_a_path_is_for_pages_without_an_origin(here: Stage, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        reply = await here.at("/", method=method, Origin=origin)
        assert reply.status == 403
        assert reply.headers["Access-Control-Allow-Origin"] == "null"
    assert here.seen == []


async def test_a_page_of_jupyter_takes_no_script_from_a_path(here: Stage) -> None:
    for dest in ("script", "serviceworker", "style", "worker"):
        said = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}
        path = f"{here.path.name}/x.js"
        reply = await here.ask(
            path, host="localhost", own=False, **said, **{"Sec-Fetch-Dest": dest}
        )
        assert reply.status == 403
    assert here.seen == []


async def test_a_path_that_is_not_known_leads_nowhere(here: Stage) -> None:
    for path in ("/chutes/tab/", "/chutes/tab/x/", "/chutes/tab/5ec3e7x/", "/chutes/tab//5ec3e7/"):
        reply = await here.ask(path, host="localhost", own=False, **GO)
        assert reply.status == 404, path
        assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert here.seen == []


async def test_every_answer_of_a_path_is_in_the_sandbox(here: Stage) -> None:
    asked = [
        await here.at("/"),
        await here.at(""),
        await here.at("/", Origin=OPENER),
        await here.at("/", method="OPTIONS", Access_Control_Request_Method="PUT"),
        await here.at("/", method="TRACE"),
        await here.at("/", method="HEAD"),
    ]
    here.backend.ready = False
    asked.append(await here.at("/"))
    here.backend.over = True
    asked.append(await here.at("/"))
    assert [each.status for each in asked] == [200, 302, 403, 204, 405, 200, 503, 410]
    for reply in asked:
        policy = reply.headers["Content-Security-Policy"]
        assert "sandbox allow-scripts" in policy
        assert "allow-same-origin" not in policy
        assert "allow-top-navigation" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
