"""The magics: ``%%chute_job``, ``%%chute_startup`` and ``%chute``. They parse and delegate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
)

from chutes_jupyter.kernel import errors
from chutes_jupyter.notebooks import cell_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from chutes_jupyter.chute import JobFunction
    from chutes_jupyter.commands import Surroundings
    from chutes_jupyter.job import Job

_NAMES = {"line": ("chute", "chute_job"), "cell": ("chute_job", "chute_startup")}


def register(shell: InteractiveShell) -> None:
    """Add the magics to a shell."""
    shell.register_magics(ChuteMagics)


def unregister(shell: InteractiveShell) -> None:
    """Take the magics out of a shell."""
    for kind, names in _NAMES.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)


@magics_class
class ChuteMagics(Magics):
    """Declare jobs as cells, and see to them."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        #: The job that the running cell waits for.
        self._waited_for: Job | None = None

    @no_var_expand
    @line_cell_magic
    def chute_job(self, line: str, cell: str | None = None) -> Any:
        """Register the cell as a job function; see ``%chute_job --help``."""
        from chutes_jupyter.chute import cell_job, default_chute
        from chutes_jupyter.commands.arguments import HelpShown
        from chutes_jupyter.errors import UsageError
        from chutes_jupyter.kernel.options import parse_job_line

        try:
            asked = parse_job_line(line, self._names)
        except HelpShown as shown:
            _write(shown.text)
            return None
        if cell is None:
            raise UsageError("%%chute_job needs two %, and the job below it in the cell")
        where = self._cell_name()
        with errors.syntax_errors():
            function = cell_job(
                cell, asked.name, asked.options, self._names, default_chute(), where
            )
        self._names[asked.name] = function
        if not asked.run:
            return None
        words = ["run", asked.name, *(["--wait"] if asked.wait else [])]
        return self._execute(
            words,
            find=lambda _name: function,
            read_data=lambda _words: asked.job_data,
            submitted=self._submitted(wait=asked.wait, out=asked.out),
        )

    @no_var_expand
    @cell_magic
    def chute_startup(self, line: str, cell: str) -> None:
        """Register the cell as a start-up hook of the notebook's jobs."""
        from chutes_jupyter.chute import cell_hook, default_chute
        from chutes_jupyter.commands.arguments import HelpShown
        from chutes_jupyter.kernel.options import parse_startup_line

        try:
            asked = parse_startup_line(line)
        except HelpShown as shown:
            _write(shown.text)
            return
        key = asked.name or cell_id(self._names)
        where = self._cell_name()
        with errors.syntax_errors():
            cell_hook(cell, asked.priority, self._names, default_chute(), where, key)

    @no_var_expand
    @line_magic
    def chute(self, line: str) -> Any:
        """Run jobs on workers, and see to those that run; see ``%chute --help``."""
        from chutes_jupyter.kernel import display
        from chutes_jupyter.kernel.values import split_line, unquote

        words = [unquote(word) for word in split_line(line)] or ["--help"]
        if words == ["jobs"] and display.panels_work(self._shell):
            from chutes_jupyter.kernel.jobtable import JobTable

            return JobTable().show()
        wait = words[0] in ("run", "again") and "--wait" in words
        return self._execute(words, submitted=self._submitted(wait=wait))

    @property
    def _names(self) -> dict[str, Any]:
        """The notebook's names."""
        names: dict[str, Any] = self._shell.user_ns
        return names

    def _execute(self, words: Sequence[str], **surroundings: Any) -> Any:
        from chutes_jupyter.commands import execute

        try:
            return execute(words, self._surroundings(**surroundings))
        except KeyboardInterrupt as interrupt:
            # What goes on was said; a traceback of our frames would say nothing more.
            errors.shorten(interrupt, "KeyboardInterrupt")
            self._offer_cancel()
            raise
        finally:
            self._waited_for = None

    def _offer_cancel(self) -> None:
        """Let a second interrupt cancel the job that the cell waited for."""
        from chutes_jupyter.kernel import interrupts

        job, kernel = self._waited_for, getattr(self._shell, "kernel", None)
        if job is not None and not job.done() and interrupts.offer(kernel, job):
            _write(f"Interrupt again within {interrupts.SECONDS:.0f} s to cancel it.\n")

    def _surroundings(self, **changes: Any) -> Surroundings:
        from chutes_jupyter.commands import Surroundings
        from chutes_jupyter.kernel.values import parse_job_data

        defaults: dict[str, Any] = {
            "find": self._find,
            "read_data": lambda words: parse_job_data(words, self._names),
            "beside": _remark,
            "ask": _ask,
        }
        return Surroundings(_write, "%chute", **{**defaults, **changes})

    def _find(self, name: str) -> JobFunction:
        from chutes_jupyter.chute import JobFunction
        from chutes_jupyter.errors import UsageError

        found = self._names.get(name)
        if isinstance(found, JobFunction):
            return found
        there = {k for k, v in self._names.items() if isinstance(v, JobFunction)}
        known = ", ".join(sorted(key for key in there if not key.startswith("_"))) or "none yet"
        raise UsageError(f"{name!r} is no job function of this notebook; there are: {known}")

    def _submitted(self, *, wait: bool, out: str | None = None) -> Callable[[Job], None]:
        """Return what is to be done with a job before anything waits for it."""
        from chutes_jupyter.kernel import display

        def submitted(job: Job) -> None:
            if out:
                self._names[out] = job
            self._waited_for = job if wait else None
            if wait and display.panels_work(self._shell):
                # The cell prints the log itself; the panel is there for its Cancel button.
                display.show_panel(self._shell, job, log=False)

        return submitted

    def _cell_name(self) -> str:
        """Return what tracebacks call this cell."""
        # Not `execution_count`: when that moves on depends on IPython's version.
        inputs = self._names.get("In")
        return f"In[{len(inputs) - 1}]" if isinstance(inputs, list) and inputs else "In[?]"


def _ask(question: str) -> str | None:
    from IPython.core.error import StdinNotImplementedError

    try:
        return input(question)
    except (StdinNotImplementedError, EOFError):  # run without a person: nbclient, papermill
        return None


def _write(text: str) -> None:
    # At once: what a job prints is followed live.
    sys.stdout.write(text)
    sys.stdout.flush()


def _remark(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
