"""The widget that a panel is: its traits, and messages both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
from traitlets import Dict, List, Unicode

from chutes_jupyter.kernel import frontend, pump

if TYPE_CHECKING:
    from collections.abc import Callable


class PanelWidget(anywidget.AnyWidget):
    """What the front end sees of a job; the kernel alone sets it."""

    _esm = frontend.script()
    _css = frontend.style()
    #: What is known of the job, see `view.facts`.
    job: Any = Dict().tag(sync=True)
    ports: Any = List().tag(sync=True)
    undeclared: Any = List().tag(sync=True)
    files: Any = Dict().tag(sync=True)
    progress: Any = Dict(allow_none=True, default_value=None).tag(sync=True)
    metrics: Any = Dict().tag(sync=True)
    usage: Any = List().tag(sync=True)
    #: The tab that is open at first; empty for none.
    opened: Any = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        # It stands in the notebook for who can't draw a widget: nbconvert, GitHub. The record,
        # which is displayed below, tells them more.
        return ""


def answer_while_busy(widget: anywidget.AnyWidget) -> None:
    """Let a widget's messages arrive while a cell runs.

    In front ends without subshells a wait of ours takes them, see `pump`. With subshells:
    ipykernel 7.4 sends a comm's messages back to the shell that last published on it: for a
    widget made by a cell that is the main shell, which is busy. `default` is the subshell on
    which the front end sent the message.
    """
    pump.panels.add(widget.comm.comm_id)
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda _data, default: default


def on_message(widget: anywidget.AnyWidget, take: Callable[[dict[str, Any]], None]) -> None:
    """Call `take` with each message of the front end, on whatever thread that comes."""

    def taken(_widget: object, content: object, _buffers: object) -> None:
        if isinstance(content, dict):
            take(content)

    widget.on_msg(taken)
