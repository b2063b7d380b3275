"""Functions and classes as source with what source alone does not have.

That is the cells of a closure, the values of defaults, and what a decorator put on a function:
it is taken as it is now, by value, and the decorators and default expressions that made it are
not run again.
"""

from __future__ import annotations

import ast
import builtins
import functools
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import bodies
from chutes_jupyter.capture import CapturedCode, Part, from_source, rebinds
from chutes_jupyter.errors import CaptureError
from chutes_jupyter.names import Names, find_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from chutes_jupyter.sources import Source

__all__ = [
    "Parts",
    "bare_function",
    "generated",
    "local_class",
    "pickled",
    "remade",
    "wrapped_function",
]

_NO_CELL: Any = object()


class Parts:
    """Collects the parts of one definition.

    Parameters
    ----------
    hide : callable
        Returns the hidden name that stands for an object, the same one each time.
    shown : callable
        Returns what people call the definition.
    where : str
        Where it is used.
    namespace : mapping
        The globals around that.
    """

    def __init__(
        self,
        hide: Callable[[object], str],
        shown: Callable[[], str],
        where: str,
        namespace: Mapping[str, Any],
    ) -> None:
        self._hide, self.shown = hide, shown
        self.where, self.namespace = where, namespace
        self.found: dict[str, Part] = {}

    def take(self, value: Any, suffix: str | Callable[[], str], key: object = _NO_CELL) -> str:
        """Return the hidden name of a part; `key` is what makes it the same part elsewhere."""
        name = self._hide(value if key is _NO_CELL else key)

        def shown() -> str:
            return self.shown() + (suffix if isinstance(suffix, str) else suffix())

        self.found[name] = Part(value, shown, self.where)
        return name

    def cell(self, variable: str, cell: types.CellType) -> str:
        """Return the hidden name of what a cell holds."""
        try:
            return self.take(cell.cell_contents, f"'s {variable}", cell)
        except ValueError:  # not bound yet: it can't be read here either
            return self._hide(cell)


def bare_function(
    name: str, source: Source, function: types.FunctionType, parts: Parts
) -> CapturedCode:
    """Return a function as it is now, without running what decorated it."""
    code = function.__code__
    cells = {
        variable: parts.cell(variable, cell)
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
    }
    sets = {
        attribute: parts.take(value, f".{attribute}")
        for attribute in ("__defaults__", "__kwdefaults__", "__dict__")
        if (value := getattr(function, attribute))
    }
    named = {"__name__": function.__name__, "__qualname__": function.__qualname__}
    if isinstance(function.__doc__, str):
        named["__doc__"] = function.__doc__
    behind = {*cells.values(), *sets.values()}
    tree = bodies.parse(source.text, source.filename, source.first_line)
    stripped = bool(source.decorators or function.__defaults__ or function.__kwdefaults__)
    bodies.strip(tree)
    more: dict[str, Any] = {}
    if cells or sets or stripped:
        more = {"bare": True, "cells": cells, "sets": sets, "named": named}
    defines = name if code.co_name == "<lambda>" else code.co_name
    made = from_source("def", name, source, function, defines=defines, closed=False)
    return _with(made, own_names(find_names(tree), cells, parts, behind), parts, more)


def wrapped_function(
    name: str, source: Source, function: types.FunctionType, parts: Parts
) -> CapturedCode:
    """Return a function whose decorators, of a library, run again around it."""
    code = function.__code__
    cells = {}
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if variable == "__class__" or rebinds(function, variable):
            raise CaptureError(
                f"{function.__qualname__} is decorated by a library, and "
                f"{'calls super()' if variable == '__class__' else f'changes {variable!r}'} of "
                "what is around it. Define it at the top level."
            )
        cells[variable] = parts.cell(variable, cell)
    made = from_source("def", name, source, function, defines=code.co_name, closed=False)
    if "<locals>" in function.__qualname__:
        _check_around(made.names, {*cells}, function.__globals__, "a decorator of it")
    names = own_names(made.names, cells, parts, set())
    return _with(made, names, parts, {"cells": cells} if cells else {})


def local_class(
    name: str, source: Source, cls: type, namespace: Mapping[str, Any], parts: Parts
) -> CapturedCode:
    """Return a class that is defined inside a function."""
    cells = {}
    for method in _methods(cls):
        for variable, cell in zip(
            method.__code__.co_freevars, method.__closure__ or (), strict=True
        ):
            if variable == "__class__":
                continue
            if rebinds(method, variable):
                raise CaptureError(
                    f"{method.__qualname__} changes {variable!r} (nonlocal), which belongs to "
                    "what is around the class. Keep it on the instance or the class."
                )
            itself = _content(cell) is cls
            cells[variable] = name if itself else parts.cell(variable, cell)
    tree = bodies.parse(source.text, source.filename, source.first_line)
    node = tree.body[-1]
    bases: list[str] = []
    if not isinstance(node, ast.ClassDef):
        raise CaptureError("its source is no class statement")
    if "__orig_bases__" not in vars(cls) and len(node.bases) == len(cls.__bases__):
        bases = [parts.take(base, "'s base") for base in cls.__bases__]
        node.bases = [ast.Name(base, ast.Load(), lineno=1, col_offset=0) for base in bases]
    named = {"__qualname__": cls.__qualname__}
    more = {"cells": cells, "bases": bases, "named": named}
    made = from_source(
        "def", name, source, None, namespace=namespace, defines=cls.__name__, closed=False
    )
    names = find_names(tree)
    _check_around(names, {*cells, *bases, cls.__name__}, namespace, "its body")
    return _with(made, own_names(names, cells, parts, {*cells.values()}), parts, more)


def remade(name: str, value: Any, parts: Parts) -> CapturedCode | None:
    """Return how to make again what `functools` made of functions, or None for other things."""
    if isinstance(value, functools._lru_cache_wrapper):
        options: dict[str, Any] = getattr(value, "cache_parameters", dict)()
        inner = parts.take(value.__wrapped__, ".__wrapped__")
        maker = f'__import__("functools").lru_cache(**{options!r})'
        return generated(name, f"{name} = {maker}({inner})\n", parts)
    if not isinstance(value, types.FunctionType):
        return None
    if value.__globals__ is vars(functools) and hasattr(value, "registry"):
        lines: list[str] = []
        for number, (kind, function) in enumerate(value.registry.items()):
            hidden = parts.take(function, f".registry[{number}]")
            if kind is object:
                lines.insert(0, f'{name} = __import__("functools").singledispatch({hidden})')
            else:
                lines.append(f"{name}.register({parts.take(kind, '.registry')}, {hidden})")
        return generated(name, "\n".join(lines) + "\n", parts)
    if "__class__" in value.__code__.co_freevars:
        cell = (value.__closure__ or ())[value.__code__.co_freevars.index("__class__")]
        for attribute, found in vars(_content(cell)).items():
            if found is value:
                owner = parts.take(cell.cell_contents, ".__class__")
                return generated(name, f"{name} = {owner}.{attribute}\n", parts)
    return None


def generated(name: str, source: str, parts: Parts) -> CapturedCode:
    """Return a definition that we wrote."""
    names = find_names(ast.parse(source))
    return CapturedCode("def", name, source, "", 1, names, parts.namespace, parts=parts.found)


def pickled(
    name: str, data: bytes, references: Iterable[str], parts: Parts, *, empty: str = ""
) -> CapturedCode:
    """Return a pickle as a definition, with the names that stand in it.

    `empty` is the expression of its container without anything in it, for what may be filled.
    """
    names = Names(now=dict.fromkeys(references, 0))
    more = {"data": data, "shown": parts.shown(), "empty": empty}
    around = parts.namespace
    return CapturedCode("pickle", name, "", "", 1, names, around, parts=parts.found, more=more)


def _with(code: CapturedCode, names: Names, parts: Parts, more: Mapping[str, Any]) -> CapturedCode:
    return replace(code, names=names, parts=parts.found, more=more)


def own_names(names: Names, cells: Mapping[str, str], parts: Parts, behind: set[str]) -> Names:
    """Replace the variables of functions around by what stands for them.

    What a cell or an attribute holds (`behind`) may be made later; a base or a type may not.
    """
    for found in (names.now, names.perhaps, names.later):
        for variable in cells:
            found.pop(variable, None)
    for hidden in parts.found:
        (names.later if hidden in behind else names.now).setdefault(hidden, 0)
    return names


def _check_around(names: Names, known: set[str], namespace: Mapping[str, Any], where: str) -> None:
    for name in names.now:
        if name not in known and name not in namespace and not hasattr(builtins, name):
            raise CaptureError(
                f"{where} uses {name!r} of the function around it, of which nothing is left. "
                "Define it at the top level."
            )


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _NO_CELL


def _methods(cls: type) -> Iterator[types.FunctionType]:
    for value in vars(cls).values():
        parts = [value, getattr(value, "__func__", None)]
        parts += [getattr(value, part, None) for part in ("fget", "fset", "fdel")]
        yield from (part for part in parts if isinstance(part, types.FunctionType))
