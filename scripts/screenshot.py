"""Make docs/panel.png: the panel of a running job, in a real JupyterLab.

Needs chromium; everything else is in the test group. The notebook and its job are made in a
temporary folder and home, so that nothing of yours is in the picture.
"""

from __future__ import annotations

import os
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
import asyncio, http.server, json, math, random, threading

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

threading.Thread(target=http.server.HTTPServer(("127.0.0.1", 8765), Page).serve_forever).start()
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
    """Take the picture."""
    sys.path.insert(0, str(REPOSITORY))
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary) / "home"
        home.mkdir()
        os.environ["HOME"] = str(home)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            os.environ[name] = str(home / name.lower())
        take_picture(Path(temporary), PICTURE if len(sys.argv) < 2 else Path(sys.argv[1]))
    return 0


def take_picture(folder: Path, picture: Path) -> None:
    """Run the notebook in a browser, and take the picture of the last cell's panel."""
    from tests.kernel.lab import browser_page, lab_server, open_notebook, write_notebook

    write_notebook(folder / "train.ipynb", CELLS)
    with lab_server(folder) as address, browser_page(scale=2) as page:
        if "--dark" in sys.argv:
            page.add_init_script("")
        lab = open_notebook(page, address, "train.ipynb")
        for index in range(len(CELLS)):
            cell = lab.run(index)
        panel = cell.locator(".chutes-panel")
        expect(panel).to_contain_text("checkpoint-020.npz", timeout=PATIENCE_MS)
        expect(panel).to_contain_text("http://127.", timeout=PATIENCE_MS)
        expect(panel).to_contain_text("epoch  24/200", timeout=PATIENCE_MS)
        panel.screenshot(path=picture)
        panel.get_by_role("button", name="Cancel").click()
        expect(panel).to_contain_text("cancelled", timeout=PATIENCE_MS)


if __name__ == "__main__":
    sys.exit(main())
