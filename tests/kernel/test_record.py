"""The record of a job, as it stays in a notebook: whatever a job says is text in it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from chutes_jupyter.kernel.record import MAX_FILES, Record

EVIL = "\"'><img src=x onerror=alert(1)>&lt;"
FACTS: dict[str, Any] = {
    "label": "train-3f9c2a",
    "worker": "gpu1",
    "state": "running",
    "reason": None,
    "elapsed": 42.0,
    "created": 1_700_000_000.0,
    "ended": None,
}
NONE = {"count": 0, "bytes": 0, "folder": "", "entries": []}


def record(files: dict[str, Any] = NONE, log: str = "", value: str | None = None, **facts: Any):
    return Record({**FACTS, **facts}, files, 1_700_000_100.0, log, value)


def files(*paths: str, folder: str = "chute_outputs/train-3f9c2a") -> dict[str, Any]:
    entries = [{"path": path, "size": 1200, "state": "here"} for path in paths]
    return {"count": len(paths), "bytes": 1200 * len(paths), "folder": folder, "entries": entries}


class Reader(HTMLParser):
    """Collect a page's tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "made",
    [
        record(label=EVIL),
        record(worker=EVIL),
        record(state=EVIL),
        record(state="failed", reason=EVIL),
        record(state="pending", reason=EVIL),
        record(log=EVIL),
        record(value=EVIL),
        record(files(EVIL)),
        record(files("x", folder=EVIL)),
        Record(FACTS, NONE, 0.0, metrics={EVIL: [[0, 1.0], [1, 2.0]]}),
    ],
)
def test_what_a_job_says_is_text(made: Record):
    reader = Reader(made._repr_html_())
    assert "onerror" not in reader.attributes
    assert EVIL in reader.text
    pictures = [tag for tag in reader.tags if tag == "img"]
    assert len(pictures) == len(made.metrics)
    assert str(reader.attributes.get("src", "data:")).startswith("data:image/svg+xml;base64,"[:5])


@pytest.mark.parametrize("what", ["log", "value", "reason", "label", "worker"])
def test_what_turns_text_around_or_fits_in_no_file_is_left_out(what: str):
    made = record(**{"state": "failed", what: "evil\u202egnp.exe\ud800\x1b[31m!"})
    for text in (made._repr_html_(), made.summary):
        text.encode()
        assert not re.search("[\u202e\x1b]", text)
    assert "evilgnp.exe\ufffd!" in made._repr_html_()


def test_a_job_that_lives_says_when_that_was_and_how_to_see_it_again():
    text = Reader(record()._repr_html_()).text
    assert "● running" in text
    assert re.search(r"as of \d{4}-\d\d-\d\d", text)
    assert 'chutes_jupyter.attach("train-3f9c2a")' in text
    assert 'chutes_jupyter.attach("train-3f9c2a")' in repr(record())


def test_one_that_has_ended_says_how():
    made = record(
        files("a.bin"), state="failed", reason="ValueError: no\nmore", ended=1_700_000_050.0
    )
    assert repr(made) == (
        "train-3f9c2a on gpu1: failed after 42s (ValueError: no). "
        "1 file, 1.2 kB, in chute_outputs/train-3f9c2a."
    )
    text = Reader(made._repr_html_()).text
    assert "as of" not in text
    assert "attach" not in text


def test_what_is_empty_takes_no_room_and_of_many_files_some_are_shown():
    assert "<table" not in record()._repr_html_()
    assert "<pre" not in record()._repr_html_()
    many = record(files(*(f"file{n}" for n in range(MAX_FILES + 5))))._repr_html_()
    assert many.count("<tr>") == MAX_FILES
    assert f"15 files, 18.0 kB, in chute_outputs/train-3f9c2a, of which {MAX_FILES}" in many


def test_metrics_that_are_no_numbers_are_left_out():
    made = Record(FACTS, NONE, 0.0, metrics={"loss": [[0, None], [1, 2.0]], "none": [[0, None]]})
    page = made._repr_html_()
    assert page.count("<img") == 1
    assert 'alt="loss 2"' in page
    # A single one is a dot.
    assert "<circle" in base64.b64decode(page.partition(";base64,")[2].partition('"')[0]).decode()
    two = Record(FACTS, NONE, 0.0, metrics={"loss": [[0, 1.0], [1, 2.0]]})._repr_html_()
    assert 'alt="loss 2 (1 to 2)"' in two


@pytest.mark.slow
def test_a_notebook_that_runs_unattended_keeps_it_and_so_does_its_page(home: Path, tmp_path: Path):
    cells = [
        "%load_ext chutes_jupyter",
        "%%chute_job train\nprint('the last words')\nself.metric('loss', 0.5)\n"
        "open(job_data['output_dir'] + '/kept.txt', 'w').write('x')\nreturn 'given back'",
        "job = train.submit()\njob",
        "import threading\njob.wait(60)\nname = f'chutes_jupyter record {job.label}'\n"
        "[each.join(60) for each in threading.enumerate() if each.name == name]",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    NotebookClient(made, timeout=120, kernel_name="python3",
                   resources={"metadata": {"path": str(tmp_path)}}).execute()  # fmt: skip
    page, _ = HTMLExporter().from_notebook_node(made)
    for text in ("✓ succeeded", "the last words", "given back", "kept.txt", "loss 0.5"):
        assert text in made.cells[2].outputs[0].data["text/html"]
        assert text in page
    assert "widget-view" not in page
