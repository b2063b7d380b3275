"""The panel of a job: a widget that a thread of its own keeps up to date."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import display

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.kernel import render
from chutes_jupyter.kernel.view import View
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from chutes_jupyter.job import Job

#: The shortest time between two updates, in seconds.
PAUSE = 0.2
#: How often the elapsed time moves while nothing else does.
TICK = 1.0

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
        below = [parts[name] for name in ("ports", "files", "notices", "ending")]
        children = [style, top, parts["bar"], log_box, *below]
        return widgets.VBox(children).add_class("chutes-panel")

    def show(self) -> None:
        """Display the panel, and below it the record that is saved with the notebook."""
        display(self.widget)
        view = View.of(self._job)
        self._record = display(_Record(view.summary), display_id=True)
        if view.state in TERMINAL and not view.arriving:
            return
        name = f"chutes_jupyter panel {self._job.label}"
        threading.Thread(target=self._follow, name=name, daemon=True).start()

    def _follow(self) -> None:
        """Keep the panel up to date until the job and its files are there."""
        unsubscribe = self._job.subscribe(self._changed.set)
        try:
            while True:
                self._changed.clear()
                view = self._update()
                if view.state in TERMINAL and not view.arriving:
                    break
                time.sleep(PAUSE)
                self._changed.wait(TICK - PAUSE)
            self._record.update(_Record(view.summary))
        except Exception:
            # A fault of the panel is no fault of the job; it must not vanish with the thread.
            _log.exception("the panel of %s stopped", self._job.label)
        finally:
            unsubscribe()

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
        clock = render.clock(view.elapsed, view.timeout)
        return {
            "head": render.head(view.state, view.label, view.worker, clock),
            "bar": render.bar(view.elapsed, view.timeout),
            "log": render.log(view.log) if self._with_log else "",
            "ports": render.ports(view.ports),
            "files": render.files(view.files, view.folder),
            "notices": render.notices(view.notices, self._fault),
            "ending": render.ending(view.state, view.reason, view.value),
        }

    def _set_button(self, view: View) -> None:
        over = view.state in TERMINAL or view.state in ("cancelling", "collecting")
        words = {"cancelling": "Cancelling…"}
        sent = "Cancel sent" if self._cancel_sent and not over else "Cancel"
        self._cancel.description = words.get(view.state, sent)
        self._cancel.disabled = over or self._cancel_sent

    def _clicked(self, _button: widgets.Button) -> None:
        """Cancel the job; that it is being cancelled is said when the worker confirmed it."""
        with self._lock:
            if self._cancel_sent:
                return
            self._cancel_sent, self._fault = True, ""
        self._update()
        try:
            self._job.cancel()
        except ChuteError as error:
            with self._lock:
                self._cancel_sent, self._fault = False, f"Not cancelled: {error}"
        self._update()


_PARTS = ("head", "bar", "log", "ports", "files", "notices", "ending")


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
