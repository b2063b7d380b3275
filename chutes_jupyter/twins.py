"""`JobFailed` that is also of the type that the job function raised, where that exists here.

``except ValueError`` around ``job.result()`` then works as around the function itself, and
``except JobFailed`` still catches everything. The worker, which may be a stranger's, only
*names* types. A name counts if a module that was imported here already has an exception class
under it; nothing is imported for it, no attribute is computed, no constructor of that class is
called, and a class that wants code of its own to run when it is derived from or made is passed
over. What a worker gains by naming a type that was not raised is that an ``except`` for it is
taken, which the function could have had in any case.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from chutes_jupyter.errors import ChuteError, JobFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["twin"]

#: Types that mean something to Python or IPython where they pass: a generator or a coroutine
#: would turn the first two into others, and the next two are never shown as they want to be.
#: Our own say what happened here, and no worker says that, under whatever name.
_NEVER = (StopIteration, StopAsyncIteration, SyntaxError, BaseExceptionGroup, ChuteError)
#: Methods that would run when the class is derived from, or when an error is made or forgotten.
_HOOKS = (
    "__new__",
    "__init_subclass__",
    "__del__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
)
#: What a job's error has of its own, and a class must leave to it.
_KEPT = ("value", "message", "raised", "remote_traceback", "exception_type")


def twin(bases: Iterable[Sequence[str]]) -> type[JobFailed]:
    """Return `JobFailed`, or a class of it that is the first of `bases` that is here, too.

    Parameters
    ----------
    bases : iterable of (str, str)
        Module and qualified name of the type that was raised, then of those that it derives
        from.
    """
    for module, name in bases:
        kind = _find(module, name)
        if kind is not None and (found := _derive(kind)) is not None:
            return found
    return JobFailed


def _find(module: str, name: str) -> type[Exception] | None:
    """Return an exception class that a loaded module has; nothing of it is run for that."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        try:
            # Past whatever the module or class would do to be asked.
            names = object.__getattribute__(found, "__dict__")
        except AttributeError:
            return None
        if type(names) not in (dict, types.MappingProxyType):
            return None
        found = names.get(part)
    if type(found) is not type or not issubclass(found, Exception):
        return None
    return found if _is_quiet(found) else None


def _is_quiet(kind: type[Exception]) -> bool:
    """Whether deriving from a class, and making one of its kind, runs nothing of its own."""
    if issubclass(kind, _NEVER):
        return False
    own = [base for base in kind.__mro__ if base.__module__ != "builtins"]
    return not any(hook in vars(base) for base in own for hook in (*_HOOKS, *_KEPT))


#: One class a type, so that the same error is of the same class wherever it came from.
_derived: dict[type[Exception], type[JobFailed] | None] = {Exception: None}


def _derive(kind: type[Exception]) -> type[JobFailed] | None:
    if kind not in _derived:
        _derived[kind] = _make(kind)
    return _derived[kind]


def _make(kind: type[Exception]) -> type[JobFailed] | None:
    def make(cls: type[Any], *args: object, **_options: object) -> Any:
        try:
            return kind.__new__(cls, *args[:1])
        except TypeError:  # MemoryError makes itself alone
            return Exception.__new__(cls, *args[:1])

    def reduce(self: JobFailed) -> tuple[Any, ...]:
        return _restore, (kind, self.args, dict(self.__dict__))

    body = {
        "__module__": JobFailed.__module__,
        "__doc__": JobFailed.__doc__,
        "__new__": make,
        # `kind` may have words of its own, from what it was made of there.
        "__str__": Exception.__str__,
        "__repr__": Exception.__repr__,
        "__reduce__": reduce,
    }
    try:
        # Its name, too, is that of what it is first.
        return type("JobFailed", (JobFailed, kind), body)
    except TypeError:  # no class can be both
        return None


def _restore(kind: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> JobFailed:
    cls = _derive(kind) or JobFailed
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
