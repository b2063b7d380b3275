"""The verbs of `jupyter chute …` and of `%chute …`: one parser, one meaning.

Both hand their words to `execute`, with a way to write text and, in a notebook, ways to find
a job function and to read job data.
"""

from __future__ import annotations

from chutes_jupyter.commands.dispatch import execute
from chutes_jupyter.commands.surroundings import Surroundings

__all__ = ["Surroundings", "execute"]
