"""What can't travel to another machine by its nature, why, and what to do instead."""

from __future__ import annotations

import io
import sys
import types
from collections import deque
from typing import Any, NamedTuple

from chutes_jupyter.plain import describe

__all__ = ["Unfit", "misfit", "path_to"]


class Unfit(NamedTuple):
    """Why something can't travel, and what to do."""

    reason: str
    advice: str


#: How many places are looked at for the one that is to be named.
_SEARCHED = 100_000
_INSIDE = "make it inside the function"
_TYPES: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("_thread", ("lock", "RLock", "_local", "_localdummy"), "a lock of this process", _INSIDE),
    (
        "threading",
        ("Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier", "Thread", "local"),
        "a thread or lock of this process",
        _INSIDE,
    ),
    ("asyncio", ("Lock", "Event", "Queue", "Task", "Future"), "of this process's loop", _INSIDE),
    ("_asyncio", ("Task", "Future"), "of this process's loop", _INSIDE),
    ("socket", ("socket",), "an open connection", "open it inside the function"),
    ("subprocess", ("Popen",), "a process of this machine", "start it inside the function"),
)
_CONNECTIONS = ("Connection", "Cursor", "Session", "Engine", "AsyncConnection", "AsyncEngine")
_DATABASES = (
    "sqlite3", "psycopg", "psycopg2", "asyncpg", "pymysql", "MySQLdb", "mysql", "oracledb",
    "sqlalchemy", "duckdb", "_duckdb", "pyodbc", "redis", "pymongo", "snowflake",
)  # fmt: skip


def misfit(value: object) -> Unfit | None:
    """Return why a value can't travel at all, or None."""
    kind = type(value)
    if isinstance(value, io.IOBase) and not isinstance(value, io.BytesIO | io.StringIO):
        name = getattr(value, "name", None)
        shown = f" ({name})" if isinstance(name, str) else ""
        return Unfit(f"is an open file{shown}", "open it inside the function, or send its content")
    if isinstance(value, types.GeneratorType | types.AsyncGeneratorType | types.CoroutineType):
        begun: dict[type, str] = {
            types.GeneratorType: "a generator",
            types.CoroutineType: "a coroutine",
        }
        return Unfit(
            f"is {begun.get(kind, 'an async generator')}, which has begun in this process",
            "send list(…) of it, or make it inside the function",
        )
    top = kind.__module__.partition(".")[0]
    for module, names, what, advice in _TYPES:
        if top == module and kind.__name__ in names:
            return Unfit(f"is {describe(value)}, {what}", advice)
    if top in _DATABASES and kind.__name__ in _CONNECTIONS:
        return Unfit(f"is {describe(value)}, a database connection", "connect inside the function")
    if isinstance(value, types.FrameType | types.TracebackType):
        return Unfit(f"is {describe(value)}, a part of this process", "leave it out")
    return _on_gpu(value)


def _on_gpu(value: Any) -> Unfit | None:
    """Return what is wrong with an array that lies in the memory of a GPU."""
    for module, name in (("torch", "Tensor"), ("cupy", "ndarray")):
        found = sys.modules.get(module)
        if found is None or not isinstance(value, getattr(found, name, ())):
            continue
        if module == "cupy":
            return Unfit("is a cupy.ndarray, on this machine's GPU", "send array.get()")
        device = str(getattr(value, "device", "cpu"))
        if device.partition(":")[0] not in ("cpu", "meta"):
            return Unfit(
                f"is a tensor on this machine's GPU ({device})",
                "send tensor.cpu(), and move it there with .to(…)",
            )
    return None


def path_to(value: object, part: object) -> str:
    """Return the way from a value to something in it, as code writes it: ``["a"][2].lock``."""
    rest: deque[tuple[Any, str]] = deque([(value, "")])
    seen = {id(value)}
    while rest and len(seen) < _SEARCHED:
        here, path = rest.popleft()
        if here is part:
            return path
        for inner, step in _inside(here):
            if id(inner) not in seen:
                seen.add(id(inner))
                rest.append((inner, path + step))
    return ""


def _inside(value: Any) -> list[tuple[Any, str]]:
    if isinstance(value, dict):
        return [(item, f"[{_short(key)}]") for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return [(item, f"[{index}]") for index, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(item, " (an element)") for item in value]
    if isinstance(value, type | types.ModuleType | types.FunctionType):
        return []
    found: list[tuple[Any, str]] = []
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        found = [(item, f".{name}") for name, item in state.items()]
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if isinstance(name, str) and hasattr(value, name):
                found.append((getattr(value, name), f".{name}"))
    return found


def _short(key: object) -> str:
    text = repr(key) if isinstance(key, str | int | float | bytes | bool) else describe(key)
    text = text if len(text) <= 60 else f"{text[:60]}…"
    return f'"{key}"' if isinstance(key, str) and text == f"'{key}'" and '"' not in key else text
