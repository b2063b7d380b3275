"""Which files git is told to leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from pathlib import Path

#: What lies at the top of a project.
_TOPS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


class Ignored:
    """Reads the .gitignore files of projects, each once."""

    def __init__(self) -> None:
        self._specs: dict[Path, GitIgnoreSpec | None] = {}
        self._tops: dict[Path, Path] = {}

    def is_ignored(self, path: Path) -> bool:
        """Whether a file or folder of a project is left out; what is around it is not asked."""
        top = self._top(path.parent)
        verdict = False
        slash = "/" if path.is_dir() else ""
        for folder in reversed(path.parents):
            if folder != top and top not in folder.parents:
                continue
            spec = self._spec(folder)
            if spec is not None:
                found = spec.check_file(path.relative_to(folder).as_posix() + slash).include
                # The file that is nearer has the last word.
                verdict = verdict if found is None else found
        return verdict

    def _top(self, folder: Path) -> Path:
        """Return the folder of the project, up to which .gitignore files count."""
        if folder not in self._tops:
            around = [folder, *folder.parents]
            tops = [each for mark in _TOPS for each in around if (each / mark).exists()]
            self._tops[folder] = tops[0] if tops else folder
        return self._tops[folder]

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            file = folder / ".gitignore"
            spec = None
            if file.is_file():
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
                spec = GitIgnoreSpec.from_lines(lines)
            self._specs[folder] = spec
        return self._specs[folder]
