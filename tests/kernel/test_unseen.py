"""A panel that nobody sees costs nothing, and is right when it is seen again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.kernel.lab import browser_page, lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 30_000
#: A busy log, a progress and a metric; once it is told to, it also shows and writes something.
BUSY = (
    "%%chute_job busy --timeout 1h\n"
    "import asyncio, os\n"
    "step = 0\n"
    "while not self.cancel_event.is_set():\n"
    "    for _ in range(10):\n"
    "        step += 1\n"
    "        print('step', step, flush=True)\n"
    "    self.progress(step, 1_000_000, loss=1 / step)\n"
    "    if os.path.exists('WORD') and not os.listdir(job_data['output_dir']):\n"
    "        display({'text/plain': 'shown unseen'}, raw=True)\n"
    "        open(job_data['output_dir'] + '/late.txt', 'w').write('late')\n"
    "    await asyncio.sleep(0.05)\n"
)
#: Counts what changes in the panel.
WATCH = """() => {
  window.changes = 0;
  new MutationObserver((records) => { window.changes += records.length; }).observe(
    document.querySelector(".chutes-panel"),
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""
#: Counts the frames that a panel's log asks for, to paint in.
FRAMES = """
  window.frames = 0;
  const ask = window.requestAnimationFrame;
  window.requestAnimationFrame = (act) => {
    window.frames += String(act).includes("this.paint()");
    return ask.call(window, act);
  };
"""
COST = "[changes, frames]"


class Pieces:
    """Counts the pieces of logs that come to a page."""

    def __init__(self, page: Page) -> None:
        self.count = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self.take))

    def take(self, payload: str | bytes) -> None:
        said = payload.encode() if isinstance(payload, str) else payload
        self.count += b'"runs"' in said


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Page, Pieces]]:
    """A notebook in which the panel of a busy job can be scrolled far out of sight."""
    (tmp_path / "home").mkdir(exist_ok=True)
    tall = "from IPython.display import HTML\nHTML('<div style=\"height: 5000px\">tall</div>')"
    cells = [
        "%load_ext chutes_jupyter",
        BUSY.replace("WORD", str(tmp_path / "word")),
        "job = busy.submit()\njob",
        tall,
    ]
    write_notebook(tmp_path / "unseen.ipynb", cells)
    with lab_server(tmp_path) as address, browser_page() as found:
        found.add_init_script(FRAMES)
        pieces = Pieces(found)
        lab = open_notebook(found, address, "unseen.ipynb")
        for index in (0, 1, 3, 2):
            lab.run(index)
        yield found, pieces
        found.locator(".chutes-cancel").click()
        expect(found.locator(".chutes-state")).to_contain_text("cancelled", timeout=SOON)


def newest(page: Page) -> int:
    """Return the newest line of the log that is in the page."""
    return max(map(int, re.findall(r"step (\d+)", page.locator(".chutes-log").inner_text())))


def test_out_of_sight_nothing_comes_or_changes_and_in_sight_all_of_it_is_there(
    stage: tuple[Page, Pieces], tmp_path: Path
):
    page, pieces = stage
    panel = page.locator(".chutes-panel")
    expect(panel.locator(".chutes-log")).to_contain_text(re.compile(r"step \d"), timeout=SOON)
    expect(panel.locator(".chutes-doing")).to_contain_text("of 1,000,000", timeout=SOON)
    page.evaluate(WATCH)
    page.wait_for_function("changes > 100 && frames > 5", timeout=SOON)
    assert pieces.count > 0

    scroller = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer")
    scroller.evaluate("each => each.scrollTo(0, 4000)")
    expect(panel).not_to_be_in_viewport()
    # It minds after two seconds; what was on its way comes.
    before: list[object] = []
    deadline = time.monotonic() + SOON / 1000
    while before != (now := [*page.evaluate(COST), pieces.count]):
        assert time.monotonic() < deadline
        before = now
        page.wait_for_timeout(3000)
    (tmp_path / "word").touch()
    while not list(tmp_path.glob("chute_outputs/*/late.txt")):
        assert time.monotonic() < deadline + SOON / 1000
        page.wait_for_timeout(100)
    page.wait_for_timeout(3000)  # nothing happens, for so long
    assert [*page.evaluate(COST), pieces.count] == before
    seen = newest(page)

    scroller.evaluate("each => each.scrollTo(0, 0)")
    expect(panel).to_be_in_viewport()
    # The job has gone on by some 100 lines a second.
    page.wait_for_function(
        """(least) => [".chutes-doing", ".chutes-row:last-child"].every((each) => {
          const text = document.querySelector(each).textContent.replaceAll(",", "");
          return Number(text.match(/\\d+/)[0]) > least;
        })""",
        arg=seen + 500,
        timeout=SOON,
    )
    # What came but once is there, too.
    expect(panel.get_by_role("tab", name="Files 1")).to_be_visible()
    expect(panel.get_by_role("tab", name="Results 1")).to_be_visible()
    log = panel.locator(".chutes-log")
    assert log.evaluate("each => each.scrollHeight - each.scrollTop - each.clientHeight") < 2
