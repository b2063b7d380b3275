"""Which notebook this is, and what became of its jobs; without loading anything heavy."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chutes_jupyter.store import JobRecord

#: VS Code names its sessions after the notebook, with this and a number that changes.
_OF_VSCODE = "-jvsc-"
_NAMED = 3
#: A state that was confirmed longer ago than this says so, in seconds.
_FRESH = 60.0
#: Another process may be writing the store: loading does not wait for it longer than this.
_PATIENCE = 0.1

#: nbformat's rule for the id of a cell.
_LONGEST_ID = 64

_log = logging.getLogger(__name__)


def notebook_path(namespace: Mapping[str, object]) -> str:
    """Return what a notebook or script is known by: its path, or else the working directory.

    Parameters
    ----------
    namespace : mapping
        Its names.
    """
    session = os.environ.get("JPY_SESSION_NAME", "") if "In" in namespace else ""
    known = (
        session if _OF_VSCODE not in session else "",  # a Jupyter server
        namespace.get("__vsc_ipynb_file__"),  # VS Code
        namespace.get("__file__"),
    )
    found = next((path for path in known if isinstance(path, str) and path), None)
    # The slash at its end tells a folder from a notebook.
    return found or str(Path.cwd()).rstrip("/") + "/"


def cell_id(namespace: Mapping[str, object]) -> str | None:
    """Return the id of the cell that runs, as JupyterLab sends it and the notebook's file keeps it.

    It stays when the cell runs again. None where there is no cell, or nobody tells its id.

    Parameters
    ----------
    namespace : mapping
        A notebook's names.
    """
    # A method of IPython's shell; it is not called, since the name may be another's.
    shell = getattr(namespace.get("get_ipython"), "__self__", None)
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    header = kernel.get_parent("shell")
    metadata = header.get("metadata") if isinstance(header, dict) else None
    found = metadata.get("cellId") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) and len(found) <= _LONGEST_ID else None


def report(namespace: Mapping[str, object]) -> str:
    """Return a line about the jobs of a notebook that live, or ended since it was last told.

    It is empty where there are none. Only what this machine knows is looked at: no worker is
    asked, so a state may be old, and then says so.
    """
    from chutes_jupyter.config import state_dir
    from chutes_jupyter.errors import ConfigError
    from chutes_jupyter.store import FILE_NAME, Store

    path = state_dir() / FILE_NAME
    if not path.exists():
        return ""
    store = Store(path, patience=_PATIENCE)
    try:
        found = store.news(notebook_path(namespace))
        ended = [record.id for record in found if record.ended_for_good]
        if ended:
            store.tell(ended)
    except ConfigError as error:
        _log.info("the jobs of this notebook can't be told: %s", error)
        return ""
    finally:
        store.close()
    return _line(found, time.time())


def _line(found: Sequence[JobRecord], now: float) -> str:
    if not found:
        return ""
    # What lives first: that is what a person may have to see to.
    ordered = sorted(found, key=lambda record: record.ended_for_good)
    told = [_told(record, now) for record in ordered[:_NAMED]]
    if len(ordered) > _NAMED:
        told.append(f"and {len(ordered) - _NAMED} more: %chute jobs")
    advice = f'open one with chutes_jupyter.attach("{ordered[0].label}")'
    return f"chutes: {', '.join(told)}; {advice}"


def _told(record: JobRecord, now: float) -> str:
    state = record.state.replace("_", " ")
    if record.ended_for_good:
        when = f" {_ago(now - record.ended)}" if record.ended else ""
        # These two are no verbs.
        verb = "was " if record.state in ("cancelled", "lost") else ""
        return f"{record.label} {verb}{state}{when}"
    if record.confirmed is None:
        return f"{record.label} was submitted to {record.worker} {_ago(now - record.created)}"
    age = now - record.confirmed
    if age <= _FRESH:
        return f"{record.label} is {state} on {record.worker}"
    return f"{record.label} was {state} on {record.worker} {_ago(age)}"


def _ago(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
