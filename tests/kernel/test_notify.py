"""How a person who looks elsewhere learns that a job has ended: once, and only if they wish."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.sidebar.stage import built
from tests.kernel.lab import (
    LabPage,
    browser_page,
    lab_server,
    open_in_notebook_7,
    open_notebook,
    write_notebook,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 30_000
WAITS = (
    "%%chute_job train\n"
    "import asyncio, os\n"
    "while not os.path.exists(job_data['word']):\n"
    "    await asyncio.sleep(0.05)\n"
)
#: Notes what the page does: nothing else can see the system's notifications, or hear anything.
RECORD = """
  window.told = []; window.tones = 0; window.asked = 0; window.answer = null;
  const Real = window.Notification;
  window.Notification = class extends Real {
    constructor(text, options) { super(text, options); window.told.push(text); }
    static get permission() { return window.answer ? window.answer[0] : Real.permission; }
    static async requestPermission() {
      window.asked += 1;
      window.answer.shift();
      return window.answer[0];
    }
  };
  const { start } = AudioScheduledSourceNode.prototype;
  AudioScheduledSourceNode.prototype.start = function (...when) {
    window.tones += 1;
    return start.apply(this, when);
  };
"""
HIDE = """
  Object.defineProperty(Document.prototype, "hidden", { get: () => true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
"""


class Jobs:
    """Jobs that end when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cells(self, *names: str) -> list[str]:
        """Return the cells of a notebook that submits jobs of these names."""
        submits = [
            f"{name} = train.submit(word={str(self.folder / name)!r})\n{name}" for name in names
        ]
        return ["%load_ext chutes_jupyter", WAITS, *submits]

    def end(self, name: str, panel: Locator) -> str:
        """Let a job end, wait until its panel shows that, and return its label."""
        expect(panel).to_contain_text("running", timeout=SOON)
        (self.folder / name).touch()
        expect(panel.locator(".chutes-state")).to_contain_text("succeeded", timeout=SOON)
        return panel.locator(".chutes-label").inner_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A JupyterLab with the sidebar; the browser's notifications and the sound are wished."""
    built()
    settings = folder / "home" / "config" / "lab" / "user-settings" / "chutes-jupyter"
    settings.mkdir(parents=True)
    wishes = {"notify": True, "notifyInBrowser": True, "sound": True}
    (settings / "plugin.jupyterlab-settings").write_text(json.dumps(wishes))
    with lab_server(folder) as found:
        yield found


@pytest.fixture(scope="module")
def bare_address(folder: Path) -> Iterator[str]:
    """A JupyterLab without the sidebar."""
    bare = folder / "bare"
    (bare / "home").mkdir(parents=True)
    with lab_server(bare, sidebar=False) as found:
        yield found


@contextlib.contextmanager
def recorded(*permissions: str) -> Iterator[Page]:
    with browser_page() as page:
        page.context.add_init_script(RECORD)
        page.context.grant_permissions(list(permissions))
        yield page


def opened(page: Page, address: str, name: str, folder: Path, cells: list[str]) -> LabPage:
    write_notebook(folder / name, cells)
    lab = open_notebook(page, address, name)
    lab.run(0)
    lab.run(1)
    return lab


def bell(panel: Locator) -> Locator:
    return panel.get_by_role("button", name="Notify me when the job ends")


def speaker(panel: Locator) -> Locator:
    return panel.get_by_role("button", name="Play a sound when the job ends")


def heard(page: Page) -> list[Any]:
    """Return what the page has told, and how many tones it has played."""
    found: list[Any] = page.evaluate("[told, tones]")
    return found


def eventually(page: Page, what: str) -> None:
    page.wait_for_function(what, timeout=SOON)


def test_the_bell_is_remembered_and_an_end_is_told_once_and_never_afterwards(
    bare_address: str, folder: Path
):
    bare = folder / "bare"
    jobs = Jobs(bare)
    with recorded("notifications") as page:
        cells = [*jobs.cells("one", "two", "three"), "two"]
        lab = opened(page, bare_address, "bell.ipynb", bare, cells)
        lab.run(2)
        expect(bell(lab.panel(2))).to_have_attribute("aria-pressed", "false")
        expect(speaker(lab.panel(2))).to_have_attribute("aria-pressed", "false")
        bell(lab.panel(2)).click()
        expect(bell(lab.panel(2))).to_have_attribute("aria-pressed", "true")
        label = jobs.end("one", lab.panel(2))
        eventually(page, "told.length === 1")
        assert heard(page) == [[f"{label}: succeeded"], 0]  # the sound is off by default
        expect(bell(lab.panel(2))).to_be_hidden()

        # With a sound, which can be heard when it is switched on; two panels are one job.
        lab.run(3)
        lab.run(5)
        speaker(lab.panel(3)).click()
        expect(speaker(lab.panel(5))).to_have_attribute("aria-pressed", "true")
        assert heard(page)[1] == 2
        second = jobs.end("two", lab.panel(3))
        expect(lab.panel(5).locator(".chutes-state")).to_contain_text("succeeded", timeout=SOON)
        eventually(page, "told.length === 2 && tones === 4")

        # What ended before is not told to who comes back; the wishes are still there.
        lab.save()
        page.reload()
        expect(lab.panel(3)).to_contain_text(second, timeout=SOON * 2)
        lab.run(4)
        expect(bell(lab.panel(4))).to_have_attribute("aria-pressed", "true")
        third = jobs.end("three", lab.panel(4))
        eventually(page, "told.length >= 1 && tones >= 2")
        assert heard(page) == [[f"{third}: succeeded"], 2]


def test_the_browser_asks_on_the_click_alone_and_a_refusal_is_told_with_what_to_do(
    bare_address: str, folder: Path
):
    bare = folder / "bare"
    with recorded() as page:
        lab = opened(page, bare_address, "refused.ipynb", bare, Jobs(bare).cells("refused"))
        page.evaluate("window.answer = ['default', 'default', 'denied']")
        page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('no'); }; }")
        lab.run(2)
        panel = lab.panel(2)
        expect(panel).to_contain_text("running", timeout=SOON)
        assert page.evaluate("asked") == 0
        bell(panel).click()
        expect(panel).to_contain_text("answer the browser with Allow")
        expect(bell(panel)).to_have_attribute("aria-pressed", "false")
        bell(panel).click()
        expect(panel).to_contain_text("Notifications are blocked for this page. Allow them in")
        bell(panel).click()
        assert page.evaluate("asked") == 2  # who said no is not asked again
        # Nothing can be stored: it holds in this page.
        speaker(panel).click()
        expect(speaker(panel)).to_have_attribute("aria-pressed", "true")
        Jobs(bare).end("refused", panel)
        eventually(page, "tones === 4")
        assert page.evaluate("told") == []


def test_where_the_sidebar_is_it_alone_tells_and_of_several_pages_one(address: str, folder: Path):
    jobs = Jobs(folder)
    with recorded("notifications") as page:
        page.add_init_script("localStorage.setItem('chutes-jupyter:notify', 'on');")
        lab = opened(page, address, "sidebar.ipynb", folder, jobs.cells("seen", "unseen"))
        other = page.context.new_page()
        other.add_init_script(HIDE)
        other.goto(address.replace("lab/tree/{}", "lab/workspaces/other"))
        expect(other.locator("#jp-main-dock-panel")).to_be_visible(timeout=SOON * 2)
        pages = (page, other)

        # Looked at: a word in the page, and a sound; nothing in the page behind it.
        lab.run(2)
        expect(bell(lab.panel(2))).to_be_hidden()
        expect(lab.panel(2)).to_contain_text("running", timeout=SOON)
        refresh(*pages)
        label = jobs.end("seen", lab.panel(2))
        expect(toasts(page, label)).to_have_count(1, timeout=SOON)
        eventually(page, "tones === 2")
        refresh(*pages)
        expect(toasts(page, label)).to_have_count(1)
        expect(toasts(other, label)).to_have_count(0)
        assert [heard(each) for each in pages] == [[[], 2], [[], 0]]

        # Nobody looks: each page has it for who comes back, and the browser says it once.
        page.evaluate(HIDE)
        lab.run(3)
        expect(lab.panel(3)).to_contain_text("running", timeout=SOON)
        refresh(*pages)
        label = jobs.end("unseen", lab.panel(3))
        eventually(page, "told.length === 1 && tones === 4")
        refresh(*pages)
        expect(toasts(other, label)).to_have_count(1, timeout=SOON)
        assert re.fullmatch(rf"{label}: succeeded after 0:\d\d", page.evaluate("told[0]"))
        assert [heard(each)[1] for each in pages] == [4, 0]
        assert len(page.evaluate("told") + other.evaluate("told")) == 1


def test_notebook_7_tells_it_too(address: str, folder: Path):
    jobs = Jobs(folder)
    with recorded("notifications") as page:
        write_notebook(folder / "seven.ipynb", jobs.cells("seven"))
        lab = open_in_notebook_7(page, address, "seven.ipynb")
        for index in range(3):
            lab.run(index)
        label = jobs.end("seven", lab.panel(2))
        expect(toasts(page, label)).to_have_count(1, timeout=SOON)


def toasts(page: Page, label: str) -> Locator:
    """Return what Lab says in the page of a job."""
    return page.locator(".Toastify__toast", has_text=label)


def refresh(*pages: Page) -> None:
    """Have the list of jobs read now, as it is every half a minute."""
    for each in pages:
        each.evaluate("window.jupyterapp.commands.execute('chutes:refresh')")
