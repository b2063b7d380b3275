"""What names mean here, and where what they mean can be imported from."""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import bodies
from chutes_jupyter.sources import Source, function_source, import_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.capture import CapturedCode

__all__ = ["MISSING", "defined", "import_of", "look_up", "role", "unwraps", "wrapped_in"]

#: The worker has the name by itself.
MISSING = object()
#: So many values of closures are looked at for the function that a decorator got.
_CLOSURES = 50


def look_up(name: str, code: CapturedCode) -> Any:
    """Return what a name means in some code, or `MISSING` where the worker has it by itself."""
    if name in code.parts:
        return code.parts[name].value
    if name in code.closure:
        return code.closure[name]
    value = code.namespace.get(name, MISSING)
    builtin = getattr(builtins, name, MISSING)
    if builtin is MISSING or value is MISSING:
        return value
    inner = inspect.unwrap(value) if callable(value) else value
    # IPython puts its own `open`, `exit` and `quit` among a notebook's names.
    same = inner is builtin or type(value).__module__.startswith("IPython.")
    return MISSING if same else value


def unwraps(value: object) -> bool:
    """Whether a value says itself that it stands for a function, without asking what it is."""
    return callable(value) and "__wrapped__" in getattr(value, "__dict__", {})


def wrapped_in(value: object, is_home: Callable[[object], bool]) -> types.FunctionType | None:
    """Return the decorated function of the notebook that a module's function has in its closure.

    So it is where a decorator does without ``functools.wraps``, which would say what it wraps.
    """
    rest, seen = [value], 0
    while rest and seen < _CLOSURES:
        function = rest.pop()
        seen += 1
        if not isinstance(function, types.FunctionType):
            continue
        if function is not value and is_home(function):
            # Only what its own statement made can be made again by that.
            made = function.__globals__.get(function.__name__) is value
            source = function_source(function, function.__name__) if made else None
            return function if source is not None and source.decorators else None
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # not bound yet
                rest.append(cell.cell_contents)
    return None


def role(value: object) -> str:
    """Return what a value of ours is: ``chute``, ``job`` or nothing."""
    return str(getattr(type(value), "__chute_role__", ""))


def import_of(value: object, name: str) -> str | None:
    """Return the statement that imports a value from where it says it is."""
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    for module in (getattr(value, "__module__", None), type(value).__module__):
        for attribute in (qualname, name):
            if _is_at(value, module, attribute):
                return import_from(str(module), str(attribute), name)
    return None


def _is_at(value: object, module: str | None, attribute: str | None) -> bool:
    """Whether ``module.attribute`` is that value, in a module that can be imported."""
    if not module or not attribute or module == "__main__" or "<" in attribute:
        return False
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        found = inspect.getattr_static(found, part, None)
        if found is None:
            return False
    return found is value


def defined(source: Source | None) -> str:
    """Return the name of the class that some source defines."""
    if source is None:
        return ""
    node = bodies.parse(source.text, source.filename).body[-1]
    return node.name if isinstance(node, ast.ClassDef) else ""
