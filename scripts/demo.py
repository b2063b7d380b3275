"""Run the quickstart notebook without a browser, and say what happened and where the files are.

The notebook is copied to `.demo/`, so that its outputs land there and the one in `notebooks/`
stays as it is. Exits with 1 if a cell raised.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "notebooks" / "quickstart.ipynb"
FOLDER = REPOSITORY / ".demo"
SECONDS_A_CELL = 300


def text_of(output: dict[str, Any]) -> str:
    """Return what a reader of plain text would see of one output."""
    if output["output_type"] == "stream":
        return str(output["text"])
    data = output.get("data", {})
    if "image/png" in data:
        return "[a picture]"
    return str(data.get("text/plain", ""))


def say(cell: dict[str, Any], cell_index: int, **_: object) -> None:
    """Print a cell's first line, and what came of it."""
    if cell["cell_type"] != "code":
        return
    lines = cell["source"].splitlines()
    print(f"\n[{cell_index}] {lines[0]}{' …' if len(lines) > 1 else ''}")
    for output in cell["outputs"]:
        for line in text_of(output).splitlines():
            print(f"    {line}")
    sys.stdout.flush()


def main() -> int:
    """Run it, and return the exit status."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_A_CELL,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(FOLDER)}},
        on_cell_executed=say,
    )
    began = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\nThe quickstart failed:\n{error}", file=sys.stderr)
        return 1
    finally:
        nbformat.write(notebook, FOLDER / NOTEBOOK.name)

    print(f"\nThe quickstart ran in {time.monotonic() - began:.0f} s. What it left:")
    hidden = len(FOLDER.parts)  # a mirror's own records are
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.parts[hidden:]):
            print(f"{path.stat().st_size:10,}  {path.relative_to(REPOSITORY)}")
    print("\n`make lab` opens the notebook in JupyterLab, to run it yourself.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
