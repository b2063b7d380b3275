"""Which values are JSON, exactly: the ones that travel by name."""

from __future__ import annotations

from typing import Any

_DEPTH = 100


def is_plain(value: object) -> bool:
    """Whether a value is made of None, bool, int, float, str, list and dict with str keys."""
    return problem(value, "") is None


def problem(value: object, name: str) -> str | None:
    """Return what in a value is not JSON, or None.

    Subclasses are not: an `enum.IntEnum` or a `numpy.float64` would come out as another type.
    """
    found = _find(value, ())
    return f"{name}{found[0]} {found[1]}" if found else None


def describe(value: object) -> str:
    """Return the type of a value with its article: ``a torch.Tensor``."""
    kind = type(value)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _find(value: Any, around: tuple[int, ...]) -> tuple[str, str] | None:
    """Return where in a value something is not JSON, and what that is."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return None
    if kind not in (list, dict):
        return "", f"is {describe(value)}"
    if id(value) in around or len(around) > _DEPTH:
        return "", "contains itself, or is nested too deeply"
    inner = (*around, id(value))
    for key, item in value.items() if kind is dict else enumerate(value):
        if kind is dict and type(key) is not str:
            return "", f"is a dict with the key {key!r}, which is not a string"
        found = _find(item, inner)
        if found:
            return f"[{key!r}]{found[0]}", found[1]
    return None
