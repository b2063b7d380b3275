"""Ports that a job listens on and did not declare: offered, and opened by a click alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.sidebar.stage import WAIT, Stage
from tests.freeport import free_port

pytestmark = pytest.mark.slow

_SERVES = """
import http.server, pathlib, threading
page = "<!doctype html><title>demo</title><h1>it was not declared</h1>"
pathlib.Path("index.html").write_text(page)
server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", PORT), http.server.SimpleHTTPRequestHandler
)
threading.Thread(target=server.serve_forever, daemon=True).start()
await self.cancel_event.wait()
"""


def test_a_port_that_was_not_declared_is_offered_and_opens_by_a_click(stage: Stage) -> None:
    page, number = stage.page, free_port()
    label = stage.submit("gradio", _SERVES.replace("PORT", str(number)))
    stage.show()
    detail = stage.choose(label)
    expect(detail).to_contain_text(f"{number} answers; show it?", timeout=WAIT)
    frame = page.locator("iframe.jp-chutes-port-frame")
    expect(frame).to_have_count(0)
    detail.get_by_role("button", name=f"Show port {number} in a tab").click()
    inside = page.frame_locator("iframe.jp-chutes-port-frame")
    expect(inside.locator("h1")).to_have_text("it was not declared", timeout=WAIT)
    # From now on it is a port like those that are declared.
    expect(detail.get_by_role("button", name=f"Open {number} in a tab")).to_be_visible(timeout=WAIT)
    expect(detail).not_to_contain_text("show it?")
    expect(detail).to_contain_text(f"{number}/http")
    tabs = page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=f"{number} · {label}")
    expect(tabs).to_have_count(1)
    # It comes back with the page, and ends with the job.
    stage.saved()
    stage.open(reset=False)
    expect(tabs).to_have_count(1, timeout=WAIT)
    tabs.click()
    expect(inside.locator("h1")).to_have_text("it was not declared", timeout=WAIT)
    stage.show()
    stage.cancel(label)
    cover = page.locator(".jp-chutes-port-cover")
    expect(cover).to_contain_text(f"{label} has ended: cancelled", timeout=WAIT)
    expect(frame).to_be_hidden()


def test_one_that_nobody_asked_this_server_for_waits_for_a_click(stage: Stage) -> None:
    page, number = stage.page, free_port()
    label = stage.submit("again", _SERVES.replace("PORT", str(number)))
    stage.show()
    detail = stage.choose(label)
    expect(detail).to_contain_text(f"{number} answers; show it?", timeout=WAIT)
    # As a tab that is brought back after the server was started anew.
    page.evaluate(
        """async ([label, port]) => {
            const list = await (await fetch('/chutes/api/v1/jobs')).json();
            const job = list.jobs.find(each => each.label === label).id;
            await window.jupyterapp.commands.execute('chutes:open-port', { job, port });
        }""",
        [label, str(number)],
    )
    cover = page.locator(".jp-chutes-port-cover")
    expect(cover).to_contain_text(f"{label} did not declare port {number}.", timeout=WAIT)
    expect(page.locator("iframe.jp-chutes-port-frame")).to_be_hidden()
    cover.get_by_role("button", name="Show it").click()
    inside = page.frame_locator("iframe.jp-chutes-port-frame")
    expect(inside.locator("h1")).to_have_text("it was not declared", timeout=WAIT)
    stage.command("cancel", label)
