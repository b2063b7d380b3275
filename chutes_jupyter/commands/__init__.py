"""The verbs of `jupyter chute …` and of `%chute …`: one parser, one meaning.

Both hand their words to `execute`, with a way to write text and, in a notebook, ways to find
a job function and to work out an expression.
"""

from __future__ import annotations

from chutes_jupyter.commands.arguments import parse_data, parse_value, split_line
from chutes_jupyter.commands.dispatch import execute
from chutes_jupyter.commands.surroundings import Surroundings

__all__ = ["Surroundings", "execute", "parse_data", "parse_value", "split_line"]
