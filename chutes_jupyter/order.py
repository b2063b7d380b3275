"""In which order definitions are made on the worker, also where they need each other.

A registry is the usual circle: a dict holds classes, and making a class looks at the dict. Then
the dict is there first, empty, and is filled when the classes are.
"""

from __future__ import annotations

import builtins
from collections import OrderedDict, defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING

from chutes_jupyter.names import Names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chutes_jupyter.capture import CapturedCode

__all__ = ["empty_like", "in_order"]

#: Containers that can be filled when others have them already.
_EMPTY: dict[type, str] = {dict: "{}", list: "[]", set: "set()"}
_FROM_COLLECTIONS: dict[type, str] = {OrderedDict: "OrderedDict()", deque: "deque()"}


def empty_like(value: object) -> str:
    """Return the expression of such a container without anything in it, or ""."""
    kind = type(value)
    if kind in _EMPTY:
        return _EMPTY[kind]
    if isinstance(value, deque) and value.maxlen is not None:
        return ""
    if kind in _FROM_COLLECTIONS:
        return f'__import__("collections").{_FROM_COLLECTIONS[kind]}'
    if isinstance(value, defaultdict) and kind is defaultdict:
        name = getattr(value.default_factory, "__name__", "")
        if getattr(builtins, name, None) is value.default_factory and value.default_factory:
            return f'__import__("collections").defaultdict({name})'
    return ""


def in_order(definitions: Mapping[str, CapturedCode]) -> list[CapturedCode]:
    """Return the definitions, each after what it needs when it is made."""
    walk = _Walk(definitions)
    for name in definitions:
        walk.put(name, whole=False)
    return [*walk.order, *walk.last.values()]


class _Walk:
    def __init__(self, definitions: Mapping[str, CapturedCode]) -> None:
        self._definitions = definitions
        self._begun: set[tuple[str, bool]] = set()
        #: Those of which what they need is being put.
        self._active: set[str] = set()
        self.order: list[CapturedCode] = []
        #: The names that are whole.
        self._made: set[str] = set()
        #: Those that are there and empty so far.
        self._empty: set[str] = set()
        #: What is filled when everything else is there.
        self.last: dict[str, CapturedCode] = {}

    def put(self, name: str, *, whole: bool) -> None:
        code = self._definitions.get(name)
        if code is None:
            return
        around = name in self._active
        if around and name not in self._made:
            self._put_empty(code)  # it needs itself
        if (name, whole) in self._begun:
            return
        self._begun.add((name, whole))
        self._active.add(name)
        for needed in code.names.now:
            self.put(needed, whole=True)  # it may be called, so all of it must be there
        self._finish(code, around=around)
        if not around:
            self._active.discard(name)
        if whole:
            for needed in code.names.later:
                self.put(needed, whole=True)

    def _finish(self, code: CapturedCode, *, around: bool) -> None:
        """Put a definition in its place; `around` it may be another try, which comes later."""
        if code.name in self._made:
            return
        waits = any(n in self._definitions and n not in self._made for n in code.names.now)
        if waits and around:
            return
        if waits and self._put_empty(code):
            self.last[code.name] = _filling(code)
            return
        self._made.add(code.name)
        self.last.pop(code.name, None)
        self.order.append(_filling(code) if code.name in self._empty else code)

    def _put_empty(self, code: CapturedCode) -> bool:
        """Let an empty container be there from here on; return whether it is one."""
        empty = code.more.get("empty")
        if empty and code.name not in self._empty:
            self._empty.add(code.name)
            source = f"{code.name} = {empty}\n"
            first = replace(code, kind="def", source=source, names=Names(), more={})
            self.order.append(first)
        return bool(empty)


def _filling(code: CapturedCode) -> CapturedCode:
    return replace(code, more={**code.more, "fill": True})
