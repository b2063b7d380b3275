"""The source of what a notebook, a script or a module defines, with its file and lines.

Unlike `inspect`, this finds the classes of a notebook and lambdas in the middle of a line.
Cells are in `linecache`, where IPython puts them, and in the list ``In``.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import sys
import types
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How IPython in a terminal names a cell.
_IPYTHON_FILE = re.compile(r"<ipython-input-(\d+)-[0-9a-f]+>")


@dataclass(frozen=True)
class Source:
    """Some lines of a file or of a cell.

    Parameters
    ----------
    text : str
        The lines, indented as they are there.
    filename : str
        The file's path, or ``In[7]``.
    first_line : int
        The number of the first of them.
    decorators : tuple of ast.expr
        The decorators of the function or class, the outermost first.
    """

    text: str
    filename: str
    first_line: int
    decorators: tuple[ast.expr, ...] = ()


def function_source(function: types.FunctionType, name: str) -> Source | None:
    """Return the source that defines a function, or None where there is none.

    Parameters
    ----------
    function : function
        One made by ``def`` or ``lambda``.
    name : str
        What it is called here: a lambda's source becomes ``name = lambda …``.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    tree = _parse(text)
    if tree is None:
        return None
    label = _label(code.co_filename, text, function.__globals__)
    if code.co_name == "<lambda>":
        return _lambda_source(tree, text, code, label, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first == code.co_firstlineno:
                return _lines(text, label, first, node)
    return None


def class_source(cls: type, namespace: Mapping[str, Any]) -> Source | None:
    """Return the source that defines a class, or None where there is none."""
    line = cls.__dict__.get("__firstlineno__")  # Python 3.13 and newer
    replaced = None
    for label, text in _class_files(cls, namespace):
        found = None
        for node in _classes(_parse(text), cls.__qualname__):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            methods = {
                _mangled(node.name, part.name)
                for part in node.body
                if isinstance(part, ast.FunctionDef)
            }
            if not methods <= set(vars(cls)):
                continue
            if line in (None, first):
                found = _lines(text, label, first, node)
            elif node.decorator_list and replaced is None:
                # One of them may have made another class of it, on a line of its own.
                replaced = _lines(text, label, first, node)
        if found is not None:
            return found
    return replaced


def _mangled(cls: str, name: str) -> str:
    """Return what a class calls a method of that name: ``_C__own`` for ``__own``."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{cls.lstrip('_')}{name}" if private else name


def assignment_source(name: str, namespace: Mapping[str, Any]) -> Source | None:
    """Return the newest statement ``name = something(…)`` at the top level."""
    for label, text in _files(namespace):
        for node in reversed(_top_level(_parse(text))):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            target = node.targets[0]
            if len(node.targets) == 1 and isinstance(target, ast.Name) and target.id == name:
                return _lines(text, label, node.lineno, node)
    return None


def import_statement(name: str, value: object, namespace: Mapping[str, Any]) -> str | None:
    """Return the statement ``from module import x as name`` of the notebook that gave `value`."""
    for _, text in _files(namespace):
        for node in ast.walk(_parse(text) or ast.Module([], [])):
            if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
                continue
            module = sys.modules.get(node.module)
            for alias in node.names:
                given = alias.asname or alias.name
                if given == name and getattr(module, alias.name, None) is value:
                    return import_from(node.module, alias.name, name)
    return None


def import_from(module: str, attribute: str, name: str) -> str:
    """Return the statement that binds `name` to an attribute of a module."""
    first, dot, rest = attribute.partition(".")
    statement = f"from {module} import {first}"
    if first != name or dot:
        statement += f" as {name}"
    return f"{statement}; {name} = {name}.{rest}" if dot else statement


@lru_cache(maxsize=64)
def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _top_level(tree: ast.Module | None) -> list[ast.stmt]:
    return tree.body if tree else []


def _lines(text: str, label: str, first: int, node: ast.stmt) -> Source:
    lines = text.split("\n")[first - 1 : node.end_lineno]
    decorators = tuple(getattr(node, "decorator_list", ()))
    return Source("\n".join(lines) + "\n", label, first, decorators)


def _lambda_source(
    tree: ast.Module, text: str, code: types.CodeType, label: str, name: str
) -> Source | None:
    """Return ``name = lambda …`` for the innermost lambda that holds all of the code."""
    places = {
        ((line, column), (last, end))
        for line, last, column, end in code.co_positions()
        if line and last and column is not None and end  # the others are of no expression
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Lambda) or node.lineno != code.co_firstlineno:
            continue
        start = (node.body.lineno, node.body.col_offset)
        end = (node.body.end_lineno or 0, node.body.end_col_offset or 0)
        segment = ast.get_source_segment(text, node)
        if segment and all(start <= first and last <= end for first, last in places):
            found.append((len(segment), segment))
    if not found:
        return None
    return Source(f"{name} = ({min(found)[1]})\n", label, code.co_firstlineno)


def _classes(tree: ast.Module | None, qualname: str) -> Iterator[ast.ClassDef]:
    """Yield the class statements of that qualified name, in order."""

    def search(node: ast.AST, path: str) -> Iterator[ast.ClassDef]:
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, ast.ClassDef):
                inner = path + child.name
                if inner == qualname:
                    yield child
                inner += "."
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{path}{child.name}.<locals>."
            yield from search(child, inner)

    if tree is not None:
        yield from search(tree, "")


def _class_files(cls: type, namespace: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the label and text of files that may define a class, the likeliest first."""
    for value in vars(cls).values():
        function = inspect.unwrap(value) if callable(value) else value
        if not isinstance(function, types.FunctionType):
            continue
        if function.__qualname__ == f"{cls.__qualname__}.{function.__name__}":
            path = function.__code__.co_filename
            text = "".join(linecache.getlines(path, function.__globals__))
            if text:
                yield _label(path, text, namespace), text
    yield from _files(namespace)


def _files(namespace: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the label and text of the notebook's cells, the newest first, or of the file."""
    cells = namespace.get("In")
    if isinstance(cells, list):
        for number in range(len(cells) - 1, 0, -1):
            if isinstance(cells[number], str):
                yield f"In[{number}]", cells[number]
    path = namespace.get("__file__")
    if isinstance(path, str):
        linecache.checkcache(path)
        text = "".join(linecache.getlines(path))
        if text:
            yield path, text


def _label(path: str, text: str, namespace: Mapping[str, Any]) -> str:
    """Return what people call the file: the cell's number, where it is a cell."""
    terminal = _IPYTHON_FILE.fullmatch(path)
    if terminal:
        return f"In[{terminal[1]}]"
    cells = namespace.get("In")
    if isinstance(cells, list):
        for number in range(len(cells) - 1, 0, -1):
            if isinstance(cells[number], str) and cells[number].strip() == text.strip():
                return f"In[{number}]"
    return path
