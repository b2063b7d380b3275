"""``key=value`` of a magic's line: Python literals, ``$variable`` and ``{expression}``."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from chutes_jupyter.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OPENING, _CLOSING = "([{", ")]}"
_VARIABLE = re.compile(r"\$([^\W\d]\w*)")
_EXAMPLE = 'epochs=3 name="a text" rate=$rate size={2 * n}'


def split_line(line: str) -> list[str]:
    """Cut a magic's line at the spaces outside quotes and brackets.

    Raises
    ------
    SpecError
        If a quote is never closed.
    """
    words, word, depth, position = [], "", 0, 0
    while position < len(line):
        character = line[position]
        if character in "\"'":
            end = _end_of_string(line, position)
            word += line[position:end]
            position = end
            continue
        if character.isspace() and depth == 0:
            words.append(word)
            word = ""
        else:
            depth = max(0, depth + (character in _OPENING) - (character in _CLOSING))
            word += character
        position += 1
    return [each for each in [*words, word] if each]


def _end_of_string(line: str, start: int) -> int:
    """Return the position after the quoted text that begins at `start`."""
    quote = line[start] * 3 if line.startswith(line[start] * 3, start) else line[start]
    position = start + len(quote)
    while position < len(line):
        if line[position] == "\\":
            position += 2
        elif line.startswith(quote, position):
            return position + len(quote)
        else:
            position += 1
    raise SpecError("the line", line, f"the quote {quote} is never closed", _EXAMPLE)


def unquote(word: str) -> str:
    """Return an option's word without the quotes that it may be written in."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'":
        value = ast.literal_eval(word)
        return value if isinstance(value, str) else word
    return word


def parse_job_data(words: Iterable[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job data that ``key=value`` words describe.

    Parameters
    ----------
    words : iterable of str
        Each a key, ``=`` and a value, as `split_line` cut them.
    names : mapping
        The notebook's names, for ``$variable`` and ``{expression}``.

    Raises
    ------
    SpecError
        If a word is no ``key=value``, a key is given twice, or a value can't be read.
    """
    data: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise SpecError("job data", word, "must be key=value, no spaces around =", _EXAMPLE)
        if key in data:
            raise SpecError(key, text, "is given twice", _EXAMPLE)
        data[key] = _value(key, text, names)
    return data


def _value(key: str, text: str, names: Mapping[str, Any]) -> Any:
    # A literal first: {"a": 1} is a dict, not an expression in braces.
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    variable = _VARIABLE.fullmatch(text)
    if variable:
        if variable[1] not in names:
            raise SpecError(key, text, f"the notebook has no variable {variable[1]!r}", _EXAMPLE)
        return names[variable[1]]
    if text.startswith("{") and text.endswith("}"):
        return _expression(key, text, names)
    rule = "must be a Python literal, $variable or {expression}; a text needs quotes"
    raise SpecError(key, text, rule, _EXAMPLE)


def _expression(key: str, text: str, names: Mapping[str, Any]) -> Any:
    """Evaluate ``{expression}``, or a dict or set that names variables."""
    for source in (text[1:-1].strip(), text):
        try:
            code = compile(source, f"<{key}>", "eval")
        except (SyntaxError, ValueError):
            continue
        try:
            return eval(code, dict(names))  # noqa: S307  # the person's own expression
        except Exception as error:
            rule = f"could not be evaluated: {type(error).__name__}: {error}"
            raise SpecError(key, text, rule, _EXAMPLE) from error
    raise SpecError(key, text, "is not a Python expression", _EXAMPLE)
