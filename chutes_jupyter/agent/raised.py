"""An exception as data, for who shows it as its own; and as a text, for terminals.

What is told is bounded: a recursion that went too deep, a long chain or a large group leaves
out what lies in the middle and says how much. Nothing here may fail, whatever the exception.
"""

from __future__ import annotations

import asyncio
import linecache
import os
import traceback
from types import CodeType
from typing import Any, Dict, List, Optional, Tuple

#: How much of a text travels, in characters; its end matters most.
_TEXT = 60_000
#: How many exceptions are told: the one that was raised, what it came from, and its parts.
_ERRORS = 24
#: How many frames of one exception are told: those are at its beginning and its end.
_FIRST, _LAST = 6, 18
#: How many lines are told before and after the one that ran.
_AROUND = 2
#: How long a line, what an exception says, and all of it together may be, in characters.
_LINE, _SAID, _ALL = 400, 8_000, 60_000
_NOTES, _BASES, _PARTS = 8, 8, 12
_FOLDER = os.path.dirname(os.path.abspath(__file__))
_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__))
#: Of every exception; who looks for a type that exists there needs no word of them.
_COMMON = (object, BaseException, Exception)

_Frame = Tuple[CodeType, int, Dict[str, Any]]


def name(kind: type) -> str:
    """Return how people call a type: with its module, unless everybody knows that."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return "%s.%s" % (kind.__module__, kind.__qualname__)


def words(error: BaseException) -> str:
    """Return what an exception says, "" for nothing."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # its class is the person's
        return "<%s that can't be shown>" % type(error).__name__


def tell(error: BaseException) -> List[Dict[str, Any]]:
    """Return an exception, what it came from and its parts, each once.

    Each names others by their place in the list, which is behind its own: in ``before`` the
    one that it came from, in ``parts`` those of a group.
    """
    found = [error]
    told: List[Dict[str, Any]] = []
    seen = {id(error)}
    budget = _Budget(_ALL)

    def place(other: Optional[BaseException]) -> Optional[int]:
        if other is None or id(other) in seen or len(found) >= _ERRORS:
            return None
        seen.add(id(other))
        found.append(other)
        return len(found) - 1

    for each in found:
        fields = _alone(each, budget)
        cause = each.__cause__ is not None
        before = each.__cause__ if cause else each.__context__
        hidden = each.__suppress_context__ and not cause
        fields["before"] = None if hidden else place(before)
        fields["cause"] = cause
        every = _group(each)
        parts = [place(part) for part in every[:_PARTS]]
        fields["parts"] = [part for part in parts if part is not None]
        fields["more"] = len(every) - len(fields["parts"])
        told.append(fields)
    return told


def text(error: BaseException) -> str:
    """Return the traceback as Python would print it, without our own frames."""
    try:
        whole = traceback.TracebackException(type(error), error, error.__traceback__)
        _prune_all(whole)
        lines = "".join(whole.format())
    except Exception:  # noqa: BLE001  # a chain that is too deep, a __str__ that raises
        frames = traceback.format_list(traceback.extract_tb(error.__traceback__))
        lines = "".join([*frames, name(type(error)), "\n"])
    if len(lines) > _TEXT:
        lines = lines[: _TEXT // 4] + "\n  …\n" + lines[-3 * _TEXT // 4 :]
    return lines


class _Budget:
    """How many characters are left to all of them together."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, words: object, limit: int = _LINE) -> str:
        """Return a text, as much of it as may be told."""
        try:
            said = str(words)
        except Exception:  # noqa: BLE001  # its class is the person's
            said = "<%s that can't be shown>" % type(words).__name__
        limit = max(0, min(limit, self._left))
        if len(said) > limit:
            said = said[: max(0, limit - 1)] + "…"
        self._left -= len(said)
        return said


def _alone(error: BaseException, budget: _Budget) -> Dict[str, Any]:
    """Return what is told of one exception, without the others."""
    kind = type(error)
    bases = [[base.__module__, base.__qualname__] for base in kind.__mro__ if base not in _COMMON]
    notes = getattr(error, "__notes__", None)
    return {
        "bases": [[str(part)[:_LINE] for part in base] for base in bases[:_BASES]],
        "type": name(kind)[:_LINE],
        "said": budget.take(_said(error), _SAID),
        "notes": [budget.take(note, _SAID) for note in _listed(notes)[:_NOTES]],
        "frames": _told_frames(_frames(error), budget),
    }


def _said(error: BaseException) -> str:
    """Return the last words of a traceback; of a syntax error those are several lines."""
    try:
        whole = traceback.TracebackException(type(error), error, None)
        whole.__dict__["__notes__"] = None  # they are told by themselves
        whole.__cause__ = whole.__context__ = None
        return "".join(whole.format_exception_only()).rstrip("\n")
    except Exception:  # noqa: BLE001  # whatever its class does, something is said
        return name(type(error))


def _group(error: BaseException) -> List[BaseException]:
    """Return the parts of an exception group, also of the one that Python 3.8 can't have."""
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(error).__mro__):
        return []
    parts = _listed(getattr(error, "exceptions", None))
    return [part for part in parts if isinstance(part, BaseException)]


def _listed(value: object) -> List[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


# -- frames


def _frames(error: BaseException) -> List[_Frame]:
    """Return the frames of an exception that are not ours, outermost first."""
    found: List[_Frame] = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not _ours(frame.f_code.co_filename, bool(found)):
            found.append((frame.f_code, line, frame.f_globals))
    return found


def _ours(filename: str, inside: bool) -> bool:
    """Whether a frame is none of the person's business; asyncio's are ours at the beginning."""
    if filename == "<imports>" or filename.startswith(_FOLDER):
        return True
    return not inside and filename.startswith(_ASYNCIO)


def _prune_all(whole: traceback.TracebackException) -> None:
    rest: List[Any] = [whole]
    found: Dict[int, Tuple[Any, List[traceback.FrameSummary]]] = {}
    while rest:
        each = rest.pop()
        if each is None or id(each) in found:
            continue
        kept: List[traceback.FrameSummary] = []
        for frame in each.stack:
            if not _ours(frame.filename, bool(kept)):
                kept.append(frame)
        found[id(each)] = each, kept
        rest += [each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ())]
    # Where none is the person's, the fault is ours, and ours say where.
    if any(kept for _, kept in found.values()):
        for each, kept in found.values():
            each.stack[:] = kept


def _told_frames(frames: List[_Frame], budget: _Budget) -> List[Dict[str, Any]]:
    middle = max(0, len(frames) - _FIRST - _LAST)
    kept = frames[:_FIRST] + frames[_FIRST + middle :]
    told = [_frame(*frame, budget=budget) for frame in kept]
    if middle:
        told[_FIRST]["omitted"] = middle
    return told


def _frame(code: CodeType, line: int, names: Dict[str, Any], budget: _Budget) -> Dict[str, Any]:
    first = max(1, line - _AROUND)
    try:
        lines = linecache.getlines(code.co_filename, names)[first - 1 : line + _AROUND]
    except Exception:  # noqa: BLE001  # a loader of the person's own, or no text at all
        lines = []
    return {
        "file": budget.take(code.co_filename, 4 * _LINE),
        "line": line,
        "function": budget.take(_called(code)),
        "first": first,
        "lines": [budget.take(text.rstrip("\r\n")) for text in lines],
    }


def _called(code: CodeType) -> str:
    """Return a function's name with those of its arguments: ``Model.fit(self, x)``."""
    called = str(getattr(code, "co_qualname", code.co_name))
    if code.co_name.startswith("<"):
        return called
    plain = code.co_argcount
    names = list(code.co_varnames[:plain])
    keywords = list(code.co_varnames[plain : plain + code.co_kwonlyargcount])
    others = list(code.co_varnames[plain + code.co_kwonlyargcount :])
    if code.co_flags & 0x04:
        names.append("*" + others.pop(0))
    names += keywords
    if code.co_flags & 0x08:
        names.append("**" + others.pop(0))
    return "%s(%s)" % (called, ", ".join(names))
