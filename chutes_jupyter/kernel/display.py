"""How a job is shown: a live panel where a front end can show one, elsewhere its record."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from chutes_jupyter import portal
from chutes_jupyter.kernel import pump

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from chutes_jupyter.job import Job

_HOME, _CLASS = "chutes_jupyter.job", "Job"
#: The run of a cell and the job whose panel was shown last.
_last: tuple[int, str] | None = None


def register(shell: InteractiveShell) -> None:
    """Show jobs as panels where that can be, and as records where only HTML can be."""
    formatter = shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]

    def show(job: Job) -> None:
        if panels_work(shell):
            show_panel(shell, job)
        elif hasattr(shell, "kernel"):
            # A notebook that runs unattended, or one that is not known to have widgets.
            show_record(job)
        else:
            # IPython then goes on to the next formatter, which is that of plain text.
            raise NotImplementedError

    formatter.for_type_by_name(_HOME, _CLASS, show)
    if hasattr(shell, "kernel"):
        portal.while_waiting(lambda: pump.pumping(shell.kernel))


def unregister(shell: InteractiveShell) -> None:
    """Show jobs as plain text again."""
    portal.while_waiting(None)
    formatter = shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]
    formatter.deferred_printers.pop((_HOME, _CLASS), None)
    job = sys.modules.get(_HOME)
    if job is not None:
        formatter.type_printers.pop(getattr(job, _CLASS), None)


def panels_work(shell: InteractiveShell) -> bool:
    """Whether a person looks at this kernel through a front end that shows widgets.

    A notebook that runs unattended (nbclient, papermill) has a kernel too, but a widget in it
    would be saved as one that nothing can draw.
    """
    if not hasattr(shell, "kernel") or find_spec("anywidget") is None:
        return False
    names: dict[str, Any] = shell.user_ns
    return (
        "JPY_SESSION_NAME" in os.environ  # JupyterLab and Notebook: a session of the server
        or "__vsc_ipynb_file__" in names  # VS Code
        or "google.colab" in sys.modules
    )


def show_panel(shell: InteractiveShell, job: Job, *, log: bool = True) -> None:
    """Display the job's panel below the cell, once in each run of a cell.

    Parameters
    ----------
    shell : InteractiveShell
        The kernel's shell.
    job : Job
        What to show.
    log : bool
        Whether the panel shows the end of the log; not where the cell prints it anyway.
    """
    global _last
    from chutes_jupyter.kernel.panel import Panel

    here = (shell.execution_count, job.id)
    if here != _last:
        _last = here
        Panel(job, log=log).show()


def show_record(job: Job) -> None:
    """Display what is known of the job as plain HTML, which is renewed until it has ended."""
    from chutes_jupyter.kernel import view
    from chutes_jupyter.kernel.keeper import Keeper

    keeper = Keeper(job)
    if view.over(job):
        keeper.show_whole()
        return
    keeper.show()
    keeper.follow()
