"""What is left of a panel where its notebook is shown or run without a person: the record."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Page, expect

from tests.kernel.lab import browser_page, lab_server, open_notebook, write_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 30_000
JOB = (
    "%%chute_job train\n"
    "import time\nfrom tqdm import tqdm\n"
    "for step in tqdm(range(3), mininterval=0):\n"
    "    print('step', step)\n    time.sleep(0.2)\n"
    "print('the last words')\n"
    "self.metric('loss', 0.5)\n"
    "open(job_data['output_dir'] + '/kept.txt', 'w').write('x')\n"
    "return 'given back'"
)
WORDS = ("✓ succeeded", "the last words", "'given back'", "kept.txt", "loss 0.5")
#: Waits until the record of a job that runs unattended is whole.
WHOLE = (
    "import threading\njob.wait(60)\nname = f'chutes_jupyter record {job.label}'\n"
    "[each.join(60) for each in threading.enumerate() if each.name == name]"
)


def page_of(notebook: Path) -> Path:
    """Return the page that nbconvert's command makes of a notebook."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", notebook.name]
    subprocess.run(command, cwd=notebook.parent, env=os.environ, check=True, capture_output=True)
    return notebook.with_suffix(".html")


def expect_record(page: Page, file: Path) -> None:
    """Look at a page as it lies on a disk: the record is in it once, and nothing that is broken."""
    page.goto(file.as_uri())
    record = page.locator(".chutes-record")
    expect(record).to_have_count(1)
    expect(record).to_be_visible()
    for word in WORDS:
        expect(record).to_contain_text(word)
    # The bar is one line of its own, as in the panel.
    expect(record.locator("pre", has_text="step 0")).to_contain_text(
        re.compile(r"^step 0\nstep 1\nstep 2\n100%\|.*\nthe last words$", re.MULTILINE)
    )
    picture = record.get_by_role("img", name="loss 0.5")
    assert picture.evaluate("each => each.naturalWidth") > 0
    body = page.locator("body")
    expect(body).not_to_contain_text("model not found", ignore_case=True)
    expect(body).not_to_contain_text("PanelWidget")
    expect(page.locator(".chutes-panel")).to_have_count(0)


def test_a_notebook_with_a_panel_is_a_page_with_its_record(tmp_path: Path):
    write_notebook(
        tmp_path / "seen.ipynb", ["%load_ext chutes_jupyter", JOB, "job = train.submit()\njob"]
    )
    with lab_server(tmp_path) as address, browser_page() as page:
        lab = open_notebook(page, address, "seen.ipynb")
        for index in range(3):
            lab.run(index)
        expect(lab.panel(2)).to_contain_text("succeeded", timeout=SOON)
        record = lab.cells.nth(2).locator(".chutes-record")
        expect(record).to_contain_text("given back", timeout=SOON)
        expect(record).to_contain_text("kept.txt", timeout=SOON)
        lab.save()
        cell = nbformat.read(tmp_path / "seen.ipynb", as_version=4).cells[2]
        kinds = [kind for output in cell.outputs for kind in output.data]
        assert "application/vnd.jupyter.widget-view+json" in kinds
        expect_record(page, page_of(tmp_path / "seen.ipynb"))


def test_papermill_keeps_the_record_and_so_does_its_page(home: Path, tmp_path: Path):
    cells = ["%load_ext chutes_jupyter", JOB, "job = train.submit()\njob", WHOLE]
    write_notebook(tmp_path / "asked.ipynb", cells)
    done: NotebookNode = papermill.execute_notebook(
        tmp_path / "asked.ipynb", tmp_path / "done.ipynb", cwd=tmp_path, progress_bar=False
    )
    outputs = [output for cell in done.cells for output in cell.outputs if "data" in output]
    kept = [output.data["text/html"] for output in outputs if "text/html" in output.data]
    assert len(kept) == 1
    for word in WORDS:
        assert word.replace("'", "&#x27;") in kept[0]
    assert not any("widget-view" in kind for output in outputs for kind in output.data)
    with browser_page() as page:
        expect_record(page, page_of(tmp_path / "done.ipynb"))
