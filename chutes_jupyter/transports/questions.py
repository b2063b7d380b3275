"""What a person is asked while a login is under way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """Something that a person is to be asked, or told.

    Parameters
    ----------
    prompt : str
        The words, which the worker may have chosen.
    kind : str
        ``secret``, ``confirm`` (the answer is yes or no) or ``notice`` (there is no answer).
    """

    prompt: str
    kind: str = "secret"
