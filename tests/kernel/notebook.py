"""A real kernel, as a front end would use it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

PATIENCE = 60.0


@dataclass
class Outcome:
    """What came of one cell."""

    status: str = ""
    stdout: str = ""
    stderr: str = ""
    #: The mime bundles that were shown, `Out[n]` included; updates in place.
    shown: list[dict[str, Any]] = field(default_factory=list)
    #: The text of the traceback.
    error: str = ""
    error_type: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)

    @property
    def value(self) -> str:
        """The plain text of what was shown last."""
        return str(self.shown[-1]["text/plain"]) if self.shown else ""


class Notebook:
    """One kernel, and a client of it."""

    def __init__(self, manager: KernelManager, faults: Path) -> None:
        self.manager, self.faults = manager, faults
        self.client: BlockingKernelClient = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def stacks(self) -> str:
        """Return where every thread of the kernel is."""
        self.manager.signal_kernel(signal.SIGUSR1)
        time.sleep(2)  # it answers in a signal handler of C: nothing says when
        return self.faults.read_text()

    def run(self, code: str, *, fails: bool = False, cell_id: str | None = None) -> Outcome:
        """Run a cell to its end."""
        return self.finish(self.start(code, cell_id=cell_id), fails=fails)

    def start(self, code: str, *, cell_id: str | None = None) -> Running:
        """Send a cell; it runs."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        metadata = {"cellId": cell_id} if cell_id else {}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return Running(self, message["header"]["msg_id"])

    def finish(self, running: Running, *, fails: bool = False) -> Outcome:
        outcome = running.wait()
        assert (outcome.status == "error") is fails, outcome
        return outcome


class Running:
    """A cell that runs, and what it has shown so far."""

    def __init__(self, notebook: Notebook, number: str) -> None:
        self.notebook, self.number = notebook, number
        self.outcome = Outcome()
        self.over = False

    def until(self, text: str) -> None:
        """Wait until the cell has printed a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.outcome.stdout and not self.over:
            self._next(deadline)
        assert text in self.outcome.stdout, self.outcome

    def wait(self) -> Outcome:
        deadline = time.monotonic() + PATIENCE
        while not self.over:
            self._next(deadline)
        return self.outcome

    def _next(self, deadline: float) -> None:
        if time.monotonic() >= deadline:
            stacks = self.notebook.stacks()
            raise AssertionError(
                f"the cell takes too long: {self.outcome}; the kernel is at\n{stacks}"
            )
        with contextlib.suppress(queue.Empty):
            message = self.notebook.client.get_iopub_msg(timeout=1)
            if message["parent_header"].get("msg_id") == self.number:
                self._take(message["msg_type"], message["content"])

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        outcome = self.outcome
        if kind == "stream":
            setattr(outcome, content["name"], getattr(outcome, content["name"]) + content["text"])
        elif kind in ("execute_result", "display_data"):
            outcome.shown.append(content["data"])
        elif kind == "update_display_data":
            outcome.updates.append(content["data"])
        elif kind == "error":
            outcome.status, outcome.error_type = "error", content["ename"]
            outcome.error = "\n".join(content["traceback"])
        elif kind == "status" and content["execution_state"] == "idle":
            outcome.status = outcome.status or "ok"
            self.over = True


@contextlib.contextmanager
def open_notebook(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Notebook]:
    """Start a kernel in a folder, with the extension loaded, and end it."""
    manager = KernelManager(kernel_name="python3")
    faults = folder / ".faults"
    # An expression: no name of it is among the person's.
    watch = (
        f"__import__('faulthandler').register({int(signal.SIGUSR1)}, open({str(faults)!r}, 'w'))"
    )
    manager.start_kernel(
        cwd=str(folder),
        env={**os.environ, **(env or {})},
        extra_arguments=[f"--IPKernelApp.exec_lines={watch}"],
    )
    try:
        notebook = Notebook(manager, faults)
        notebook.run("%load_ext chutes_jupyter")
        yield notebook
        notebook.client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
