"""A port that was not declared, in the panel: offered, and opened by a click alone."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.freeport import free_port
from tests.kernel.lab import LabPage
from tests.kernel.test_panel import SOON, address, bare_address, folder, opened, page

__all__ = ["address", "bare_address", "folder", "page"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SERVES = """
%%chute_job demo --timeout 1h
import http.server, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>demo</title><h1>it was not declared</h1>")
server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
await self.cancel_event.wait()
"""


def offering(page: Page, folder: Path, address: str, name: str) -> tuple[LabPage, int]:
    """Run a job, and see its panel offer the port."""
    number = free_port()
    cell = SERVES.strip().replace("PORT", str(number))
    lab = opened(page, folder, address, name, cell, "demo.submit()")
    lab.run(2)
    ports = lab.tab(2, "Ports")
    expect(ports).to_contain_text(re.compile(rf"{number}\s*answers; show it\?"), timeout=SOON)
    return lab, number


def test_the_server_opens_it_in_a_tab(page: Page, folder: Path, address: str) -> None:
    lab, number = offering(page, folder, address, "offer.ipynb")
    ports = lab.tab(2, "Ports")
    with page.expect_popup() as opening:
        ports.get_by_role("button", name=f"Show port {number}").click()
    expect(opening.value.locator("h1")).to_have_text("it was not declared", timeout=SOON)
    opening.value.close()
    expect(ports.get_by_role("button", name=f"Open {number} in a tab")).to_be_visible(timeout=SOON)
    expect(ports).not_to_contain_text("show it?")
    lab.cancel_button(2).click()
    expect(ports).to_contain_text("closed", timeout=SOON)


def test_without_the_server_the_kernel_forwards_it(
    page: Page, tmp_path: Path, bare_address: str
) -> None:
    lab, number = offering(page, tmp_path, bare_address, "bare.ipynb")
    ports = lab.tab(2, "Ports")
    ports.get_by_role("button", name=f"Show port {number}").click()
    expect(ports).to_contain_text("ready", timeout=SOON)
    where = ports.get_by_role("link").get_attribute("href")
    assert "it was not declared" in httpx.get(str(where), trust_env=False).text
    lab.cancel_button(2).click()
    expect(ports).to_contain_text("closed", timeout=SOON)
