"""What a verb needs of the place it was typed in: a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chutes_jupyter.commands.arguments import Resolve


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
    resolve : callable, optional
        Returns what a notebook expression is worth; None in a terminal.
    """

    write: Callable[[str], object]
    prog: str = "jupyter chute"
    find: Callable[[str], Any] | None = None
    resolve: Resolve | None = None

    @property
    def in_notebook(self) -> bool:
        """Whether job functions are looked up by name."""
        return self.find is not None

    def say(self, line: str = "") -> None:
        """Show one line."""
        self.write(line + "\n")
