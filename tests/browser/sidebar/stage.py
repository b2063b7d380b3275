"""A JupyterLab in a browser, and jobs that other processes have started: no kernel anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Error, Locator, Page, expect

from tests.kernel.lab import PATIENCE, lab_env

REPOSITORY = Path(__file__).resolve().parents[3]
BUILT = REPOSITORY / "labextension" / "dist" / "static" / "style.js"
WAIT = PATIENCE * 1000

_SCRIPT = """
import chutes_jupyter
chute = chutes_jupyter.Chute(username="me", name="demo", image="any")

@chute.job(timeout=600{options})
async def {name}(self, **job_data):
{body}

job = {name}.options(worker="{worker}").submit(ack=True)
print(job.id)
{after}
"""
#: The body of a job that runs until it is cancelled.
FOREVER = "import asyncio\nprint('begun')\nawait self.cancel_event.wait()"
#: One with a page.
PAGE = """
import asyncio
async def page(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    text = b"<!doctype html><title>board</title><h1>hello from the job</h1>"
    writer.write(b"HTTP/1.0 200 OK\\r\\nContent-Type: text/html\\r\\n\\r\\n" + text)
    await writer.drain()
    writer.close()
await asyncio.start_server(page, "127.0.0.1", PORT)
await self.cancel_event.wait()
"""


@dataclass
class Stage:
    """Lab, as a person has it open, and what can be done in it."""

    folder: Path
    address: str
    page: Page
    #: What the page complained of.
    complaints: list[str] = field(default_factory=list)
    #: What its processes run on.
    python: str = sys.executable

    def complain(self, error: Error) -> None:
        """Take what the page complains of, if it comes from our front end."""
        if "chutes-jupyter" in (error.stack or ""):
            self.complaints.append(f"{error.message}\n{error.stack}")

    # -- jobs -------------------------------------------------------------------------

    def submit(
        self,
        name: str,
        body: str = FOREVER,
        options: str = "",
        after: str = "",
        worker: str = "local",
    ) -> str:
        """Start a job from a process that ends at once, and return its label."""
        script = self.folder / f"{name}.py"
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        more = f", {options}" if options else ""
        script.write_text(
            _SCRIPT.format(name=name, body=lines, options=more, after=after, worker=worker)
        )
        return f"{name}-{self.run(str(script))[:6]}"

    def run(self, *words: str) -> str:
        """Run Python in this server's home, and return what it printed."""
        done = subprocess.run(
            [self.python, *words],
            cwd=self.folder,
            env=lab_env(self.folder),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, *words: str) -> str:
        """Run ``jupyter chute`` in this server's home."""
        return self.run("-m", "chutes_jupyter.cli", *words)

    # -- the page ---------------------------------------------------------------------

    def open(self, place: str = "lab", *, reset: bool = True) -> None:
        """Open Lab, or what else the server has."""
        address = self.address.replace("lab/tree/{}", place)
        self.page.goto(address if reset else address.replace("&reset", ""))
        if place.startswith("lab"):
            expect(self.page.locator("#jp-main-dock-panel")).to_be_visible(timeout=WAIT)

    def clear(self) -> None:
        """Close all that is open, and look for nothing."""
        while self.page.locator(".jp-Dialog").count():
            self.page.keyboard.press("Escape")
        self.page.evaluate("window.jupyterapp.commands.execute('application:close-all')")
        search = self.page.get_by_label("Filter jobs")
        if search.is_visible():
            search.fill("")
            for label, value in (("State", ""), ("Group by", "none")):
                self.page.get_by_label(label, exact=True).select_option(value)

    def show(self) -> Locator:
        """Have the sidebar shown, and return it."""
        sidebar = self.page.locator("#chutes-sidebar")
        if not sidebar.is_visible():
            self.tab.click()
        expect(sidebar).to_be_visible(timeout=WAIT)
        return sidebar

    def widen(self, width: int) -> None:
        """Drag the edge of the sidebar, until it is so many CSS pixels wide."""
        handle = "#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)"
        edge = self.page.locator(handle).first.bounding_box()
        now = self.page.locator("#chutes-sidebar").bounding_box()
        assert edge
        assert now
        x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + width - now["width"], y, steps=4)
        self.page.mouse.up()

    @property
    def origin(self) -> str:
        """Scheme, host and port of the server."""
        return "/".join(self.address.split("/")[:3])

    def saved(self) -> None:
        """Wait until Lab has written down how it looks."""
        with self.page.expect_response(
            lambda each: "/api/workspaces" in each.url and each.request.method == "PUT",
            timeout=WAIT,
        ):
            self.page.locator("#jp-main-dock-panel .lm-TabBar-tab").first.click()

    def turn(self) -> bool:
        """Have what the browser told meanwhile handled; always true."""
        return bool(self.page.evaluate("true"))

    @property
    def tab(self) -> Locator:
        """What shows and hides the sidebar."""
        return self.page.locator('.jp-SideBar .lm-TabBar-tab[data-id="chutes-sidebar"]')

    @property
    def rows(self) -> Locator:
        """The jobs that are in the page."""
        return self.page.locator(".jp-chutes-row")

    def row(self, label: str, state: str = "") -> Locator:
        """Return the row of a job, once it is in that state."""
        row = self.rows.filter(has_text=label)
        expect(row).to_contain_text(state or label, timeout=WAIT)
        return row

    def choose(self, label: str, state: str = "running") -> Locator:
        """Choose a job, and return what is said of it."""
        self.row(label, state).click()
        detail = self.page.locator(".jp-chutes-detail")
        expect(detail).to_contain_text(label, timeout=WAIT)
        return detail

    def act(self, label: str, name: str, state: str = "running") -> None:
        """Press a button of a job."""
        self.choose(label, state).get_by_role("button", name=name, exact=True).click()

    def cancel(self, label: str) -> None:
        """Cancel a job, as a person does."""
        self.act(label, "Cancel")
        self.page.locator(".jp-Dialog button.jp-mod-warn").click()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, which no part of the page tells."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def built() -> None:
    """Say what to do where the front end was not built."""
    assert os.path.exists(BUILT), "the front end is not built: scripts/frontend build"
