"""The progress of a job that draws tqdm's bars: found by looking over their shoulder.

Whatever makes them (``tqdm``, ``trange``, ``tqdm.auto``, a trainer), each redraws and ends by
two methods of one class. What they print stays as it is. Of bars within bars the outermost
counts: the one that was there first and has not ended.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Tuple

Labels = Tuple[Optional[str], Optional[str]]
#: Takes done, total, unit and description, metrics, whether these are new, and the rate.
Found = Callable[
    [float, Optional[float], Labels, Dict[str, float], bool, Optional[float]],
    None,
]
#: What a bar may lack, of another version or in a subclass, or hold of no sense.
_ODD = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RuntimeError)
#: What a bar keeps for us: the numbers of its postfix, and whether they were told.
_METRICS, _NEW = "_chute_metrics", "_chute_new"


class Bars:
    """Looks at the bars of a job.

    Parameters
    ----------
    found : callable
        Takes what the outermost bar says.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._outer: Optional[weakref.ReferenceType[Any]] = None

    def watch(self, module: ModuleType) -> None:
        """Look over the shoulder of the bars of ``tqdm.std``."""
        kind = getattr(module, "tqdm", None)
        for name, after in (("refresh", False), ("close", True)):
            method = getattr(kind, name, None)
            if callable(method):
                setattr(kind, name, self._wrapped(method, after))
        postfix = getattr(kind, "set_postfix", None)
        if callable(postfix):
            kind.set_postfix = _noting(postfix)  # type: ignore[union-attr]

    def _wrapped(self, method: Callable[..., Any], ending: bool) -> Callable[..., Any]:
        @functools.wraps(method)
        def looked(bar: Any, *args: Any, **kwargs: Any) -> Any:
            # One that is switched off draws nothing, and an ended one ends again when deleted.
            live = not getattr(bar, "disable", True)
            if live:
                self._look(bar, ending)
            return method(bar, *args, **kwargs)

        return looked

    def _look(self, bar: Any, ending: bool) -> None:
        outer = self._outer() if self._outer is not None else None
        if outer is None or _is_over(outer):
            outer = bar
            self._outer = weakref.ref(bar)
        if outer is not bar:
            return
        try:
            done, total = _finite(bar.n), _finite(bar.total)
            if done is not None:
                labels = _text(bar.unit), _text(bar.desc)
                metrics = dict(getattr(bar, _METRICS, {}))
                new = bar.__dict__.pop(_NEW, False)
                self._found(max(0.0, done), total, labels, metrics, new, _rate(bar))
        except _ODD:
            return
        finally:
            if ending:
                self._outer = None


def _is_over(bar: Any) -> bool:
    total: Any = getattr(bar, "total", None)
    finished = bool(total) and getattr(bar, "n", 0) >= total
    return bool(getattr(bar, "disable", True)) or finished


def _rate(bar: Any) -> Optional[float]:
    facts = bar.format_dict
    rate = _finite(facts.get("rate"))
    if rate:
        return rate
    elapsed, done = facts["elapsed"], bar.n - getattr(bar, "initial", 0)
    return done / elapsed if elapsed > 0 and done > 0 else None


def _text(value: Any) -> Optional[str]:
    # A description ends as it is drawn: "epochs: ".
    return value.rstrip(": ") or None if isinstance(value, str) else None


def _finite(value: Any) -> Optional[float]:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None


def _noting(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``set_postfix`` so that it keeps the numbers that it makes a text of."""

    @functools.wraps(method)
    def noted(bar: Any, ordered_dict: Any = None, refresh: bool = True, **kwargs: Any) -> Any:
        with contextlib.suppress(*_ODD):
            setattr(bar, _METRICS, _numbers({**dict(ordered_dict or {}), **kwargs}))
            setattr(bar, _NEW, True)
        return method(bar, ordered_dict, refresh, **kwargs)

    return noted


def _numbers(values: Dict[Any, Any]) -> Dict[str, float]:
    found = {}
    for name, value in values.items():
        if isinstance(name, str) and 0 < len(name) <= 200 and not isinstance(value, (str, bytes)):
            try:
                found[name] = float(value)
            except _ODD:
                continue
    return found
