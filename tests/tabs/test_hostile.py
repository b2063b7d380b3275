"""A hostile page in a real browser, in each kind of tab, in a frame and in a window of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.client.rig import until
from tests.tabs.browser import PATIENCE, browser
from tests.tabs.hostile import SOURCE
from tests.tabs.jupyter import Jupyter
from tests.tabs.servers import FILES, Serve, Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

#: Words that only something of Jupyter's, or of another job's, has in it.
SPOILS = (
    "private.txt",
    "files of the job",
    "of Jupyter's page",
    "READ",
    "OPEN",
    "MESSAGE",
    "REMOVED",
)


def reports(served: Served, count: int) -> list[dict[str, str]]:
    """Return what the page told its server so far, once it is so much."""

    def found() -> list[dict[str, str]] | None:
        lines = [each for each in served.job.logs().splitlines() if each.startswith("REPORT ")]
        return [json.loads(each[7:]) for each in lines] if len(lines) >= count else None

    result: list[dict[str, str]] = until(found, "the page has tried everything", 120)
    return result


def cookies(context: BrowserContext, jupyter: Jupyter) -> dict[str, str]:
    """Return the cookies that Jupyter's host has."""
    return {each["name"]: each["value"] for each in context.cookies(jupyter.origin)}


def logged_in(context: BrowserContext, jupyter: Jupyter) -> bool:
    return context.request.get(f"{jupyter.origin}/api/me").status == 200


def wait_for_end(page: Page, *, framed: bool) -> None:
    where = page.frame_locator("#tab") if framed else page
    expect(where.locator("#done")).to_be_visible(timeout=2 * PATIENCE * 1000)


@dataclass
class Prey:
    """What a hostile page is let loose on."""

    hostile: Served
    other: Served
    kernel: str
    login: str
    files: list[str]

    def check(self, jupyter: Jupyter) -> None:
        """Look whether everything of Jupyter's is as it was."""
        assert [each["id"] for each in jupyter.ask("GET", "/api/kernels")] == [self.kernel]
        assert sorted(each["name"] for each in jupyter.contents()["content"]) == self.files


def let_loose(jupyter: Jupyter, serve: Callable[..., Served]) -> Prey:
    """Start a hostile job that knows all that it could, beside another one."""
    other, ended = serve(FILES).wait(), serve(FILES).wait()
    other_tab, other_path = jupyter.open(other.id), jupyter.open(other.id, kind="path")
    over = jupyter.open(ended.id, kind="path")["url"]
    ended.job.cancel()
    kernel = jupyter.ask("POST", "/api/kernels")["id"]
    data = {
        "jupyter": jupyter.origin,
        "login": f"username-localhost-{jupyter.port}",
        "kernel": kernel,
        "other": f"http://{urlsplit(other_tab['url']).netloc}/",
        # Only a good secret would open it: this is what a page can guess.
        "other_path": other_path["url"][:-2] + ("0/" if other_path["url"][-2] != "0" else "1/"),
        "over": over,
        "used": other_tab["url"],
    }
    jupyter.enter(other_tab["url"])  # the ticket is used
    hostile = serve(SOURCE, data=data).wait()
    files = sorted(each["name"] for each in jupyter.contents()["content"])
    return Prey(hostile, other, kernel, data["login"], files)


#: Each kind of tab, in a frame of Jupyter's page and in a window of its own.
WAYS = (("origin", True), ("origin", False), ("path", True), ("path", False))


def open_hostile(jupyter: Jupyter, hostile: Served, kind: str, *, framed: bool) -> str:
    """Return the address that a browser goes to."""
    url: str = jupyter.open(hostile.id, **({} if kind == "origin" else {"kind": kind}))["url"]
    return jupyter.frame(url) if framed else url


def test_a_hostile_page_gets_nothing(jupyter: Jupyter, serve: Serve) -> None:
    prey = let_loose(jupyter, serve)
    hostile = prey.hostile
    with browser() as context:
        page = context.new_page()
        # The other job is open in the same Jupyter, as it may be.
        page.goto(jupyter.frame(jupyter.open(prey.other.id)["url"]))
        expect(page.frame_locator("#tab").get_by_text("files of the job")).to_be_visible()
        before = cookies(context, jupyter)
        assert prey.login in before
        for count, (kind, framed) in enumerate(WAYS, 1):
            shown = open_hostile(jupyter, hostile, kind, framed=framed)
            tab = context.new_page()
            tab.goto(shown)
            wait_for_end(tab, framed=framed)
            report = reports(hostile, count)[-1]
            check(report, kind, framed=framed)
            for value in before.values():  # its own of the same names it may see
                assert value not in json.dumps(report)
            if framed:
                assert tab.url == shown, "the top was moved"
                assert tab.locator("#secret").inner_text() == "of Jupyter's page"
                workers = "navigator.serviceWorker.getRegistrations().then((all) => all.length)"
                assert tab.evaluate(workers) == 0
            # What is Jupyter's is as it was.
            assert cookies(context, jupyter) == before, (kind, framed)
            assert logged_in(context, jupyter), (kind, framed)
            prey.check(jupyter)
            tab.close()
        redirected(jupyter, serve, context)
    jupyter.ask("DELETE", f"/api/kernels/{prey.kernel}")
    for line in hostile.job.logs().splitlines():
        if line.startswith("HEADERS "):
            check_headers(json.loads(line[8:]), jupyter, before)


#: What each attack comes to, where it does not just fail.
HARMLESS = {
    "contents without asking": "opaque 0 ",
    "start a kernel without asking": "opaque 0 ",
    "start a kernel by a form": "sent",
    "start a kernel by a beacon": "true",
    "make a file by a form": "sent",
    "log out by a form": "sent",
    "log out by an image": "asked",
    "toss cookies": "tried",
    "move the top": "asked",
    "another job's host without asking": "opaque 0 ",
}


def check(report: dict[str, str], kind: str, *, framed: bool) -> None:
    """Look at what a page says came of its attacks."""
    where, origin = report.pop("where").split(" ")
    assert (origin == "null") == (kind == "path")
    assert len(report) > 35
    for name, result in report.items():
        for spoil in SPOILS:
            assert spoil not in result, (kind, framed, name, result)
    for name in ("contents", "contents of 127.0.0.1", "start a kernel", "another job's host"):
        assert report[name] == "threw TypeError", (kind, framed, name, report[name])
    for name in ("a kernel's websocket", "another job's websocket", "a script of Jupyter's"):
        assert report[name] in ("refused", "nothing in time"), (kind, framed, name, report[name])
    assert report["frame Jupyter"].startswith("threw"), report["frame Jupyter"]
    if kind == "path":
        for name in ("read cookies", "toss cookies", "a service worker"):
            assert report[name].startswith("threw"), (framed, name, report[name])
    else:
        own = f"registered for {urlsplit(where).netloc}"
        assert report["a service worker"] in (own, "threw SecurityError"), report
    assert report["a service worker of Jupyter's"].startswith("threw")
    if framed:
        assert report["the parent's page"] == report["the top's page"] == "threw SecurityError"
    for name, result in report.items():
        known = result.startswith(("threw", "refused", "nothing", "none", "registered", "cookies:"))
        contained = name.startswith(
            ("contents by", "a path that", "a ticket", "another job's path")
        )
        assert known or contained or HARMLESS.get(name, "?") == result, (kind, name, result)
        if contained and not known:
            assert "404" in result or "410" in result or "403" in result, (kind, name, result)


def check_headers(headers: list[list[str]], jupyter: Jupyter, of_jupyter: dict[str, str]) -> None:
    """Look at what the job's server got."""
    names = [name for name, _ in headers]
    assert "authorization" not in names
    assert names.count("host") == 1
    said = json.dumps(headers)
    assert jupyter.token not in said
    for value in of_jupyter.values():
        assert value not in said


def redirected(jupyter: Jupyter, serve: Serve, context: BrowserContext) -> None:
    """Jupyter's own page opens a tab, so a redirect to it would be followed with its cookies."""
    data = {"go_to": f"{jupyter.origin}/logout", "login": "x"}
    hostile = serve(SOURCE, data=data).wait()
    for kind in ("origin", "path"):
        page = context.new_page()
        with page.expect_response(lambda answer: answer.url.endswith("/logout")):
            page.goto(open_hostile(jupyter, hostile, kind, framed=True))
        page.wait_for_load_state("networkidle")
        assert logged_in(context, jupyter), kind
