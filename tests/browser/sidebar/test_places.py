"""Where Lab knows the jobs besides: notebooks, terminals, the palette, the launcher, settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.sidebar.stage import FOREVER, WAIT, Stage, until
from tests.kernel.lab import open_notebook, write_notebook

pytestmark = pytest.mark.slow

_CELLS = [
    "%load_ext chutes_jupyter",
    *(f"filler = {number}\n" * 12 for number in range(6)),
    "%%chute_job told\nawait self.cancel_event.wait()",
    "job = told.submit(ack=True)",
    "print(job.label)",
    "[job.label] * 3",
]


def test_it_goes_to_the_cell_that_made_a_job(stage: Stage) -> None:
    write_notebook(stage.folder / "made.ipynb", _CELLS)
    notebook = open_notebook(stage.page, stage.address, "made.ipynb")
    notebook.run(0)
    notebook.run(len(_CELLS) - 4)
    notebook.run(len(_CELLS) - 3)
    label = notebook.run(len(_CELLS) - 2).locator(".jp-OutputArea-output").inner_text().strip()
    notebook.run(len(_CELLS) - 1)
    notebook.save()
    stage.page.evaluate("window.jupyterapp.commands.execute('application:close-all')")
    stage.show()
    stage.act(label, "Cell")
    active = stage.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
    # Not the last one that shows its label: the one that submitted it.
    expect(active).to_contain_text("told.submit", timeout=WAIT)
    expect(active).to_be_in_viewport(timeout=WAIT)
    stage.cancel(label)
    stage.row(label, "cancelled")


def test_a_terminal_opens_inside_a_job(stage: Stage) -> None:
    label = stage.submit("inside", FOREVER, "ssh=True")
    stage.show()
    stage.act(label, "Terminal")
    terminal = stage.page.locator(".jp-Terminal")
    expect(terminal).to_be_visible(timeout=WAIT)
    terminal.click()
    proof = stage.folder / "proof"
    stage.page.keyboard.type(f"pwd > {proof}\n")
    until(lambda: proof.exists() and bool(proof.read_text()), "no shell answered")
    # The terminal began in the server's folder, which is elsewhere.
    assert not proof.read_text().startswith(str(stage.folder) + "\n")
    stage.cancel(label)
    stage.row(label, "cancelled")


def test_the_palette_asks_which_job(stage: Stage) -> None:
    label = stage.submit("asked")
    stage.page.keyboard.press("Control+Shift+c")
    palette = stage.page.locator(".lm-CommandPalette")
    palette.locator("input").fill("chutes open log")
    palette.locator(".lm-CommandPalette-item", has_text="Open Log").click(timeout=WAIT)
    dialog = stage.page.locator(".jp-Dialog")
    expect(dialog.locator("select, input")).to_be_visible(timeout=WAIT)
    dialog.locator("select").select_option(label=_option(stage.page, label))
    stage.page.keyboard.press("Enter")
    expect(stage.page.locator(".jp-chutes-log-tab")).to_contain_text("begun", timeout=WAIT)
    stage.command("cancel", label)


def test_the_launcher_shows_the_jobs(stage: Stage) -> None:
    stage.show()
    stage.tab.click()
    stage.page.evaluate("window.jupyterapp.commands.execute('launcher:create') && null")
    card = stage.page.locator('.jp-LauncherCard[title="Show the jobs on all workers"]')
    # There may be another one behind it.
    card.locator("visible=true").first.click(timeout=WAIT)
    expect(stage.page.locator("#chutes-sidebar")).to_be_visible()


def test_settings_say_how_it_opens(stage: Stage) -> None:
    file = stage.folder / "home/config/lab/user-settings/chutes-jupyter/plugin.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text('{"groupBy": "worker"}')
    try:
        stage.submit("grouped")
        stage.open()
        stage.show()
        expect(stage.page.locator(".jp-chutes-group", has_text="local")).to_be_visible(timeout=WAIT)
    finally:
        file.unlink()


@pytest.fixture
def notebook7(lab: Stage) -> Iterator[Stage]:
    """Notebook 7, with a notebook open; Lab afterwards, for the next test."""
    write_notebook(lab.folder / "seven.ipynb", ["1"])
    lab.page.goto(lab.address.replace("lab/tree/{}", "notebooks/seven.ipynb"))
    expect(lab.page.locator(".jp-NotebookPanel")).to_be_visible(timeout=WAIT)
    yield lab
    assert not lab.complaints
    lab.open()


def test_notebook_7_has_what_can_be_there(notebook7: Stage) -> None:
    page = notebook7.page
    label = notebook7.submit("seventh")
    page.evaluate("window.jupyterapp.commands.execute('chutes:show')")
    notebook7.row(label, "running")
    notebook7.act(label, "Log")
    expect(page.locator(".jp-chutes-log-tab")).to_contain_text("begun", timeout=WAIT)
    # Below the document, with room to read it.
    box = page.locator(".jp-chutes-log-tab .chutes-log").bounding_box()
    assert box
    assert box["height"] > 150
    notebook7.cancel(label)
    notebook7.row(label, "cancelled")


def _option(page: Page, label: str) -> str:
    options = page.locator(".jp-Dialog option").all_inner_texts()
    return next(each for each in options if label in each)
