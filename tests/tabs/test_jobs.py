"""Real jobs in the tabs of a real Jupyter server, asked as a browser asks."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest

from chutes_jupyter import prefixes
from chutes_jupyter.config import Worker
from tests.client.rig import until
from tests.tabs.jupyter import GO, GO_ON, Jupyter, jupyter_server
from tests.tabs.servers import CHAT, FILES, Serve

pytestmark = pytest.mark.slow


def memory(pid: int) -> int:
    """Return the most memory that a process ever had, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def test_from_waiting_to_the_end(jupyter: Jupyter, serve: Serve, ssh_worker: Worker) -> None:
    for worker in (None, ssh_worker):
        from_waiting_to_the_end(jupyter, serve, worker)
    only_what_a_job_declares_is_opened(jupyter, serve)


def from_waiting_to_the_end(jupyter: Jupyter, serve: Serve, on: Worker | None) -> None:
    slow = "import asyncio, pathlib\nwhile not pathlib.Path(job_data['go']).exists():\n    "
    go = jupyter.root / ("go" if on is None else "go-there")
    served = serve(f"{slow}await asyncio.sleep(0.05)\n{FILES}", on, data={"go": str(go)})
    opened = jupyter.open(served.id)
    assert (opened["kind"], opened["notes"]) == ("origin", [])
    tab = jupyter.enter(opened["url"])
    host = tab.host.rpartition(":")[0]
    assert host.endswith(".localhost")
    assert len(host.split(".")[0]) == 32
    waiting = tab.get("/", **GO_ON)
    assert waiting.status_code == 503
    assert 'data-chutes="waiting"' in waiting.text
    # Only this person's programs get at the socket.
    folder = jupyter.sockets()
    (name,) = os.listdir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_ISSOCK((folder / name).stat().st_mode)
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    go.touch()
    page = until(lambda: (r := tab.get("/", **GO_ON)).status_code == 200 and r, "the app answers")
    assert "files of the job" in page.text
    assert tab.get("/sub").headers["Location"] == "/sub/"
    part = tab.get("/sub/a.txt", If_None_Match="x")
    assert (part.status_code, len(part.content)) == (200, 1000)
    assert tab.get("/missing").status_code == 404

    path = jupyter.open(served.id, kind="path")
    assert path["kind"] == "path"
    assert path["probe"] is None
    assert any("CHUTE_PORT_WEB_PREFIX" in note for note in path["notes"])
    below = jupyter.enter(path["url"])
    assert "files of the job" in below.get("/").text
    prefix = f"/chutes/tab/{prefixes.secret(served.id, 'web')}"
    assert path["url"] == f"{jupyter.origin}{prefix}/"
    until(lambda: f"prefix {prefix}\n" in served.job.logs(), "the job knows its path")

    again = jupyter.open(served.id)
    assert again["url"] != opened["url"]
    assert jupyter.enter(again["url"]).host == tab.host
    unused = jupyter.open(served.id)["url"]
    served.job.cancel()
    until(lambda: tab.get("/", **GO_ON).status_code == 410, "the tab is taken back")
    assert 'data-chutes="over"' in tab.get("/", **GO_ON).text
    assert below.get("/").status_code == 410
    gone = jupyter.client.get(
        unused.replace(f"http://{tab.host}", jupyter.local), headers={"Host": tab.host, **GO}
    )
    assert (gone.status_code, "Set-Cookie" in gone.headers) == (410, False)
    until(lambda: os.listdir(folder) == [], "the socket is removed")
    ended = jupyter.open(served.id)
    assert ended["error"] == "ForwardFailed"
    # Nothing that opens a tab was written down.
    log = jupyter.log.read_text()
    for secret in (host.split(".")[0], prefix, tab.cookie, opened["url"].rpartition("/")[2]):
        assert secret not in log


def test_streams_uploads_and_websockets(jupyter: Jupyter, serve: Serve, ssh_worker: Worker) -> None:
    served = serve(CHAT, ssh_worker).wait()
    tab = jupyter.enter(jupyter.open(served.id)["url"])
    until(lambda: tab.get("/").status_code == 200, "the tab knows that it answers")
    begun = time.monotonic()
    headers = {**tab.headers, "Accept": "text/event-stream"}
    with jupyter.client.stream("GET", f"{tab.base}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert [line for line in (next(lines) for _ in range(5)) if line] == [
            "data: 0", "data: 1", "data: 2"
        ]  # fmt: skip
    # All of them take 100 s to come.
    assert time.monotonic() - begun < 60

    async def chat() -> None:
        headers = {"Host": tab.host, "Cookie": tab.cookie, "Origin": f"http://{tab.host}"}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.ws_connect(f"{tab.base}/chat", headers=headers) as socket,
        ):
            for word in ("one", "two"):
                await socket.send_str(word)
                assert await socket.receive_str(timeout=20) == f"heard {word}"

    asyncio.run(chat())

    size, piece = 300 * 1024**2, bytes(1024**2)

    def body() -> Iterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    before = memory(jupyter.pid)
    # Of two lengths: with one that is told, and in chunks.
    told = tab.ask("POST", "/size", content=body(), Content_Length=str(size))
    assert told.text == str(size)
    assert memory(jupyter.pid) - before < 64 * 1024


def only_what_a_job_declares_is_opened(jupyter: Jupyter, serve: Serve) -> None:
    served = serve(FILES)
    for port, wrong in (("raw", "web"), ("other", "web"), ("", "web"), ("22", "web")):
        found = jupyter.open(served.id, port)
        assert found["error"] == "ForwardFailed"
        assert wrong in found["message"]
    assert jupyter.open("0" * 32)["error"] == "JobNotFound"
    for origin in ("", "localhost", "javascript:x", "http://x/y", "http://a@b", "null"):
        assert jupyter.open(served.id, browser_origin=origin)["error"] == "UsageError"
    # Without a login to Jupyter nothing is.
    asked = {"job": served.id, "port": "web", "browser_origin": jupyter.origin}
    reply = httpx.post(f"{jupyter.local}/chutes-test/tab", json=asked, trust_env=False)
    assert reply.status_code == 403


def test_on_a_hub(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    """Below a base URL, behind a proxy that strips nothing, with a domain for tabs."""
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    # What the kernels of such a server have from it.
    monkeypatch.setenv(prefixes.BASE_URL, "/user/jo/")
    options = [
        "--ServerApp.trust_xheaders=True",
        "--ChutesTabs.port_domain=jo.ports.example.net",
    ]
    with jupyter_server(tmp_path, base="/user/jo/", options=options) as jupyter:
        served = serve(FILES).wait()
        # A hub that shares the domain gets none of it.
        hub = "https://hub.example.net"
        opened = jupyter.open(served.id, browser_origin=hub)
        prefix = f"/user/jo/chutes/tab/{prefixes.secret(served.id, 'web')}"
        assert (opened["kind"], opened["probe"]) == ("path", None)
        assert opened["url"] == f"{hub}{prefix}/"
        assert "shares its registered domain with hub.example.net" in opened["notes"][0]
        assert f"prefix {prefix}\n" in served.job.logs()
        tab = jupyter.enter(opened["url"])
        proxied = {"Host": "hub.example.net", "X_Forwarded_Proto": "https"}
        until(lambda: tab.get("/", **proxied).status_code == 200, "the tab knows that it answers")
        assert tab.get("/sub", **proxied).headers["Location"] == f"{prefix}/sub/"
        # Jupyter's own pages are where they were, and its other paths lead to no tab.
        assert jupyter.contents()["type"] == "directory"
        bare = jupyter.client.get(f"{jupyter.local}{prefix.removeprefix('/user/jo')}/")
        assert "files of the job" not in bare.text

        opened = jupyter.open(served.id, browser_origin="https://hub.example.org")
        assert (opened["kind"], opened["notes"]) == ("domain", [])
        own = jupyter.enter(opened["url"])
        assert own.host.endswith(".jo.ports.example.net")
        assert "files of the job" in own.get("/", Origin=f"https://{own.host}").text
        assert own.get("/", Origin=f"http://{own.host}").status_code == 403
