"""The panel of a job: a widget that a thread of its own keeps up to date."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import display

from chutes_jupyter.commands import tables
from chutes_jupyter.errors import ChuteError
from chutes_jupyter.kernel import render
from chutes_jupyter.kernel.logtail import MAX_LINES, shown
from chutes_jupyter.kernel.view import View
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.job import Job

#: The shortest time between two updates, in seconds.
PAUSE = 0.2
#: How often the elapsed time moves while nothing else does.
TICK = 1.0

_PARTS = ("head", "bar", "log", "ports", "files", "sent", "notices", "ending")
#: The states in which there is nothing to cancel any more.
_ENDING = TERMINAL | {"cancelling", "collecting"}

_log = logging.getLogger(__name__)


class Panel:
    """The live panel of one job.

    Widgets are made by the caller's thread, the kernel's main one. Afterwards only traits are
    set, and those from the panel's own thread and from the one that a click arrives on: what
    is printed or displayed from there would end up under whichever cell runs.

    Parameters
    ----------
    job : Job
        What to show.
    log : bool
        Whether to show the end of its log.
    """

    def __init__(self, job: Job, *, log: bool = True) -> None:
        self._job, self._with_log = job, log
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._cancel_sent = False
        self._fault = ""
        self._value: str | None = None
        self._end_of_log: str | None = None
        self._record: Any = None
        self._parts = {name: widgets.HTML() for name in _PARTS}
        self._cancel = widgets.Button(description="Cancel", tooltip=f"Cancel {job.label}")
        self._cancel.on_click(self._clicked)
        _answer_while_busy(self._cancel)
        self.widget = self._arranged()
        self._update()

    def _arranged(self) -> widgets.VBox:
        parts = self._parts
        parts["head"].add_class("chutes-head")
        top = widgets.HBox([parts["head"], self._cancel]).add_class("chutes-top")
        # The box around the log scrolls: it stays while the text in it is replaced, and so
        # does the place to which the person has scrolled.
        log_box = widgets.Box([parts["log"]]).add_class("chutes-log-box")
        self._log_box = log_box
        style = widgets.HTML(render.STYLE).add_class("chutes-style")
        below = [parts[name] for name in ("ports", "files", "sent", "notices", "ending")]
        children = [style, top, parts["bar"], log_box, *below]
        return widgets.VBox(children).add_class("chutes-panel")

    def show(self) -> None:
        """Display the panel, and below it the record that is saved with the notebook."""
        show: Callable[..., Any] = display  # IPython's has no types
        show(self.widget)
        self._record = show(_Record(View.of(self._job).summary), display_id=True)
        self._start(self._follow)

    def _start(self, function: Callable[[], None]) -> None:
        name = f"chutes_jupyter panel {self._job.label}"
        threading.Thread(target=function, name=name, daemon=True).start()

    def _follow(self) -> None:
        """Keep the panel up to date until the job and its files are there."""
        unsubscribe = self._job.subscribe(self._changed.set)
        try:
            while not self._update().over:
                time.sleep(PAUSE)
                self._changed.wait(TICK - PAUSE)
                self._changed.clear()
            self._finish()
        except Exception:  # noqa: BLE001  # a fault of the panel must not vanish with its thread
            _log.exception("the panel of %s stopped", self._job.label)
        finally:
            unsubscribe()

    def _finish(self) -> None:
        """Show what is known only now: the log's very end, and what the function returned."""
        self._record.update(_Record(self._update().summary))
        try:
            if self._with_log:
                self._end_of_log = "".join(self._job.logs(follow=True, tail=MAX_LINES))
            withheld = self._job.withheld
            value = None if withheld else self._job.value
            self._value = withheld if value is None else tables.value(value)
        except ChuteError as error:
            self._fault = str(error)
        self._update()

    def _update(self) -> View:
        """Set what changed, and return what was seen."""
        view = View.of(self._job)
        with self._lock:
            for name, html in self._pieces(view).items():
                # Traits send only what differs from before.
                self._parts[name].value = html
            self._log_box.layout.display = None if self._parts["log"].value else "none"
            self._set_button(view)
        return view

    def _pieces(self, view: View) -> dict[str, str]:
        clock = render.clock(view.state, view.elapsed, view.timeout)
        return {
            "head": render.head(view.state, view.label, view.worker, clock, view.reason),
            "bar": render.bar(view.state, view.elapsed, view.timeout),
            "log": render.log(self._log_text(view)),
            "ports": render.ports(view.ports),
            "files": render.files(view.files, view.folder),
            "sent": render.sent(view.sent),
            "notices": render.notices(view.notices, (view.trouble, view.outputs, self._fault)),
            "ending": render.ending(view.state, view.reason, self._value),
        }

    def _log_text(self, view: View) -> str:
        if not self._with_log:
            return ""
        return view.log if self._end_of_log is None else shown(self._end_of_log)

    def _set_button(self, view: View) -> None:
        # What was clicked is said at once; that it happens, once the worker confirmed it.
        word = "Cancel"
        if view.state == "cancelling":
            word = "Cancelling…"
        elif self._cancel_sent and view.state not in _ENDING:
            word = "Cancel sent" if not view.trouble else "Cancel waits"
        self._cancel.description = word
        self._cancel.disabled = self._cancel_sent or view.state in _ENDING

    def _clicked(self, _button: widgets.Button) -> None:
        with self._lock:
            if self._cancel_sent:
                return
            self._cancel_sent, self._fault = True, ""
        self._update()
        # A worker that can't be reached keeps this waiting: not on the thread of all clicks.
        self._start(self._send_cancel)

    def _send_cancel(self) -> None:
        try:
            self._job.cancel(timeout=None)
        except ChuteError as error:
            with self._lock:
                self._cancel_sent, self._fault = False, f"Not cancelled: {error}"
        self._update()


class _Record:
    """One line, as plain text and HTML: what a reopened notebook still shows of a job."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return render.record(self.text)


def _answer_while_busy(widget: widgets.Widget) -> None:
    """Let a widget's clicks arrive while a cell runs.

    ipykernel 7.4 sends a comm's messages back to the shell that last published on it: for a
    widget made by a cell that is the main shell, which is busy. `default` is the subshell on
    which the front end sent the click.
    """
    if hasattr(widget.comm, "_reply_subshell_for"):
        widget.comm._reply_subshell_for = lambda _data, default: default
