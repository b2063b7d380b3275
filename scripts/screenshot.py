"""Make docs/panel.png: the panel of a running job, in a real JupyterLab.

Needs chromium; everything else is in the test group. The notebook and its job are made in a
temporary folder with a home of its own, so that nothing of yours is in the picture.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / "docs" / "panel.png"
PATIENCE_MS = 60_000

CELLS = [
    "%load_ext chutes_jupyter",
    """%%chute_job train --port board:8765/http --timeout 1h
import asyncio, math, random

async def page(reader, writer):
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
    writer.close()
await asyncio.start_server(page, "127.0.0.1", 8765)
for epoch in range(1, job_data["epochs"] + 1):
    loss = 2.3 * math.exp(-epoch / 9) + random.random() / 50
    print(f"epoch {epoch:3}/{job_data['epochs']}  loss {loss:.4f}  accuracy {1 - loss / 2.6:.1%}")
    if epoch % 10 == 0:
        with open(f"{job_data['output_dir']}/checkpoint-{epoch:03}.npz", "wb") as file:
            file.write(bytes(40_000 + epoch))
    await asyncio.sleep(0.4)
""",
    "job = train.submit(epochs=200)\njob",
]


def main() -> int:
    """Take the picture, and put it where the first argument says, or in docs/."""
    sys.path.insert(0, str(REPOSITORY))
    with tempfile.TemporaryDirectory() as folder:
        take_picture(Path(folder), Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
    return 0


def take_picture(folder: Path, picture: Path) -> None:
    """Run the notebook in a browser, and take the picture of its last cell."""
    from tests.kernel.lab import browser_page, lab_server, open_notebook, write_notebook

    write_notebook(folder / "train.ipynb", CELLS)
    with lab_server(folder) as address, browser_page(scale=2, width=1100) as page:
        lab = open_notebook(page, address, "train.ipynb")
        page.keyboard.press("Control+b")  # the file browser leaves the picture
        for index in range(len(CELLS)):
            lab.run(index)
        last = len(CELLS) - 1
        panel = lab.panel(last)
        for text in ("http://127.", "epoch  24/200", "checkpoint-020.npz"):
            expect(panel).to_contain_text(text, timeout=PATIENCE_MS)
        lab.cells.nth(0).locator(".jp-InputPrompt").click()  # no cursor, no toolbar
        lab.cells.nth(last).screenshot(path=picture)
        lab.cancel_button(last).click()
        expect(panel).to_contain_text("cancelled", timeout=PATIENCE_MS)


if __name__ == "__main__":
    sys.exit(main())
