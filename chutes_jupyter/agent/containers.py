"""The containers of the standard library: their tags, and how they are built again."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Callable, Dict, List, Optional, Sequence

from .refusals import CodecError, Place, malformed, name_of

#: So many different keys of a dict or set may have one and the same hash. Strings can't be
#: made so, numbers and tuples can: each more takes longer than the one before.
MAX_EQUAL_HASHES = 256
SEQUENCES: Dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    deque: "deque",
}
MAPPINGS: Dict[type, str] = {
    dict: "dict",
    OrderedDict: "ordered",
    Counter: "counter",
    defaultdict: "default",
}
#: What a defaultdict may make for a missing key.
_FACTORIES = {kind.__name__: kind for kind in (bool, int, float, str, list, tuple, set, dict)}


def factory(value: Any, place: Place) -> Optional[str]:
    """Return what a defaultdict makes for a missing key, by its name.

    Raises
    ------
    CodecError
        If that is a function.
    """
    for name, kind in _FACTORIES.items():
        if value.default_factory is kind:
            return name
    if value.default_factory is None:
        return None
    raise CodecError(
        "%s is a defaultdict that makes its values by a function, which can't travel: pass "
        "dict(…) of it." % name_of(place)
    )


def check_hashes(keys: Sequence[Any]) -> None:
    """Refuse keys that were made to collide: a dict of them would take hours to build.

    Raises
    ------
    CodecError
        If too many of them have one hash.
    """
    if len(keys) <= MAX_EQUAL_HASHES or all(type(key) is str for key in keys):
        return
    if max(Counter(map(hash, keys)).values()) > MAX_EQUAL_HASHES:
        raise malformed("too many keys of one hash")


def _set(items: List[Any]) -> Any:
    check_hashes(items)
    return set(items)


def _dict(items: List[Any]) -> Dict[Any, Any]:
    if len(items) % 2:
        raise malformed("half a dict")
    check_hashes(items[::2])
    return dict(zip(items[::2], items[1::2]))


def _ordered(items: List[Any]) -> Any:
    made = OrderedDict(_dict(items[1:]))
    if items[0] is not None:
        made._metadata = items[0]  # type: ignore[attr-defined]
    return made


def _counter(items: List[Any]) -> Any:
    made: "Counter[Any]" = Counter()
    dict.update(made, _dict(items))
    return made


def _default(items: List[Any]) -> Any:
    return defaultdict(None if items[0] is None else _FACTORIES[items[0]], _dict(items[1:]))


def _deque(items: List[Any]) -> Any:
    made = deque(items[1:], items[0])
    if len(made) != len(items) - 1:
        raise malformed("a deque past its length")
    return made


MAKERS: Dict[str, Callable[[List[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": _set,
    "frozenset": lambda items: frozenset(_set(items)),
    "deque": _deque,
    "dict": _dict,
    "ordered": _ordered,
    "counter": _counter,
    "default": _default,
}
