"""The panel in a real JupyterLab, looked at with a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with lab_server(folder) as found:
        yield found


@pytest.fixture
def page() -> Iterator[Page]:
    with browser_page() as found:
        yield found


@pytest.fixture
def bare_address(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab without our server extension: there the kernel alone answers."""
    off = "--ServerApp.jpserver_extensions={'chutes_jupyter': False}"
    with lab_server(tmp_path, off) as found:
        yield found


def opened(
    page: Page, folder: Path, address: str, name: str, *cells: str, notebook_7: bool = False
) -> LabPage:
    """Write a notebook, open it, and run its cells but for the last."""
    write_notebook(folder / name, ["%load_ext chutes_jupyter", *cells])
    lab = (open_in_notebook_7 if notebook_7 else open_notebook)(page, address, name)
    for index in range(len(cells)):  # the first is %load_ext
        lab.run(index)
    return lab


def test_the_panel_lives_and_its_button_works_while_the_kernel_is_busy(
    page: Page, folder: Path, address: str
):
    lab = opened(
        page,
        folder,
        address,
        "live.ipynb",
        "%%chute_job train --timeout 1h\n"
        "import time\n"
        "open(job_data['output_dir'] + '/first.txt', 'w').write('x' * 1234)\n"
        "step = 0\n"
        "while not self.cancel_event.is_set():\n"
        "    print('step', step, '<b>not bold</b>')\n"
        "    step += 1\n"
        "    time.sleep(0.1)\n"
        "return {'steps': 'returned'}",
        "job = train.submit()\njob",
        "import time\nfor _ in range(600):\n    time.sleep(0.1)",
    )
    panel, button = lab.panel(2), lab.cancel_button(2)
    busy = lab.run(3, wait=False)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")

    # It goes on while the kernel is busy.
    expect(panel).to_contain_text("running", timeout=SOON)
    expect(panel).to_contain_text("step 3 <b>not bold</b>", timeout=SOON)
    expect(panel).to_contain_text("step 12 ", timeout=SOON)
    expect(panel).to_contain_text(re.compile(r"0:0[1-9] of 1:00:00"), timeout=SOON)
    files = lab.tab(2, "Files")
    expect(files).to_contain_text("first.txt", timeout=SOON)
    expect(files).to_contain_text(re.compile(r"1\.2 kB.*✓ here"), timeout=SOON)
    details = lab.tab(2, "Details").locator("summary")
    expect(details).to_have_text(re.compile(r"Sent with it: \d+ names?, "))
    lab.tab(2, "Log")
    expect(button).to_have_text("Cancel")
    button.click()
    expect(panel).to_contain_text("cancelled", timeout=SOON)
    expect(button).to_be_hidden()
    expect(lab.tab(2, "Results")).to_contain_text("{'steps': 'returned'}", timeout=SOON)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")

    # What is saved tells the ending without any widget.
    record = lab.cells.nth(2).locator(".chutes-record")
    expect(record).to_contain_text("■ cancelled", timeout=SOON)
    expect(record).to_be_hidden()  # as long as the panel shows the same
    said = re.compile(
        r"train-\w{6} on local: cancelled after \d+s"
        r".*1 file, 1\.2 kB, in chute_outputs/train-\w{6}\."
    )
    lab.save()
    outputs = nbformat.read(folder / "live.ipynb", as_version=4).cells[2].outputs
    assert said.search(outputs[-1].data["text/plain"])
    kept = outputs[-1].data["text/html"]
    assert "cancelled" in kept
    assert "&lt;b&gt;not bold&lt;/b&gt;" in kept
    assert "first.txt" in kept


def test_wait_shows_the_button_and_prints_the_log_below(page: Page, folder: Path, address: str):
    lab = opened(
        page,
        folder,
        address,
        "wait.ipynb",
        "%%chute_job train --run --wait\nprint('started')\nawait self.cancel_event.wait()",
    )
    cell = lab.run(1, wait=False)
    expect(cell.locator(".jp-RenderedText pre", has_text="started")).to_have_count(1, timeout=SOON)
    lab.cancel_button(1).click()
    expect(cell).to_contain_text("JobCancelled", timeout=SOON)
    expect(lab.panel(1)).to_contain_text("cancelled", timeout=SOON)
    expect(lab.panel(1)).to_have_count(1)


def test_a_job_that_has_ended_is_shown_whole(page: Page, folder: Path, address: str):
    lab = opened(
        page,
        folder,
        address,
        "ended.ipynb",
        "%%chute_job bad -o job --run\n"
        "for i in range(300):\n    print('line', i)\nraise ValueError('<i>no</i>')",
        "try:\n    job.result()\nexcept Exception:\n    pass",
        "from chutes_jupyter import attach\nattach(job.label)",
    )
    lab.run(3)
    panel = lab.look_at(3)
    expect(panel).to_contain_text("failed", timeout=SOON)
    expect(panel).to_contain_text("line 299", timeout=SOON)
    expect(panel).not_to_contain_text("line 99\n")  # few of the lines are in the page
    assert panel.locator(".chutes-row").count() < 100
    expect(panel).to_contain_text("ValueError: <i>no</i>")
    expect(lab.cancel_button(3)).to_be_hidden()
    # The end of the log is what one sees of it.
    below = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    log = panel.locator(".chutes-log")
    assert log.evaluate("log => log.scrollHeight > 1000")
    assert abs(log.evaluate(below)) < 2
    traceback = lab.tab(3, "Results")
    expect(traceback).to_contain_text(re.compile(r"Cell In\[\d+\], line 4"), timeout=SOON)


#: Prints, and writes a table and a picture's worth of bytes.
WRITES = (
    "%%chute_job train --timeout 1h\n"
    "import os, time\n"
    "out = job_data['output_dir']\n"
    "os.makedirs(out + '/deep')\n"
    "open(out + '/deep/rows.csv', 'w').write('name,score\\n<b>one</b>,1\\n')\n"
    "open(out + '/grows.txt', 'w').write('first words')\n"
    "step = 0\n"
    "while not self.cancel_event.is_set():\n"
    "    print('step', step, flush=True)\n"
    "    step += 1\n"
    "    time.sleep(0.1)\n"
)
#: Tells how far it is, and shows something when it is asked to.
TELLS = (
    "%%chute_job train --timeout 1h\n"
    "import os, time\n"
    "step = 0\n"
    "while not self.cancel_event.is_set():\n"
    "    print('step', step, flush=True)\n"
    "    self.progress(step, 100_000, unit='step', loss=1 / (step + 1))\n"
    "    if os.path.exists(job_data['word']):\n"
    "        os.remove(job_data['word'])\n"
    "        display({'text/markdown': '**shown** afterwards'}, raw=True)\n"
    "    step += 1\n"
    "    time.sleep(0.1)\n"
)
BUSY = "import time\ntime.sleep(600)"


def file_row(part: Locator, name: str) -> Locator:
    return part.locator("tr", has_text=name)


def test_files_are_looked_at_and_cancel_works_while_the_kernel_sleeps_in_notebook_7(
    page: Page, folder: Path, address: str
):
    lab = opened(
        page, folder, address, "seven.ipynb", WRITES, "train.submit()", BUSY, notebook_7=True
    )
    expect(lab.panel(2)).to_contain_text("step 3", timeout=SOON)
    busy = lab.run(3, wait=False)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")
    files = lab.tab(2, "Files")
    files.get_by_role("button", name="Open the folder deep").click(timeout=SOON)
    files.get_by_role("button", name="Look at deep/rows.csv").click()
    expect(files.locator(".chutes-grid")).to_contain_text("<b>one</b>", timeout=SOON)
    expect(files.locator(".chutes-grid th").first).to_have_text("name")
    files.get_by_role("button", name="Close the preview").click()
    files.get_by_role("button", name="Go to all files").click()
    row = file_row(files, "grows.txt")
    expect(row).to_contain_text(re.compile("here|on worker|arriving"))
    expect(row.get_by_text("Download")).to_have_attribute("download", "grows.txt")
    lab.cancel_button(2).click()
    expect(lab.panel(2)).to_contain_text("cancelled", timeout=SOON)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")


def test_a_restart_leaves_a_panel_that_says_so_goes_on_and_still_cancels(
    page: Page, folder: Path, address: str
):
    word = folder / "word"
    submit = f"job = train.submit(word={str(word)!r})\njob"
    lab = opened(page, folder, address, "restart.ipynb", TELLS, submit)
    lab.run(2)
    panel = lab.panel(2)
    expect(panel).to_contain_text("step 3", timeout=SOON)
    lab.save()
    lab.restart_kernel()
    expect(panel).to_contain_text("Disconnected", timeout=SOON)
    label = panel.locator(".chutes-label").inner_text()
    expect(panel).to_contain_text(f'chutes_jupyter.attach("{label}")')
    # The Jupyter server knows the job: its log goes on, and it can be cancelled.
    log = panel.locator(".chutes-log")
    before = int(re.findall(r"step (\d+)", log.inner_text())[-1])
    expect(log).to_contain_text(f"step {before + 20}", timeout=SOON)
    # And so does what it tells of itself: how far it is, and what it shows.
    frozen = panel.locator(".chutes-doing").inner_text()
    assert re.fullmatch(r"step \d+ of 100,000", frozen), frozen
    expect(panel.locator(".chutes-doing")).not_to_have_text(frozen, timeout=SOON)
    word.touch()
    panel.get_by_role("tab", name="Results").click()
    display = panel.frame_locator(".chutes-display iframe").frame_locator("iframe")
    expect(display.locator("body")).to_have_text("shown afterwards", timeout=SOON)
    expect(display.locator("strong")).to_have_text("shown")
    panel.get_by_role("tab", name="Log").click()
    lab.cancel_button(2).click()
    expect(panel).to_contain_text("cancelled", timeout=SOON)

    # Reopened, the notebook shows the record in place of a widget that nobody knows.
    page.reload()
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=SOON * 2)
    cell = lab.cells.nth(2)
    expect(cell.locator(".chutes-record")).to_contain_text(f"{label} on local", timeout=SOON)
    expect(cell.locator(".chutes-record")).to_be_visible()
    expect(cell.get_by_text("model not found")).to_be_hidden()


def test_without_the_server_extension_the_kernel_answers_while_a_cell_runs(
    page: Page, tmp_path: Path, bare_address: str
):
    lab = opened(page, tmp_path, bare_address, "bare.ipynb", WRITES, "train.submit()", BUSY)
    expect(lab.panel(2)).to_contain_text("step 3", timeout=SOON)
    busy = lab.run(3, wait=False)
    files = lab.tab(2, "Files")
    expect(file_row(files, "grows.txt")).to_contain_text(re.compile("here|on worker"), timeout=SOON)
    fetch = file_row(files, "grows.txt").get_by_role("button", name=re.compile("^Bring"))
    if fetch.count():
        fetch.click()
    expect(file_row(files, "grows.txt")).to_contain_text("here", timeout=SOON)
    files.get_by_role("button", name="Look at grows.txt").click()
    expect(files).to_contain_text("first words", timeout=SOON)
    lab.cancel_button(2).click()
    expect(lab.panel(2)).to_contain_text("cancelled", timeout=SOON)
    expect(busy.locator(".jp-InputPrompt")).to_have_text("[*]:")


def test_where_a_busy_kernel_alone_could_answer_the_button_says_after_this_cell(
    page: Page, tmp_path: Path, bare_address: str
):
    # As front ends do that know no subshells: what is clicked goes where cells go.
    settings = tmp_path / "home/config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    off = '{"commsOverSubshells": "disabled"}'
    (settings / "kernels-settings.jupyterlab-settings").write_text(off)
    word = tmp_path / "word"
    busy = f"import os, time\nwhile not os.path.exists({str(word)!r}):\n    time.sleep(0.05)"
    cells = (WRITES, "train.submit()", busy, "other = train.submit()\nother", "other.result()")
    write_notebook(tmp_path / "after.ipynb", ["%load_ext chutes_jupyter", *cells])
    lab = open_notebook(page, bare_address, "after.ipynb")
    for index in (0, 1, 2):
        lab.run(index)
    panel, button = lab.panel(2), lab.cancel_button(2)
    expect(panel).to_contain_text("step 3", timeout=SOON)
    lab.run(3, wait=False)
    expect(lab.cells.nth(3).locator(".jp-InputPrompt")).to_have_text("[*]:")
    button.click()
    expect(button).to_have_text("After this cell", timeout=SOON)
    expect(button).to_have_attribute("title", re.compile("cancels the job when its cell ends"))
    expect(button).to_be_disabled()
    expect(panel.locator(".chutes-state")).to_contain_text("running")
    word.touch()
    expect(panel.locator(".chutes-state")).to_contain_text("cancelled", timeout=SOON)

    # A cell that waits for a job takes the click at once.
    lab.run(4)
    expect(lab.look_at(4)).to_contain_text("step 3", timeout=SOON)
    waits = lab.run(5, wait=False)
    expect(waits.locator(".jp-InputPrompt")).to_have_text("[*]:")
    lab.cancel_button(4).click()
    expect(lab.panel(4).locator(".chutes-state")).to_contain_text("cancelled", timeout=SOON)
    expect(waits).to_contain_text("JobCancelled", timeout=SOON)


def test_the_table_of_jobs_filters_cancels_and_opens_a_panel(
    page: Page, folder: Path, address: str
):
    lab = opened(
        page,
        folder,
        address,
        "jobs.ipynb",
        "%%chute_job quick\nreturn 1",
        "%%chute_job sleeps\nprint('asleep', flush=True)\nawait self.cancel_event.wait()",
        "quick.submit().wait()\njob = sleeps.submit(ack=True)",
        "%chute jobs",
    )
    lab.run(4)
    table = lab.cells.nth(4).locator(".chutes-jobs")
    rows = table.locator(".chutes-job")
    expect(rows.filter(has_text="quick-")).to_contain_text("✓ succeeded", timeout=SOON)
    expect(rows.filter(has_text="sleeps-")).to_contain_text("● running", timeout=SOON)
    table.get_by_role("searchbox").fill("quick succ")
    expect(rows.filter(has_text="sleeps-")).to_have_count(0)
    expect(rows.filter(has_text="quick-")).to_have_count(1)
    table.get_by_role("searchbox").fill("")
    table.get_by_label("State", exact=True).select_option("live")
    expect(rows.filter(has_text="quick-")).to_have_count(0)
    table.get_by_role("button", name=re.compile("Open the panel of sleeps-")).click()
    panel = lab.cells.nth(4).locator(".chutes-panel:not(.chutes-jobs)")
    expect(panel).to_contain_text("asleep", timeout=SOON)
    table.get_by_role("button", name=re.compile("^Cancel sleeps-")).click()
    expect(panel).to_contain_text("cancelled", timeout=SOON)
    expect(rows.filter(has_text="sleeps-")).to_have_count(0, timeout=SOON)  # it lives no more
    table.get_by_label("State", exact=True).select_option("cancelled")
    expect(rows.filter(has_text="sleeps-")).to_contain_text("■ cancelled", timeout=SOON)
