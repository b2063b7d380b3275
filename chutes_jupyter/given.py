"""What a class was given besides what its statement says, and what is to be done about that.

Attributes that were set on it go along by value. Decorators that left nothing on the class are
not run again: what they changed elsewhere goes along with what they changed. Others are run
again there, and so is what a base class does to it.
"""

from __future__ import annotations

import ast
import types
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import bodies
from chutes_jupyter.capture import CapturedCode, from_source
from chutes_jupyter.definitions import own_names
from chutes_jupyter.names import find_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chutes_jupyter.definitions import Parts
    from chutes_jupyter.sources import Source

__all__ = ["changed_class", "undecorated", "without_sets"]

#: What every class statement gives its class.
_ALWAYS = frozenset(vars(type("_", (), {"__slots__": ()}))) | {
    "__annotations__",
    "__dict__",
    "__firstlineno__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__static_attributes__",
    "__type_params__",
    "__weakref__",
}


def undecorated(code: CapturedCode, cls: type, source: Source) -> CapturedCode:
    """Return a class's source without decorators, where they left nothing on the class."""
    tree = bodies.parse(code.source, code.filename, code.first_line)
    node = tree.body[-1]
    if type(cls) is not type or not isinstance(node, ast.ClassDef) or not node.decorator_list:
        return code
    if cls.__bases__ != (object,) and len(cls.__bases__) != len(node.bases):
        return code
    written = find_names(ast.Module(node.body, [])).bound
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    for name, value in vars(cls).items():
        if name in _ALWAYS:
            continue
        if _written(cls, name) not in written or not _is_from(value, lines):
            return code
    drop = len(node.decorator_list)
    return from_source(
        "def",
        code.name,
        source,
        None,
        namespace=code.namespace,
        drop=drop,
        defines=code.defines,
    )


def _is_from(value: object, lines: range) -> bool:
    """Whether an attribute may be what the statement made: its functions are of these lines."""
    if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
        return True
    functions = list(_functions(value))
    if callable(value) and not functions and not isinstance(value, type):
        return False  # something that wraps one, perhaps
    return all(each.__code__.co_firstlineno in lines for each in functions)


def _functions(value: Any) -> Iterator[types.FunctionType]:
    parts = [value, getattr(value, "__func__", None)]
    if isinstance(value, property):
        parts += [value.fget, value.fset, value.fdel]
    yield from (part for part in parts if isinstance(part, types.FunctionType))


def without_sets(code: CapturedCode, cls: type, refused: set[str]) -> CapturedCode | None:
    """Return a class's source without what can't travel, where that is made anew there.

    Decorators, the metaclass and base classes add attributes: these are there again when the
    statement has run.
    """
    tree = bodies.parse(code.source, code.filename, code.first_line)
    node = tree.body[-1]
    if not isinstance(node, ast.ClassDef):
        return None
    # Every class has the one of `object`.
    hook = any("__init_subclass__" in vars(base) for base in cls.__mro__[1:-1])
    if not (node.decorator_list or hook or node.keywords):
        return None
    written = find_names(ast.Module(node.body, [])).bound
    sets = {
        name: hidden
        for name, hidden in code.more["sets"].items()
        if hidden not in refused or _written(cls, name) in written
    }
    gone = {*code.more["sets"].values()} - {*sets.values()}
    parts = {name: part for name, part in code.parts.items() if name not in gone}
    later = {name: line for name, line in code.names.later.items() if name not in gone}
    names = replace(code.names, later=later)
    return replace(code, names=names, parts=parts, more={**code.more, "sets": sets})


def _written(cls: type, name: str) -> str:
    """Return how a class's own statement writes the name of an attribute."""
    return name.removeprefix(f"_{cls.__name__.lstrip('_')}") if "__" in name else name


def changed_class(code: CapturedCode, cls: type, parts: Parts) -> CapturedCode:
    """Return a class's source with what was set on the class after its statement had run."""
    tree = bodies.parse(code.source, code.filename, code.first_line)
    node = tree.body[-1]
    if type(cls) is not type or not isinstance(node, ast.ClassDef):
        return code
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return code  # `NamedTuple` gives it more than its statement says
    sets = {
        name: parts.take(value, f".{name}")
        for name, value in vars(cls).items()
        if _was_set(cls, name, value, node)
    }
    if not sets:
        return code
    names = own_names(code.names, {}, parts, {*sets.values()})
    return replace(code, names=names, parts=parts.found, more={**code.more, "sets": sets})


def _was_set(cls: type, name: str, value: Any, node: ast.ClassDef) -> bool:
    """Whether the class statement alone would not give the class this attribute."""
    if name.startswith("__") and name.endswith("__"):
        return False
    if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
        return False
    written = _written(cls, name)
    if written not in find_names(ast.Module(node.body, [])).bound:
        return True
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == written:
            plain = isinstance(value, types.FunctionType) and not statement.decorator_list
            return plain and value.__qualname__ != f"{cls.__qualname__}.{written}"
    for statement in reversed(node.body):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if any(isinstance(each, ast.Name) and each.id == written for each in targets):
            try:
                first = ast.literal_eval(statement.value)  # type: ignore[attr-defined]  # assigned
            except (ValueError, TypeError, SyntaxError):
                return False  # it is made anew, as the person wrote it
            return type(first) is not type(value) or first != value
    return False
