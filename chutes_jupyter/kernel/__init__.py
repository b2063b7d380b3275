"""The notebook's side: magics and the panel. It parses, shows and delegates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load(shell: InteractiveShell) -> None:
    """Register the magics, the way a job is shown, and the way our errors are shown."""
    from chutes_jupyter.kernel import display, errors, magics

    magics.register(shell)
    display.register(shell)
    errors.register()


def unload(shell: InteractiveShell) -> None:
    """Undo what `load` did; jobs and panels that are there go on."""
    from chutes_jupyter.kernel import display, errors, magics

    magics.unregister(shell)
    display.unregister(shell)
    errors.unregister()
