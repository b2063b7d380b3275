"""Kernels of other versions of ipykernel; `scripts/ipykernels` makes their environments."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

#: The last of each line that is supported.
ALL = ("6.31.0", "7.0.1", "7.1.0", "7.2.0", "7.3.0", "7.4.0")
#: These stop answering by themselves now and then, also without us (docs/reference.md): a test
#: would fail for that. `make full` has them, too.
STALLING = ("7.0.1", "7.3.0")

_REPOSITORY = Path(__file__).resolve().parents[3]


def tested() -> list[str]:
    """Return those that the tests run beside the one that is installed."""
    return [each for each in ALL if each not in STALLING and each != version("ipykernel")]


def python(wanted: str) -> Path:
    """Return the interpreter that has that ipykernel."""
    if wanted == version("ipykernel"):
        return Path(sys.executable)
    found = _REPOSITORY / ".venv" / "ipykernels" / wanted / "bin" / "python"
    assert found.exists(), f"ipykernel {wanted} is missing: scripts/ipykernels {wanted}"
    return found


def register(data: Path, wanted: str) -> str:
    """Make a kernel of that version known in a Jupyter data folder, and return its name."""
    name = f"ipykernel-{wanted}"
    spec = {
        "argv": [str(python(wanted)), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"ipykernel {wanted}",
        "language": "python",
    }
    folder = data / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return name


if __name__ == "__main__":
    print(*(tested() if sys.argv[1:] == ["tested"] else ALL))
