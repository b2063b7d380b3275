"""The Pythons of this machine: the agent runs on the oldest and the newest of them."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST = (3, 8)
#: The newest must be newer than this, which the notebook side needs anyway.
BASE = (3, 11)
MINORS = range(8, 16)

Version = tuple[int, int]
#: Where scripts/interpreters makes them.
_ENVIRONMENTS = Path(__file__).resolve().parents[1] / ".venv" / "workers"


@functools.cache
def interpreters() -> dict[Version, Path]:
    """Return one interpreter of each minor version from 3.8 on, oldest first."""
    found: dict[Version, Path] = {}
    for path in [*_of_pyenv(), *_of_path()]:
        version = _version(path)
        if version is not None and version >= OLDEST:
            found.setdefault(version, path)
    return dict(sorted(found.items()))


def oldest() -> Path:
    """Return a Python 3.8, the oldest that the agent supports; without one the test fails."""
    if OLDEST not in interpreters():
        raise AssertionError(f"Python 3.8 is missing; {_how(OLDEST)}")
    return interpreters()[OLDEST]


def newest() -> Path:
    """Return the newest Python, newer than 3.11; without one the test fails."""
    version, path = max(interpreters().items(), default=(BASE, Path()))
    if version <= BASE:
        raise AssertionError(f"A Python newer than 3.11 is missing; {_how((3, 13))}")
    return path


def corpus() -> dict[Version, Path]:
    """Return the Pythons of the corpus: the oldest from 3.9 on, and the newest."""
    old = min(version for version in interpreters() if version >= (3, 9))
    new = max(interpreters())
    return {version: interpreters()[version] for version in (old, new)}


def with_libraries(version: Version) -> Path:
    """Return a Python of that version that has the corpus's libraries, or the test fails."""
    python = _ENVIRONMENTS / f"{version[0]}.{version[1]}" / "bin" / "python"
    if not (python.parents[1] / ".installed").exists():
        raise AssertionError(f"{python} is missing: run scripts/interpreters")
    return python


def _how(version: Version) -> str:
    have = ", ".join(f"{major}.{minor}" for major, minor in interpreters())
    return f"there are: {have or 'none'}. Install one: pyenv install {version[0]}.{version[1]}"


def _pyenv_roots() -> list[Path]:
    roots = [Path(value) for value in [os.environ.get("PYENV_ROOT")] if value]
    if pyenv := shutil.which("pyenv"):
        told = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        roots += [Path(line) for line in told.stdout.split("\n")[:1] if line]
    import pwd

    # Not ~: the tests have a home of their own.
    return [*roots, Path(pwd.getpwuid(os.getuid()).pw_dir) / ".pyenv"]


def _of_pyenv() -> list[Path]:
    folders = [folder for root in _pyenv_roots() for folder in (root / "versions").glob("3.*")]
    named = [folder for folder in folders if re.fullmatch(r"3\.\d+\.\d+", folder.name)]
    return [folder / "bin" / "python" for folder in sorted(named)]


def _of_path() -> list[Path]:
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    path = os.pathsep.join(place for place in places if "shims" not in place)
    names = [f"python3.{minor}" for minor in MINORS]
    return [Path(found) for name in names if (found := shutil.which(name, path=path))]


def _version(path: Path) -> Version | None:
    command = [str(path), "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return None
    words = told.stdout.split()
    return (int(words[0]), int(words[1])) if told.returncode == 0 and len(words) == 2 else None


if __name__ == "__main__":
    for (major, minor), found in corpus().items():
        print(f"{major}.{minor}", found)
