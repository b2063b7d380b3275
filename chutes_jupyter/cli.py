"""The program `jupyter-chute`, which Jupyter runs for ``jupyter chute …``.

Its exit status: 0 for success, 1 for a job that did not succeed or anything else that went
wrong, 2 for words that are wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.errors import ChuteError, JobFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, WRONG_WORDS, INTERRUPTED = 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words on the command line say, and return the exit status."""
    try:
        return _execute(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read on (`| head`) has enough. Nothing may be flushed there at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _execute(words: Sequence[str]) -> int:
    try:
        asked = _ask if sys.stdin.isatty() and sys.stdout.isatty() else None
        execute(words, Surroundings(_write, ask=asked, beside=_remark, signs=_shows_signs()))
    except UsageError as error:
        return _complain(error, WRONG_WORDS)
    except ChuteError as error:
        return _complain(error, FAILED)
    finally:
        _close()
    return 0


def _close() -> None:
    # Here and not when the interpreter ends: its thread pools would be gone by then.
    if "chutes_jupyter.job" in sys.modules:
        from chutes_jupyter.job import close_client

        close_client()


def _write(text: str) -> None:
    # At once: what a job prints is followed live, and through pipes.
    sys.stdout.write(text)
    sys.stdout.flush()


def _ask(question: str) -> str | None:
    try:
        return input(question)
    except EOFError:
        _write("\n")
        return None


def _shows_signs() -> bool:
    try:
        "✓✗…→±".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _remark(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _complain(error: ChuteError, status: int) -> int:
    kind = "" if isinstance(error, UsageError | JobFailed) else f"{type(error).__name__}: "
    sys.stderr.write(f"{kind}{error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
