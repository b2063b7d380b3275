"""What a case of the corpus is: set-up cells, the cell itself, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """A cell as people write it.

    What it prints, what it raises, and the value of ``answer`` where it binds that, must be the
    same in the kernel and as a job.

    Parameters
    ----------
    cell : str
        The cell without a magic line.
    setup : tuple of str
        The cells that ran in the notebook before.
    since : tuple of int
        The first Python of a worker that knows this syntax or module.
    needs : tuple of str
        Packages that the worker must have; an interpreter without anything has none.
    refused : str
        Words of the refusal before the start, where it is none that a job could run.
    unread : str
        The same where the notebook's Python can read it, and the worker's can't.
    """

    cell: str
    setup: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 8)
    needs: tuple[str, ...] = ()
    refused: str = ""
    unread: str = ""

    @property
    def answers(self) -> bool:
        """Whether the cell binds ``answer``."""
        return "\nanswer" in f"\n{self.cell}"
