"""The panel of a job: a widget that a thread of its own keeps up to date."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.display import display

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.kernel import answers, ending, view
from chutes_jupyter.kernel.keeper import Keeper
from chutes_jupyter.kernel.pour import Pour
from chutes_jupyter.kernel.widget import PanelWidget, answer_while_busy, on_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.job import Job

#: The shortest time between two updates, in seconds; with the log's that is a dozen a second.
PAUSE = 0.3
#: How often a panel that has nothing new says that it lives, in seconds.
BEAT = 5.0
#: The shortest time between two listings of the files, in seconds.
FILES_PAUSE = 1.0

_log = logging.getLogger(__name__)


class Panel:
    """The live panel of one job.

    The widget is made by the caller's thread, the kernel's main one. Afterwards only traits are
    set and messages sent, from the panel's own thread, the background one, and those that the
    front end's messages arrive on: what is printed or displayed from there would end up under
    whichever cell runs.

    Parameters
    ----------
    job : Job
        What to show.
    log : bool
        Whether its log is open at first.
    """

    def __init__(self, job: Job, *, log: bool = True) -> None:
        self._job = job
        # Kernels 7.0 to 7.2 look for the cell that a message belongs to in the sender's context.
        self._context = contextvars.copy_context()
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._extra: dict[str, Any] = {
            "cancel_sent": False, "fault": "", "value": None, "traceback": "", "withheld": None
        }  # fmt: skip
        self._files_at = 0.0
        #: When each display that was sent was made.
        self._displayed: dict[int, float] = {}
        self._record: Keeper | None = None
        self.widget = PanelWidget(
            job={**view.facts(job), **self._extra},
            ports=view.ports(job),
            undeclared=job.undeclared,
            files=view.files(job),
            progress=view.progress(job._live.readings),
            metrics=view.metrics(job._live.readings),
            usage=view.usage(job._live.readings),
            opened="log" if log else "",
        )
        self._pour = Pour(job._live, self._send)
        answer_while_busy(self.widget)
        on_message(self.widget, self._asked)

    def show(self) -> None:
        """Display the panel, and with it the record that is saved with the notebook."""
        show: Callable[..., Any] = display  # IPython's has no types
        show(self.widget)
        self._record = Keeper(self._job)
        self._record.show()
        self._start(self._follow)

    def show_at(self, handle: Any) -> None:
        """Display the panel in place of what a display handle shows, without a record."""
        handle.update(self.widget)
        self._start(self._follow)

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        name = f"chutes_jupyter panel {self._job.label}"
        run = self._context.copy().run
        threading.Thread(target=run, args=(function, *args), name=name, daemon=True).start()

    # -- what the front end is told ---------------------------------------------------

    def _follow(self) -> None:
        """Keep the panel up to date until the job and its files are there."""
        unsubscribe = self._job.subscribe(self._changed.set, tail=False)
        try:
            while not view.over(self._job):
                self._update()
                if self._record is not None:
                    self._record.renew()
                time.sleep(PAUSE)
                if not self._changed.wait(BEAT - PAUSE):
                    self._send({"beat": True, "elapsed": self._job.elapsed})
                self._changed.clear()
            self._finish()
        except Exception:  # noqa: BLE001  # a fault of the panel must not vanish with its thread
            _log.exception("the panel of %s stopped", self._job.label)
        finally:
            unsubscribe()

    def _finish(self) -> None:
        """Show what is known only now: what the function returned, or raised."""
        self._update(whole=True)
        try:
            self._extra.update(ending.of(self._job))
        except ChuteError as error:
            self._extra["fault"] = str(error)
        self._update(whole=True)
        if self._record is not None:
            self._record.renew()  # at once: a kernel may be restarted, a notebook saved
        view.settle(self._changed, lambda: self._update(whole=True))
        if self._record is not None:
            self._record.finish(self._extra["value"])

    def _update(self, *, whole: bool = False) -> None:
        """Set the traits that differ."""
        job, widget, now = self._job, self.widget, time.monotonic()
        known = job._readings()
        with self._lock, widget.hold_sync():
            facts = {**view.facts(job), **self._extra}
            if whole or _news(facts, widget.job):
                widget.job = facts
            widget.ports = view.ports(job)
            widget.undeclared = job.undeclared
            widget.progress = view.progress(known)
            widget.metrics = view.metrics(known)
            widget.usage = view.usage(known)
            if whole or now - self._files_at >= FILES_PAUSE:
                self._files_at = now
                widget.files = view.files(job)
        self._send_displays()

    def _send_displays(self, *, again: bool = False) -> None:
        found = self._job._live.readings.displays
        with self._lock:
            before = {} if again else self._displayed
            self._displayed = {each.number: each.at for each in found}
        for each in found:
            if before.get(each.number) != each.at:
                self._send({"display": view.shown(each)})

    def _send(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        self._context.copy().run(self.widget.send, content, buffers)

    # -- what the front end asks ------------------------------------------------------

    def _asked(self, message: dict[str, Any]) -> None:
        """Take a message, on whatever thread; nothing here waits."""
        act = message.get("do")
        name = str(message.get("view"))[:64]
        if act == "log":
            self._pour.start(name, _offset(message.get("begin")), _offset(message.get("earlier")))
        elif act == "pause":
            self._pour.stop(name)
        elif act == "ready":
            self._send({"beat": True, "elapsed": self._job.elapsed})
            self._start(partial(self._send_displays, again=True))
        elif isinstance(act, str):
            self._send({"re": message.get("id"), "heard": True})
            self._start(self._answer, act, message)

    def _answer(self, act: str, message: dict[str, Any]) -> None:
        number = message.get("id")
        if act == "cancel":
            self._say(cancel_sent=True, fault="")
        try:
            body = answers.answer(self._job, act, message)
        except (ChuteError, OSError) as error:
            if act == "cancel":
                self._say(cancel_sent=False)
            self._send({"re": number, "problem": answers.problem(error)})
        else:
            self._send({"re": number, "body": body})

    def _say(self, **extra: Any) -> None:
        self._extra.update(extra)
        self._update(whole=True)


def _offset(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _news(facts: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether there is more to tell than that time passes, which the front end knows."""
    passing = ("elapsed", "confirmed")
    return any(before.get(name) != value for name, value in facts.items() if name not in passing)
