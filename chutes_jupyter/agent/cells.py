"""From the payload to what runs: a fresh module, the job function and its start-up hooks."""

from __future__ import annotations

import builtins
import linecache
import sys
import types
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import codec
from .bodies import cell_function, definition
from .units import Maker

__all__ = ["Loaded", "cell_function", "definition", "load"]


class Loaded(NamedTuple):
    """The module that a job runs in, and what to call there."""

    module: types.ModuleType
    job: Callable[..., Any]
    #: Start-up hooks in the order in which they run; each takes ``self``.
    hooks: List[Callable[..., Any]]


def load(
    payload: Dict[str, Any], chute: Any = None, display: Optional[Callable[..., Any]] = None
) -> Loaded:
    """Run a payload's imports, values and units in a fresh module that becomes ``__main__``.

    Parameters
    ----------
    payload : dict
        What the client assembled: ``imports``, ``values`` (each as the codec's bytes),
        ``units``, ``job``, and ``chute_names``, the names under which the function knows its
        own chute.
    chute : object
        What the function and its hooks get as ``self``.
    display : callable, optional
        What they know as ``display``; by default one that prints.

    Raises
    ------
    ImportError
        If a module is missing here; it names the module and the statement.
    """
    module = types.ModuleType(payload.get("module", "__main__"))
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    namespace["display"] = display or _display
    sys.modules[module.__name__] = module
    for unit in payload["units"]:
        if unit.get("filename"):
            # As it was written, where lines of IPython's became Python.
            _remember(unit["filename"], unit["first_line"], unit.get("written") or unit["source"])
    for statement in payload["imports"]:
        _import(statement, namespace)
    for name, data in payload["values"].items():
        namespace[name] = _value(name, data)
    namespace.update(dict.fromkeys(payload.get("chute_names", ()), chute))

    job: Optional[Callable[..., Any]] = None
    hooks = []
    maker = Maker(namespace)
    for unit in payload["units"]:
        function = maker.make(unit)
        if unit["kind"] == "hook":
            hooks.append((unit["priority"], function))
        elif unit["kind"] == "job":
            job = function
    if job is None:
        raise ValueError("the payload holds no job function")
    maker.finish(payload["values"])
    hooks.sort(key=lambda pair: pair[0])
    return Loaded(module, job, [function for _, function in hooks])


def _value(name: str, data: bytes) -> Any:
    try:
        return codec.loads(data)
    except codec.CodecError as error:
        message = "%s, which the job was given, can't be read here: %s" % (name, error)
        raise codec.CodecError(message) from error


def _import(statement: str, namespace: Dict[str, Any]) -> None:
    try:
        exec(compile(statement, "<imports>", "exec", 0, True), namespace)  # noqa: S102  # likewise
    except ImportError as error:
        kind = ModuleNotFoundError if isinstance(error, ModuleNotFoundError) else ImportError
        message = (
            "%s (the job function needs `%s`; install it for this worker's interpreter, %s, "
            "or choose another with --python)" % (error, statement, sys.executable)
        )
        raise kind(message, name=error.name, path=error.path) from error


def _remember(filename: str, first_line: int, source: str) -> None:
    """Let tracebacks and ``inspect.getsource`` find the source, which is in no file here."""
    entry = linecache.cache.get(filename)
    # A file of this machine with the same name is not what runs: keep only our own lines.
    ours = entry is not None and len(entry) == 4 and entry[1] is None
    lines = list(entry[2]) if ours else []  # type: ignore[index,misc]
    # Not splitlines: Python's lines end at newlines alone, whatever else is in a string.
    new = source.rstrip("\n").split("\n")
    end = first_line - 1 + len(new)
    lines.extend(["\n"] * (end - len(lines)))
    lines[first_line - 1 : end] = [line + "\n" for line in new]
    size = sum(len(line) for line in lines)
    linecache.cache[filename] = (size, None, lines, filename)


def _display(*objects: Any, **_options: Any) -> None:
    """Stand in for the notebook's ``display``: print each object's text."""
    for item in objects:
        print(item if isinstance(item, str) else repr(item))  # noqa: T201  # its purpose
