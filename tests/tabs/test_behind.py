"""Tabs and API of a Jupyter server that browsers reach through a hub's reverse proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from chutes_jupyter import prefixes
from tests.client.rig import until
from tests.tabs.jupyter import jupyter_server
from tests.tabs.reverse import reverse_proxy
from tests.tabs.servers import CHAT, Serve

pytestmark = pytest.mark.slow

HUB = "hub.example.org"


def test_through_a_reverse_proxy_that_strips_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv(prefixes.BASE_URL, "/user/jo/")
    options = ["--ServerApp.trust_xheaders=True", "--ServerApp.allow_remote_access=True"]
    with (
        jupyter_server(tmp_path, base="/user/jo/", options=options) as jupyter,
        reverse_proxy(jupyter.local) as (hub, reverse),
    ):
        served = serve(CHAT).wait()
        said = {"Authorization": f"token {jupyter.token}", "Host": HUB}
        api = f"{hub}/user/jo/chutes/api/v1/jobs/{served.id}"
        assert jupyter.client.get(api, headers=said).json()["label"] == served.job.label
        opened = jupyter.client.post(
            f"{api}/ports/web/tab", headers=said, json={"browser_origin": f"http://{HUB}"}
        ).json()
        assert opened["kind"] == "path"
        assert opened["url"].startswith(f"http://{HUB}/user/jo/chutes/tab/")
        tab = opened["url"].replace(f"http://{HUB}", hub)
        page = {"Host": HUB, "Origin": "null", "Cookie": "_xsrf=2|x; username-hub=jo"}
        reply = until(
            lambda: (r := jupyter.client.get(tab, headers=page)).status_code == 200 and r,
            "the app answers through it",
        )
        assert "<title>Chat</title>" in reply.text
        assert "sandbox" in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Accel-Buffering"] == "no"

        # Each event as it comes: all of them take 100 s.
        with jupyter.client.stream("GET", f"{tab}events", headers=page) as stream:
            lines = stream.iter_lines()
            assert [next(lines) for _ in range(3)] == ["data: 0", "", "data: 1"]
        size = 5 * 1024**2
        assert jupyter.client.post(f"{tab}size", headers=page, content=bytes(size)).text == str(
            size
        )

        async def chat() -> None:
            async with (
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.ws_connect(f"{tab}chat", headers=page) as socket,
            ):
                await socket.send_str("one")
                assert await socket.receive_str(timeout=20) == "heard one"

        asyncio.run(chat())
        assert any(path.endswith("/chat") for path in reverse.paths)
