"""The quickstart notebook runs unattended, and leaves what it says it does."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.freeport import free_port

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "quickstart.ipynb"
PORT = 8765  # what the notebook has; another test may be using it


def text_of(cell: NotebookNode) -> str:
    """Return what a cell printed and showed, as plain text."""
    parts = [
        output["text"]
        if output.output_type == "stream"
        else output.get("data", {}).get("text/plain", "") + "\n"
        for output in cell.outputs
    ]
    return "".join(parts)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, NotebookNode], Path]:
    """Run the notebook once, and return its cells by id and the folder it ran in."""
    folder = tmp_path_factory.mktemp("quickstart")
    home = folder / "home"
    home.mkdir()
    notebook = nbformat.reads(
        NOTEBOOK.read_text(encoding="utf-8").replace(str(PORT), str(free_port())), as_version=4
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("CONFIG", "DATA", "RUNTIME"):
            patch.setenv(f"JUPYTER_{name}_DIR", str(home / name.lower()))
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    return {cell.id: cell for cell in notebook.cells}, folder


def test_it_is_saved_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestRun:
    def test_the_training_prints_live_and_returns_its_last_metric(self, ran) -> None:
        cells, _ = ran
        log = text_of(cells["follow"])
        assert "1347 digits to learn from, 450 to be tested with" in log
        assert [f"epoch {number:3}/30  loss " in log for number in range(1, 31)] == [True] * 30
        result = ast.literal_eval(text_of(cells["result"]))
        assert result["epoch"] == 30
        assert result["accuracy"] > 0.9

    def test_its_files_land_beside_the_notebook(self, ran) -> None:
        cells, folder = ran
        (training,) = [
            found.parent
            for found in folder.glob("chute_outputs/train-*/results.json")
            if len(json.loads(found.read_text())) == 30
        ]
        names = sorted(path.name for path in training.iterdir())
        checkpoints = [f"checkpoint-{epoch:03}.npz" for epoch in range(5, 31, 5)]
        assert names == [*checkpoints, "confusion.png", "results.json"]
        assert (training / "confusion.png").read_bytes().startswith(b"\x89PNG\r\n")
        assert all(name in text_of(cells["files"]) for name in names)
        assert "image/png" in cells["picture"].outputs[0].data

    def test_the_page_answers_through_the_tunnel(self, ran) -> None:
        cells, _ = ran
        address, *answers = text_of(cells["page-open"]).strip().splitlines()
        assert "http://127." in address or "http://localhost" in address
        answers = [ast.literal_eval(answer) for answer in answers]
        assert [answer["number"] for answer in answers] == [0, 500, 1000, 1500]
        assert sum(answer["guess"] == answer["truth"] for answer in answers) >= 3
        assert ast.literal_eval(text_of(cells["page-close"])) == "cancelled"

    def test_a_cancelled_training_brings_what_it_wrote(self, ran) -> None:
        cells, _ = ran
        log = text_of(cells["cancel"])
        assert "asked to stop" in log
        assert "It was cancelled, and had got to {'epoch': " in log
        names = ast.literal_eval(text_of(cells["cancel-files"]))
        assert {"checkpoint-005.npz", "checkpoint-010.npz", "results.json"} <= set(names)
        assert "checkpoint-1000.npz" not in names

    def test_every_job_is_listed(self, ran) -> None:
        cells, _ = ran
        listed = text_of(cells["jobs"])
        assert listed.count("train-") == 2
        assert listed.count("page-") == 1
