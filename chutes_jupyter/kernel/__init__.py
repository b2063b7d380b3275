"""The notebook's side: magics and the panel. It parses, shows and delegates."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load(shell: InteractiveShell) -> None:
    """Register the magics and the ways jobs and our errors are shown; tell of its jobs."""
    from chutes_jupyter.kernel import display, errors, magics
    from chutes_jupyter.notebooks import report

    magics.register(shell)
    display.register(shell)
    errors.register()
    names: dict[str, object] = shell.user_ns
    if line := report(names):
        sys.stdout.write(line + "\n")


def unload(shell: InteractiveShell) -> None:
    """Undo what `load` did; jobs and panels that are there go on."""
    from chutes_jupyter.kernel import display, errors, magics

    magics.unregister(shell)
    display.unregister(shell)
    errors.unregister()
