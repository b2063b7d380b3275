"""The table of jobs of ``%chute jobs``, in front ends that show widgets."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

import anywidget
from IPython.display import display
from traitlets import List

from chutes_jupyter import portal
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ChuteError
from chutes_jupyter.job import attach
from chutes_jupyter.kernel import answers, frontend
from chutes_jupyter.kernel.panel import Panel
from chutes_jupyter.kernel.widget import answer_while_busy, on_message
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.store import JobRecord

#: The newest so many jobs are in the table.
MOST = 1000


class JobsWidget(anywidget.AnyWidget):
    """What the front end sees of the jobs."""

    _esm = frontend.script("jobs")
    _css = frontend.style()
    rows: Any = List().tag(sync=True)

    def __repr__(self) -> str:
        # It stands in the notebook for who can't draw a widget.
        return "The table of jobs was here: %chute jobs shows it again."


class JobTable:
    """The table, and below it the panel of the job that was opened last."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._place: Any = None
        self._busy = threading.Lock()
        self.widget = JobsWidget(rows=self._rows(refresh=False))
        answer_while_busy(self.widget)
        on_message(self.widget, self._asked)

    def show(self) -> None:
        """Display it, and a place for a panel."""
        show: Callable[..., Any] = display  # IPython's has no types
        show(self.widget)
        empty = {"text/plain": "", "text/html": ""}
        self._place = show(empty, raw=True, display_id=True)
        self._start(self._refresh)

    def _rows(self, *, refresh: bool) -> list[dict[str, Any]]:
        found, _ = portal.call(current_client().list_records, refresh=refresh, limit=MOST)
        now = time.time()
        return [_row(record, now) for record in found]

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        run = self._context.copy().run
        threading.Thread(
            target=run, args=(function, *args), name="chutes_jupyter jobs", daemon=True
        ).start()

    def _asked(self, message: dict[str, Any]) -> None:
        if message.get("do") == "refresh":
            self._start(self._refresh)
        elif message.get("do") in ("open", "cancel"):
            self._send({"re": message.get("id"), "heard": True})
            self._start(self._answer, message)

    def _send(self, content: dict[str, Any]) -> None:
        self._context.copy().run(self.widget.send, content)

    def _refresh(self) -> None:
        if not self._busy.acquire(blocking=False):
            return  # a worker that is slow to answer is asked once
        try:
            self.widget.rows = self._rows(refresh=True)
        finally:
            self._busy.release()

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            job = attach(str(message.get("job")), mirror=False)
            if message["do"] == "cancel":
                job.cancel(timeout=None)
            else:
                Panel(job).show_at(self._place)
        except ChuteError as error:
            self._send({"re": message.get("id"), "problem": answers.problem(error)})
        else:
            self._send({"re": message.get("id"), "body": {}})


def _row(record: JobRecord, now: float) -> dict[str, Any]:
    elapsed = None
    if record.started is not None:
        live = record.state not in TERMINAL
        until = record.ended or (now if live else record.confirmed or record.started)
        elapsed = max(0.0, until - record.started)
    notebook = (record.notebook or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return {
        "id": record.id,
        "label": record.label,
        "state": record.state,
        "reason": record.reason,
        "worker": record.worker,
        "created": record.created,
        "started": record.started,
        "elapsed": elapsed,
        "notebook": notebook,
        "confirmed_ago": None if record.confirmed is None else now - record.confirmed,
    }
