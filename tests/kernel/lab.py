"""A real JupyterLab, and a real browser that looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.jupyter import jupyter

PATIENCE = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"
#: Options of the server: the page lets its application be reached.
_EXPOSED = (
    "--LabApp.expose_app_in_browser=True",
    "--JupyterNotebookApp.expose_app_in_browser=True",
)
#: Ends what lives here: a job outlives its kernel and its server, as it should.
_END_JOBS = """
import chutes_jupyter
from chutes_jupyter.models import TERMINAL
live = [job for job in chutes_jupyter.jobs()
        if job.worker == 'local' and job.state not in TERMINAL]
for job in live:
    job.cancel()
for job in live:
    job.wait(timeout=30, outputs=False)
"""
#: The page says idle also before there is a kernel, and runs no cell then.
_READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""


class LabPage:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.cells = page.locator(f"{_NOTEBOOK} .jp-Notebook .jp-CodeCell")

    def run(self, index: int, *, wait: bool = True) -> Locator:
        """Run the cell of that number and return it; with `wait` when it has ended."""
        cell = self.cells.nth(index)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.finished(index)
        return cell

    def finished(self, index: int) -> None:
        """Wait until a cell has run."""
        prompt = self.cells.nth(index).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=PATIENCE * 1000)

    def cancel_button(self, index: int) -> Locator:
        """Return the button of the panel below a cell."""
        return self.panel(index).locator("button.chutes-cancel")

    def tab(self, index: int, name: str) -> Locator:
        """Open a part of the panel below a cell, and return it."""
        tab = self.panel(index).get_by_role("tab", name=name)
        if tab.get_attribute("aria-selected") != "true":
            tab.click()
        return self.panel(index).locator(".chutes-tabbody:not([hidden])")

    def panel(self, index: int) -> Locator:
        """Return the panel below a cell."""
        return self.cells.nth(index).locator(".chutes-panel")

    def look_at(self, index: int) -> Locator:
        """Scroll to the panel below a cell, and return it: one out of sight asks for no log."""
        panel = self.panel(index)
        panel.scroll_into_view_if_needed()
        return panel

    def restart_kernel(self) -> None:
        """Restart the kernel, and wait until it is ready."""
        self.page.locator("[data-jp-item-name='restart']").first.click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.ready()

    def ready(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        self.page.wait_for_function(_READY, timeout=PATIENCE * 1000)

    def save(self) -> None:
        """Save the notebook, and wait until that is done."""
        self.page.keyboard.press("Control+s")
        dirty = self.page.locator(".lm-DockPanel-tabBar .lm-mod-current.jp-mod-dirty")
        expect(dirty).to_have_count(0, timeout=PATIENCE * 1000)


def lab_env(folder: Path) -> dict[str, str]:
    """Return the environment of the server in a folder: it has a home of its own there."""
    home = folder / "home"
    return {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }


@contextlib.contextmanager
def lab_server(
    folder: Path, *options: str, python: str = sys.executable, sidebar: bool = True
) -> Iterator[str]:
    """Start JupyterLab in a folder, with a home of its own; yield its address and token.

    Notebook 7 is there too, at `notebooks/` in place of `lab/tree/`. Without `sidebar` our
    extension of JupyterLab is off. The jobs of that home end with it.
    """
    home, env = folder / "home", lab_env(folder)
    settings = Path(env["JUPYTER_CONFIG_DIR"]) / "labconfig"
    settings.mkdir(parents=True, exist_ok=True)
    # Its question about news would lie over the cells.
    off = ["@jupyterlab/apputils-extension:announcements", *([] if sidebar else ["chutes-jupyter"])]
    (settings / "page_config.json").write_text(
        json.dumps({"disabledExtensions": dict.fromkeys(off, True)})
    )
    log = home / "lab.log"
    more = (*_EXPOSED, *options)
    try:
        with jupyter("jupyterlab", env, *more, root=folder, log=log, python=python) as server:
            yield f"{server.url}lab/tree/{{}}?token={server.token}&reset"
    finally:
        end = [python, "-c", _END_JOBS]
        subprocess.run(end, cwd=folder, env=env, check=True, timeout=2 * PATIENCE)


def write_notebook(path: Path, cells: Sequence[str], kernel: str = "python3") -> None:
    """Write a notebook with these code cells."""
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel}},
    )
    nbformat.write(made, path)


def chromium() -> str:
    """Return the browser's program."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    assert found, "chromium is missing: scripts/system installs what the tests need"
    return found


@contextlib.contextmanager
def browser_page(*, scale: float = 1, width: int = 1200, height: int = 900) -> Iterator[Page]:
    """Open a page in a browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            context = browser.new_context(
                device_scale_factor=scale, viewport={"width": width, "height": height}
            )
            yield context.new_page()
        finally:
            browser.close()


def open_in_notebook_7(page: Page, address: str, name: str) -> LabPage:
    """Open a notebook in Notebook 7, and wait until its kernel is ready."""
    page.goto(address.format(name).replace("lab/tree/", "notebooks/").removesuffix("&reset"))
    notebook = LabPage(page)
    notebook.ready()
    return notebook


def open_notebook(page: Page, address: str, name: str) -> LabPage:
    """Open a notebook in JupyterLab, and wait until its kernel is ready."""
    page.goto(address.format(name))
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=PATIENCE * 1000)
    return LabPage(page)
