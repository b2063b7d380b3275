"""Make docs/img/lab-light.png and -dark.png: sidebar, panel and TensorBoard of one job.

Needs chromium and the built front end; everything else is in the test group. The browser is
started as people start theirs: Playwright's own switches off what TensorBoard needs in a frame.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pictures import PICTURES, REPOSITORY, THEMES, keep
from playwright.sync_api import Page, expect

PATIENCE_MS = 90_000
CELLS = [
    "%load_ext chutes_jupyter",
    """%%chute_job train --port board:8066/http --timeout 1h
import asyncio, math, random, subprocess, sys
from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter("runs")
board = subprocess.Popen([sys.executable, "-m", "tensorboard.main",
    "--logdir", "runs", "--port", "8066",
    "--reload_interval", "1", "--load_fast", "false"])
for epoch in range(job_data["epochs"]):
    loss = 2.3 * math.exp(-epoch / 40) + random.random() / 30
    self.progress(epoch + 1, job_data["epochs"], unit="epoch", loss=loss)
    writer.add_scalar("loss", loss, epoch)
    writer.flush()
    print(f"epoch {epoch + 1:3}  loss {loss:.4f}")
    await asyncio.sleep(0.2)
board.terminate()""",
    "job = train.submit(epochs=400)\njob",
]
#: Two other jobs of this person, from scripts.
OTHERS = {"tune": "return 3", "embed": "raise ValueError('no such layer')"}
#: Lab lays the page of the job beside the notebook.
BESIDE = """
const shell = window.jupyterapp.shell;
const open = [...shell.widgets('main')];
const notebook = open.find(each => each.title.label.endsWith('.ipynb'));
shell.add(open.find(each => each !== notebook), 'main', {mode: 'split-right', ref: notebook.id});
"""


def main() -> int:
    """Take both pictures, into the folder that the first argument names, or docs/img."""
    sys.path.insert(0, str(REPOSITORY))
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    for theme in THEMES:
        with tempfile.TemporaryDirectory() as folder:
            take(Path(folder), theme, pictures / f"lab-{theme}.png")
    return 0


def take(folder: Path, theme: str, picture: Path) -> None:
    """Run the notebook in a browser, and take the picture of the whole of Lab."""
    from tests.browser.sidebar.stage import Stage
    from tests.kernel.lab import lab_server, open_notebook, write_notebook
    from tests.tabs.browser import browser

    write_notebook(folder / "train.ipynb", CELLS)
    settings = folder / "home/config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{THEMES[theme]}"}}')
    with lab_server(folder) as address, browser() as context:
        page = context.new_page()
        page.set_viewport_size({"width": 1800, "height": 900})
        stage = Stage(folder, address, page)
        for name, body in OTHERS.items():
            stage.submit(name, body)
        lab = open_notebook(page, address, "train.ipynb")
        for index in range(len(CELLS)):
            lab.run(index)
        arrange(page, stage)
        keep(page.screenshot(), picture)


def arrange(page: Page, stage: object) -> None:
    """Open the sidebar, the job in it, and its page beside the notebook."""
    sidebar = stage.show()  # type: ignore[attr-defined]
    sidebar.get_by_text("train-").first.click()
    sidebar.get_by_role("button", name="board").first.click(timeout=PATIENCE_MS)
    page.wait_for_selector(".jp-chutes-kind")
    page.evaluate(BESIDE)
    frame = page.frame_locator("iframe").last
    expect(frame.get_by_text("loss").first).to_be_visible(timeout=PATIENCE_MS)
    page.evaluate("document.querySelector('.jp-Notebook').scrollTop = 10000")
    frame.get_by_label("Toggle settings side pane").click(timeout=PATIENCE_MS)
    page.evaluate(
        "document.querySelectorAll('.jp-Notification-Toast-Close').forEach(each => each.click())"
    )
    page.wait_for_timeout(6_000)  # TensorBoard draws


if __name__ == "__main__":
    sys.exit(main())
