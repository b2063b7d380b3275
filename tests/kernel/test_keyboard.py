"""The panel for who has no mouse, or no eyes for the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.kernel.lab import LabPage, browser_page, lab_server, open_notebook, write_notebook
from tests.kernel.panels import STATES, job, show, traits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 30_000
#: More presses of Tab than any page here has controls.
MANY = 150
JOB = "%%chute_job train --timeout 1h\nprint('begun', flush=True)\nawait self.cancel_event.wait()"

#: Whether the focus is in a part, and if so what a screen reader calls what has it.
_FOCUSED = """(root) => {
  const active = document.activeElement;
  if (!root.contains(active)) return null;
  const { outlineStyle, outlineWidth } = getComputedStyle(active);
  const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
  return [active.getAttribute("aria-label") ?? active.textContent.trim(), seen];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with lab_server(folder, sidebar=False) as found:
        yield found


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page() as found:
        yield found


@pytest.fixture
def lab(page: Page, folder: Path, address: str) -> LabPage:
    """A notebook with a panel of a job that runs, and cells that could be deleted."""
    write_notebook(
        folder / "keys.ipynb",
        ["%load_ext chutes_jupyter", JOB, "job = train.submit()\njob", "'kept'", "%chute jobs"],
    )
    lab = open_notebook(page, address, "keys.ipynb")
    for index in (0, 1, 2):
        lab.run(index)
    expect(lab.panel(2)).to_contain_text("begun", timeout=SOON)
    return lab


def focused(panel: Locator) -> str:
    """Return the name of what has the focus in a panel, which can be seen to have it."""
    name, seen = panel.evaluate(_FOCUSED) or ("", True)
    assert seen, f"nothing shows that {name} has the focus"
    return str(name)


def reach(page: Page, panel: Locator, name: str, key: str = "Tab") -> None:
    """Press Tab until something has the focus."""
    met = []
    for _ in range(MANY):
        page.keyboard.press(key)
        met.append(focused(panel))
        if met[-1] == name:
            return
    raise AssertionError(f"{name} can't be reached; met were {sorted({*met} - {''})}")


def test_a_job_is_cancelled_with_the_keyboard_alone(page: Page, lab: LabPage):
    panel = lab.panel(2)
    label = panel.locator(".chutes-label").inner_text()
    lab.cells.nth(2).locator(".cm-content").click()
    page.keyboard.press("Escape")  # out of the editor, into Lab's command mode
    reach(page, panel, f"Cancel {label}")
    page.keyboard.press("Enter")
    expect(panel.locator(".chutes-state")).to_contain_text("cancelled", timeout=SOON)
    # The button went; who stood on it is told the end, and goes on from there.
    assert focused(panel).startswith("■cancelled")
    page.keyboard.press("Tab")
    assert focused(panel) == "Log"


def test_keys_that_are_typed_in_a_panel_are_no_commands_of_lab(page: Page, lab: LabPage):
    panel, count = lab.panel(2), lab.cells.count()
    search = panel.get_by_role("searchbox", name="Search the log")
    for part in (search, panel.locator(".chutes-log"), panel.get_by_role("tab", name="Log")):
        part.focus()
        # Cut, delete, insert above and below, to Markdown, undo, a heading.
        for key in ("x", "d", "d", "a", "b", "m", "z", "1"):
            page.keyboard.press(key)
        assert lab.cells.count() == count
    expect(search).to_have_value("xddabmz1")
    prompt = lab.cells.nth(2).locator(".jp-InputPrompt").inner_text()
    search.focus()
    page.keyboard.press("Shift+Enter")  # to the hit before, in place of running the cell
    expect(lab.cells.nth(2).locator(".jp-InputPrompt")).to_have_text(prompt)
    lab.run(4)
    table = lab.cells.nth(4).locator(".chutes-jobs")
    table.get_by_role("button", name=re.compile("Open the panel of")).first.focus()
    page.keyboard.press("x")
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert lab.cells.count() == count
    # They are Lab's again outside.
    lab.cells.nth(3).locator(".jp-InputPrompt").click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(lab.cells).to_have_count(count - 1)


def test_every_control_has_a_name_and_is_reached(page: Page, lab: LabPage):
    expect(lab.panel(2)).to_contain_text("begun")
    panel = show(page, **traits())
    names = panel.evaluate(
        """root => [...root.querySelectorAll("a, button, input, select, summary, [tabindex]")]
          .filter((each) => each.checkVisibility()).map((each) => each.getAttribute("aria-label")
            ?? each.textContent.trim())"""
    )
    assert len(names) >= 12  # one more where no sidebar tells of ends
    assert all(names), names
    assert panel.aria_snapshot().count("- tab ") == 6
    panel.get_by_role("tab", name="Log").focus()
    page.keyboard.press("ArrowRight")
    assert focused(panel) == "Files 5"
    page.keyboard.press("ArrowRight")  # there are no results
    assert focused(panel) == "Metrics 3"
    page.keyboard.press("Home")
    assert focused(panel) == "Log"
    # All tabs are one stop: before it is the panel's top, behind it what is open.
    page.keyboard.press("Tab")
    assert focused(panel) == "Search the log"
    page.keyboard.press("Shift+Tab")
    assert focused(panel) == "Log"
    page.keyboard.press("ArrowLeft")
    assert focused(panel) == "Details"
    page.keyboard.press("Space")
    expect(panel.get_by_role("tabpanel", name="Details")).to_be_visible()
    expect(panel.get_by_role("tab", name="Details")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    assert focused(panel) == "Details"
    page.keyboard.press("Tab")
    assert focused(panel) == "Copy: Job"


def test_the_focus_stays_where_it_is_when_the_panel_changes(page: Page, lab: LabPage):
    panel = show(page, **traits())

    def stays(tab: str, name: str, *changes: dict[str, object], then: str = "") -> None:
        part = panel.get_by_role("tab", name=tab)
        if part.get_attribute("aria-selected") != "true":
            part.press("Enter")
        panel.get_by_label(name, exact=True).focus()
        for change in changes:
            page.evaluate("change => model.set(change)", change)
            assert focused(panel) == (then or name)

    made = traits()
    files = made["files"]
    more = {**files["entries"][0], "size": 99, "state": "here"}
    grown = {"files": {**files, "count": 6, "entries": [{**more, "path": "a"}, *files["entries"]]}}
    other = {"files": {**files, "entries": [more, *files["entries"][1:]]}}
    stays("Files", "Look at notes.txt", grown, other)
    page.evaluate("change => model.set(change)", {"files": files})
    stays("Files", "Bring notes.txt here now", other, then="Download notes.txt")
    ready = [{**each, "ready": True, "url": "http://127.1.1.1/"} for each in made["ports"]]
    stays("Ports", "Copy the address of board", {"ports": ready})
    stays("Details", "Copy: Outputs", {"job": job(notices=["one"])}, {"job": job("collecting")})
    panel.locator("summary").click()
    page.evaluate("change => model.set(change)", {"job": job("running", reason="another")})
    expect(panel.locator("details")).to_have_attribute("open", "")
    stays("Log", "Cancel train-3f9c2a", {"job": job(trouble="away")}, {"progress": None})


def test_states_are_read_out_and_counts_are_not(page: Page, lab: LabPage):
    panel = show(page, **traits("pending"))
    state = panel.locator(".chutes-state")
    expect(state).to_have_role("status")
    for each in STATES:
        page.evaluate("change => model.set(change)", {"job": job(each)})
        expect(state).to_contain_text(each.replace("_", " "))
    log = panel.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "off")
    page.evaluate("change => model.set(change)", {"job": job("collecting", trouble="gpu1 is away")})
    expect(panel.get_by_text("gpu1 is away")).not_to_have_attribute("aria-live", "off")
    expect(panel.get_by_text("collecting 3 of 12 files")).to_have_attribute("aria-live", "off")
    bar = panel.get_by_role("progressbar", name="Progress")
    assert [bar.get_attribute(f"aria-value{each}") for each in ("min", "now", "max", "text")] == [
        "0", "40", "100", "12 of 30"
    ]  # fmt: skip
