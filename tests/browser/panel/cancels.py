"""Cancel, clicked in a panel while its kernel is busy in every way, and how long that takes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.panel import ipykernels
from tests.kernel.lab import (
    LabPage,
    browser_page,
    lab_server,
    open_in_notebook_7,
    open_notebook,
    write_notebook,
)

FRONT_ENDS = {"JupyterLab": open_notebook, "Notebook 7": open_in_notebook_7}
#: What the kernel does meanwhile: the cell that shows the panel, and the one that is busy.
BUSY = {
    "another cell sleeps": ("job = waits.submit(ack=True)\njob", "import time\ntime.sleep(60)"),
    "job.result()": ("job = waits.submit(ack=True)\njob", "job.result()"),
    "--wait": ("%chute run waits --wait", ""),
}
_DEFINITION = "%%chute_job waits\nprint('begun', flush=True)\nawait self.cancel_event.wait()"
_SOON = 30_000
#: Notes when a button is pressed, and when the panel says what came of it.
_STOPWATCH = """([panel, button]) => {
    window.took = null;
    let pressed = null;
    button.addEventListener('click', () => { pressed = performance.now(); }, { capture: true });
    const look = () => {
        if (pressed !== null && panel.querySelector('.chutes-state').innerText.includes('cancelled')
            && window.took === null) {
            window.took = performance.now() - pressed;
        }
    };
    new MutationObserver(look).observe(panel, {
        subtree: true, childList: true, characterData: true, attributes: true });
}"""


@dataclass
class Server:
    """A Jupyter server, and a browser."""

    folder: Path
    address: str
    page: Page

    def time(self, version: str, front_end: str, busy: str) -> float:
        """Click Cancel while a kernel of that version is busy; return the seconds to its end."""
        shows, works = BUSY[busy]
        cells = ["%load_ext chutes_jupyter", _DEFINITION, shows, *([works] if works else [])]
        name = f"{version}-{front_end[0]}-{list(BUSY).index(busy)}.ipynb"
        write_notebook(self.folder / name, cells, kernel=f"ipykernel-{version}")
        lab = FRONT_ENDS[front_end](self.page, self.address, name)
        try:
            return self._clicked(lab, version, works)
        finally:
            # The kernel ends with its notebook, busy or not.
            self.page.evaluate(
                """async () => {
                    const base = document.getElementById('jupyter-config-data');
                    const { baseUrl, token } = JSON.parse(base.textContent);
                    const headers = { Authorization: `token ${token}` };
                    const found = await (await fetch(baseUrl + 'api/sessions', { headers })).json();
                    for (const { id } of found) {
                        await fetch(`${baseUrl}api/sessions/${id}`, { method: 'DELETE', headers });
                    }
                }"""
            )

    def _clicked(self, lab: LabPage, version: str, works: str) -> float:
        lab.run(0)
        lab.run(1)
        lab.run(2, wait=bool(works))
        panel, button = lab.panel(2), lab.cancel_button(2)
        expect(panel).to_contain_text("running", timeout=_SOON)
        last = lab.cells.nth(2)
        if works:
            last = lab.run(3, wait=False)
        prompt = last.locator(".jp-InputPrompt")
        expect(prompt).to_have_text("[*]:", timeout=_SOON)
        self.page.evaluate(_STOPWATCH, [panel.element_handle(), button.element_handle()])
        button.click()
        expect(panel.locator(".chutes-state")).to_contain_text("cancelled", timeout=_SOON)
        took = float(self.page.evaluate("window.took")) / 1000
        if works.startswith("import time"):
            expect(prompt).to_have_text("[*]:")  # it went on meanwhile
        else:
            expect(last).to_contain_text("JobCancelled", timeout=_SOON)
            expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=_SOON)
        return took


@contextmanager
def serving(folder: Path, versions: list[str]) -> Iterator[Server]:
    """Start a Jupyter server that knows kernels of those versions, and a browser."""
    for version in versions:
        ipykernels.register(folder / "home" / "data", version)
    with lab_server(folder) as address, browser_page() as page:
        yield Server(folder, address, page)


def median(times: list[float]) -> str:
    """Return the middle of some times, and how far they lie apart, for a table."""
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
