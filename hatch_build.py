"""Has the built front end in what is built of this package, or says what it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = "labextension/dist"
SHARED = "share/jupyter/labextensions/chutes-jupyter"
#: Set to anything, it leaves the sidebar out.
WITHOUT = "CHUTES_NO_FRONTEND"


class FrontEnd(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the front end where that was not done, and puts it where JupyterLab looks."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Name what a build needs beside node, where there will be one."""
        return ["jupyter-builder>=1.2"] if not self._built and shutil.which("node") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare one distribution."""
        # An installation for work has a link instead: scripts/frontend makes it.
        if version == "editable" or os.environ.get(WITHOUT):
            return
        if not self._built:
            self._build()
        if self.target_name == "wheel":
            build_data["shared_data"][BUILT] = SHARED

    @property
    def _built(self) -> bool:
        return (Path(self.root) / BUILT / "static" / "style.js").exists()

    def _build(self) -> None:
        if not shutil.which("node") or not shutil.which("jlpm"):
            raise SystemExit(
                "This checkout has no built front end, and building it takes Node.js 20.19 or "
                f"newer: install that, or set {WITHOUT}=1 to go without JupyterLab's sidebar "
                "(released wheels and sdists have it built)."
            )
        for command in (["jlpm", "install", "--immutable"], ["jlpm", "build:prod"]):
            subprocess.run(command, cwd=Path(self.root) / "labextension", check=True)
