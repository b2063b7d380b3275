"""What the interpreter of a worker must have for a job: modules, and a syntax that is new enough.

The syntax is looked at here, by the Python that the notebook runs on. Python's own parser tells
for some of it in which version it came; the rest is known by how its tree looks, or its tokens.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from typing import TYPE_CHECKING, Any, NamedTuple

from chutes_jupyter.agent import bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NOTHING", "Needs", "NewSyntax", "new_syntax"]

Version = tuple[int, int]
#: The oldest Python that the agent runs on: what it knows is known everywhere.
_OLDEST: Version = (3, 8)
_SINCE = re.compile(r"(.+?) (?:is|are) only supported in Python 3\.(\d+) and greater")


class NewSyntax(NamedTuple):
    """Something in a job's code that older Pythons can't read.

    Parameters
    ----------
    since : (int, int)
        The first Python that can.
    what : str
        What it is, for people.
    file : str
        Where it is.
    line : int
        Its line there.
    """

    since: Version
    what: str
    file: str
    line: int


class Needs(NamedTuple):
    """What a job needs of the interpreter that it runs on.

    Parameters
    ----------
    modules : frozenset of str
        The top-level names of installed modules that it can't do without.
    perhaps : frozenset of str
        Those that it imports in a function or a branch, which may never run.
    code : tuple of (str, str, int)
        Its code: each source with where that is from and the number of its first line.
    """

    modules: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    code: tuple[tuple[str, str, int], ...] = ()

    @property
    def any(self) -> bool:
        """Whether an interpreter may lack something of it."""
        return bool(self.modules or self.perhaps) or any(new_syntax(*each) for each in self.code)

    def too_new(self, python: str, worker: str) -> list[str]:
        """Return a sentence for each place that a worker's interpreter is too old for.

        Parameters
        ----------
        python : str
            The version of the interpreter: ``3.9.18``.
        worker : str
            The worker's name.
        """
        numbers = re.findall(r"\d+", python)[:2]
        version = tuple(map(int, numbers))
        if len(version) < 2 or version >= sys.version_info[:2]:
            return []
        return [
            f"{each.file} line {each.line}: {each.what} can be read by Python "
            f"{each.since[0]}.{each.since[1]} and newer, and the jobs of {worker} run on Python "
            f"{python}. Write it otherwise, or choose another interpreter "
            f"(worker add {worker} --python PATH)."
            for source, filename, first_line in self.code
            for each in new_syntax(source, filename, first_line)
            if version < each.since
        ]


#: Any interpreter will do.
NOTHING = Needs()


def new_syntax(source: str, filename: str, first_line: int = 1) -> list[NewSyntax]:
    """Return what in some source is newer than the oldest Python of workers, by its lines.

    Parameters
    ----------
    source : str
        Module code, indented or not, that the Python here can read.
    filename, first_line
        Where it is from.
    """
    tree = bodies.parse(source, filename, first_line)
    lines = source.split("\n")
    found: list[tuple[Version, str, int]] = []
    for node in ast.walk(tree):
        found += ((since, what, line) for since, what, line in _of_node(node, lines, first_line))
    indented = any(line.strip() for line in lines) and bodies.is_indented(source)
    text = f"if 1:\n{source}" if indented else source
    shift = first_line - (2 if indented else 1)
    known = {since for since, _, _ in found}
    found += ((v, what, line + shift) for v, what, line in _of_parser(text) if v not in known)
    found += (((3, 12), what, line + shift) for what, line in _of_strings(text))
    first = {(line, since): what for since, what, line in reversed(found)}  # one a line
    return [NewSyntax(since, what, filename, line) for (line, since), what in sorted(first.items())]


def _of_parser(text: str) -> Iterator[tuple[Version, str, int]]:
    """Yield the first of each version of what Python's parser knows the age of."""
    version = _OLDEST
    while True:
        try:
            ast.parse(text, feature_version=version)
        except SyntaxError as error:
            match = _SINCE.match(error.msg or "")
            if match is None or (3, int(match[2])) <= version:
                return
            version = (3, int(match[2]))
            what = match[1][0].lower() + match[1][1:]
            yield version, what, error.lineno or 1
        else:
            return


def _of_node(node: ast.AST, lines: list[str], first: int) -> Iterator[tuple[Version, str, int]]:
    """Yield what a node of the tree is, where its kind or its place is a newer one."""
    kind = type(node).__name__
    line = getattr(node, "lineno", first)
    if kind in _NODES:
        yield (*_NODES[kind], line)
    for parameter in getattr(node, "type_params", ()):
        yield (3, 12), "type parameters", line
        if getattr(parameter, "default_value", None) is not None:
            yield (3, 13), "the default of a type parameter", parameter.lineno
    for decorator in getattr(node, "decorator_list", ()):
        if not _is_dotted(decorator.func if isinstance(decorator, ast.Call) else decorator):
            yield (3, 9), "a decorator that is more than a name or a call", decorator.lineno
    if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Starred):
        yield (3, 11), "a starred annotation", line
    for since, what, part in _open_tuples(node):
        text = lines[part.lineno - first] if part.lineno - first < len(lines) else ""
        if text.encode()[part.col_offset : part.col_offset + 1] != b"(":
            yield since, what, part.lineno


_NODES: dict[str, tuple[Version, str]] = {
    "Match": ((3, 10), "a match statement"),
    "TryStar": ((3, 11), "except*"),
    "TypeAlias": ((3, 12), "a type statement"),
    "TemplateStr": ((3, 14), "a template string"),
}


def _open_tuples(node: ast.AST) -> Iterator[tuple[Version, str, ast.Tuple]]:
    """Yield tuples that older Pythons want in parentheses."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        if any(isinstance(part, ast.Starred) for part in node.slice.elts):
            yield (3, 11), "a star in an index", node.slice
    elif isinstance(node, ast.For | ast.AsyncFor) and isinstance(node.iter, ast.Tuple):
        if any(isinstance(part, ast.Starred) for part in node.iter.elts):
            yield (3, 9), "a star in what a loop goes over", node.iter
    elif isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
        yield (3, 14), "except with several types and no parentheses", node.type


def _is_dotted(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _of_strings(text: str) -> Iterator[tuple[str, int]]:
    """Yield what fields of f-strings have that they may have since Python 3.12.

    Older Pythons here would not have read it, and their tokens know nothing of fields.
    """
    start = getattr(tokenize, "FSTRING_START", None)
    if start is None:
        return
    quotes: list[str] = []
    # Not splitlines: Python's lines end at newlines alone, whatever else is in a string.
    lines = io.StringIO(text, newline="\n")
    for token in tokenize.generate_tokens(lines.readline):
        if quotes and (what := _in_field(token, quotes)):
            yield what, token.start[0]
        if token.type == start:
            quotes.append(token.string.lstrip("rRfFtTbBuU"))
        elif token.type == tokenize.FSTRING_END:  # type: ignore[attr-defined]  # Python 3.12
            quotes.pop()


def _in_field(token: Any, quotes: list[str]) -> str:
    """Return what is new about a token in an f-string that has begun, or ""."""
    if token.type in (tokenize.FSTRING_MIDDLE, tokenize.FSTRING_END):  # type: ignore[attr-defined]
        return ""
    if any(quote in token.string for quote in quotes):
        return "an f-string with its own quotes inside"
    if "\\" in token.string:
        return "a backslash inside of an f-string's field"
    if token.type == tokenize.COMMENT:
        return "a comment inside of an f-string's field"
    if token.type == tokenize.NL and len(quotes[0]) == 1:
        return "an f-string's field over several lines"
    return ""
