"""What a verb needs of the place it was typed in: a terminal or a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands.arguments import parse_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def ask_hidden(prompt: str) -> str:
    """Ask whoever sits there, without showing what is typed; in a notebook, too."""
    import getpass

    # Looked up late: in a notebook, the kernel has put its own way there.
    return getpass.getpass(prompt)


@dataclass(frozen=True)
class Surroundings:
    """Where a verb was typed.

    Parameters
    ----------
    write : callable
        Shows text exactly as it is given, line ends included.
    prog : str
        What is typed before a verb; it is shown in help and advice.
    find : callable, optional
        Returns the job function of a name; None in a terminal, where files name them.
    read_data : callable, optional
        Returns the job data that ``key=value`` words write; in a notebook these may name its
        variables.
    submitted : callable, optional
        Called with a job that was just submitted, before anything waits for it.
    beside : callable, optional
        Shows text that is not part of the answer (stderr); `write` where it is not given.
    ask : callable, optional
        Shows a question and returns what the person answers, or None if it turns out that
        nobody is there. None where nobody can be asked.
    secret : callable, optional
        Asks a person for a secret, with these words, and returns it.
    signs : bool
        Whether what is shown may hold more than ASCII.
    """

    write: Callable[[str], object]
    prog: str = "jupyter chute"
    find: Callable[[str], Any] | None = None
    read_data: Callable[[Sequence[str]], dict[str, Any]] = parse_data
    submitted: Callable[[Any], object] | None = None
    ask: Callable[[str], str | None] | None = None
    secret: Callable[[str], str] = ask_hidden
    beside: Callable[[str], object] | None = None
    signs: bool = True

    @property
    def in_notebook(self) -> bool:
        """Whether job functions are looked up by name."""
        return self.find is not None

    def remark(self, line: str) -> None:
        """Show one line beside what was asked for: where outputs are piped, it stays out."""
        (self.beside or self.write)(line + "\n")

    def say(self, line: str = "") -> None:
        """Show one line."""
        self.write(line + "\n")
