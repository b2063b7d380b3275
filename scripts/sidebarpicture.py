"""Make the pictures of the sidebar in docs/img: every state, both themes, narrow and wide.

Needs chromium and gcc (for a simulated GPU driver) and the built front end; everything else is
in the test group. Nothing of yours is in the pictures: the server has a home of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import PICTURES, REPOSITORY, THEMES, keep
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from tests.browser.sidebar.stage import Stage

PATIENCE_MS = 60_000
#: The widths that a person may give it, in CSS pixels.
WIDTHS = {"narrow": 230, "wide": 420}

TRAIN = """
import asyncio, math, os
# What the simulated driver says: this job has 21 GB of the card.
with open(os.environ["FAKE_NVML"], "w") as state:
    state.write(f"GPU-00000000-1234-5678-9abc-def012345678 81920 60000 0 {os.getpid()} 21000\\n")
async def page(reader, writer):
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
    writer.close()
await asyncio.start_server(page, "127.0.0.1", 8765)
with open(f"{job_data['output_dir']}/checkpoint-010.npz", "wb") as file:
    file.write(bytes(40_000))
for epoch in range(1, 13):
    self.progress(epoch, 30, unit="epochs", loss=math.exp(-epoch))
    print(f"epoch {epoch:3} of 30  loss {math.exp(-epoch):.4f}")
    await asyncio.sleep(0.2)
await self.cancel_event.wait()
"""
#: States that can't be had at will, as the store has them once a worker told them.
PAST = """
import time
from chutes_jupyter.store import JobRecord, Store

now = time.time()
said = {
    "queued": ("pending", "waits for 2 GPUs: all are taken", None, None),
    "begun": ("starting", None, None, None),
    "stopping": ("cancelling", None, 700, None),
    "packing": ("collecting", None, 800, None),
    "night": ("timed_out", "the timeout of 1:00:00 was over", 90_000, 86_400),
    "gone": ("lost", "the worker has no record of it any more", 95_000, 94_000),
}
for number, (name, (state, reason, started, ended)) in enumerate(said.items()):
    Store.open().add(JobRecord(
        id=f"{number + 11:02x}" * 16, name=name, worker="gpu1", state=state, event=5,
        created=now - (started or 60) - 5, started=started and now - started,
        ended=ended and now - ended, reason=reason, confirmed=now - 300,
        notebook="/home/me/experiments/night.ipynb", timeout=3600,
    ))
"""


def main() -> int:
    """Take them all, into the folder that the first argument names, or docs/img."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.nvml import Cards, build

    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as driver:
        cards = Cards(Path(driver), build(Path(driver) / "nvml"), 1)
        os.environ.update(cards.environment)
        for theme in THEMES:
            with tempfile.TemporaryDirectory() as folder:
                take_theme(
                    Path(folder),
                    theme,
                    lambda part, name, theme=theme: keep(
                        part.screenshot(), pictures / f"sidebar-{name}-{theme}.png"
                    ),
                )
    return 0


def take_theme(folder: Path, theme: str, take: Callable[[Locator, str], None]) -> None:
    """Take the pictures of one theme."""
    from tests.browser.sidebar.stage import Stage
    from tests.kernel.lab import browser_page, lab_server

    home = folder / "home"
    settings = home / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{THEMES[theme]}"}}')
    with lab_server(folder) as address, browser_page(width=1300, height=900) as page:
        stage = Stage(folder, address, page)
        options = 'ports=[chutes_jupyter.Port("board", 8765, "http")], ssh=True'
        stage.command("worker", "add", "gpu1", "me@gpu1.example", "--no-connect")
        stage.submit("embed", "raise ValueError('no such layer: encoder.7')")
        stage.submit("tune", "return {'lr': 3e-4}")
        tested = stage.submit("test")
        stage.command("cancel", tested)
        label = stage.submit("train", TRAIN, options)
        stage.open()
        sidebar = stage.show()
        take_states(stage, label, sidebar, take)
        stage.command("cancel", label)


def take_states(
    stage: Stage, label: str, sidebar: Locator, take: Callable[[Locator, str], None]
) -> None:
    """Take the pictures of a sidebar with jobs in every state."""
    stage.run("-c", PAST)
    stage.row("gone-", "lost")
    stage.row(label, "40 %")
    detail = stage.choose(label)
    expect(detail).to_contain_text("ready", timeout=PATIENCE_MS)
    expect(stage.row(label).locator(".jp-chutes-spark")).to_be_visible(timeout=PATIENCE_MS)
    for name, width in WIDTHS.items():
        stage.widen(width)
        stage.page.mouse.move(900, 450)
        take(sidebar, name)
    stage.choose("embed-", "failed")
    take(sidebar, "failed")
    stage.choose("queued-", "pending")
    take(sidebar, "waiting")


if __name__ == "__main__":
    sys.exit(main())
