"""Make the pictures of the panel in docs/img, in a real JupyterLab, with a light and a dark theme.

Needs chromium; everything else is in the test group. The notebook and its jobs are made in a
temporary folder with a home of its own, so that nothing of yours is in the pictures.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import PICTURES, REPOSITORY, THEMES, keep
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.kernel.lab import LabPage

PATIENCE_MS = 60_000

CELLS = [
    "%load_ext chutes_jupyter",
    """%%chute_job train --port board:8765/http --timeout 1h
import asyncio, math, random
from tqdm import tqdm

async def page(reader, writer):
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
    writer.close()
await asyncio.start_server(page, "127.0.0.1", 8765)
epochs = job_data["epochs"]
for epoch in tqdm(range(1, epochs + 1)):
    loss = 2.3 * math.exp(-epoch / 9) + random.random() / 50
    self.progress(epoch, epochs, loss=loss, accuracy=1 - loss / 2.6)
    if epoch % 3 == 0:
        print(f"epoch {epoch:3}/{epochs}  loss {loss:.4f}")
    if epoch % 10 == 0:
        with open(f"{job_data['output_dir']}/checkpoint-{epoch:03}.npz", "wb") as file:
            file.write(bytes(40_000 + epoch))
    await asyncio.sleep(0.3)
raise ValueError("the loss went up again")
""",
    "job = train.submit(epochs=90)\njob",
    "%chute jobs",
]


def main() -> int:
    """Take them all, and put them where the first argument says, or in docs/img."""
    sys.path.insert(0, str(REPOSITORY))
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        with tempfile.TemporaryDirectory() as folder:
            take_pictures(Path(folder), theme, pictures)
    return 0


def take_pictures(folder: Path, theme: str, pictures: Path) -> None:
    """Run the notebook in a browser, and take the pictures of one theme."""
    from tests.kernel.lab import browser_page, lab_server, open_notebook, write_notebook

    write_notebook(folder / "train.ipynb", CELLS)
    settings = folder.joinpath(
        "home", "config", "lab", "user-settings", "@jupyterlab", "apputils-extension"
    )
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{THEMES[theme]}"}}')
    # What the sidebar says of an end would lie over the pictures.
    quiet = settings.parents[1] / "chutes-jupyter"
    quiet.mkdir()
    (quiet / "plugin.jupyterlab-settings").write_text('{"notify": false}')
    with lab_server(folder) as address, browser_page(width=1040, height=1000) as page:
        lab = open_notebook(page, address, "train.ipynb")
        page.keyboard.press("Control+b")  # the file browser leaves the picture
        for index in range(3):
            lab.run(index)
        take_all(
            page,
            lab,
            lambda part, name: keep(part.screenshot(), pictures / f"panel-{name}-{theme}.png"),
        )


def take_all(page: Page, lab: LabPage, take: Callable[[Locator, str], None]) -> None:
    """Take the pictures of a panel's states."""
    panel, cell = lab.panel(2), lab.cells.nth(2)
    expect(panel).to_contain_text("epoch  33/90", timeout=PATIENCE_MS)
    lab.cells.nth(0).locator(".jp-InputPrompt").click()  # no cursor, no toolbar
    take(cell, "running")
    for name, text in (
        ("Files", "checkpoint-030.npz"),
        ("Metrics", "accuracy"),
        ("Ports", "ready"),
    ):
        expect(lab.tab(2, name)).to_contain_text(text, timeout=PATIENCE_MS)
        take(panel, name.lower())
    lab.tab(2, "Log")
    page.set_viewport_size({"width": 560, "height": 900})
    take(panel, "narrow")
    page.set_viewport_size({"width": 1040, "height": 1000})
    expect(panel).to_contain_text("failed", timeout=PATIENCE_MS)
    expect(lab.tab(2, "Results")).to_contain_text("ValueError", timeout=PATIENCE_MS)
    take(panel, "failed")
    expect(cell.locator(".chutes-record")).to_contain_text("failed", timeout=PATIENCE_MS)
    lab.run(3)
    table = lab.cells.nth(3).locator(".chutes-jobs")
    expect(table).to_contain_text("failed", timeout=PATIENCE_MS)
    take(table, "jobs")
    lab.restart_kernel()
    lab.save()
    page.reload()
    record = lab.cells.nth(2).locator(".chutes-record")
    expect(record).to_contain_text("failed", timeout=PATIENCE_MS)
    take(record, "record")


if __name__ == "__main__":
    sys.exit(main())
