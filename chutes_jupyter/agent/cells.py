"""From the payload to what runs: a fresh module, the job function and its start-up hooks."""

from __future__ import annotations

import builtins
import linecache
import sys
import types
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .bodies import cell_function, definition

__all__ = ["Loaded", "cell_function", "definition", "load"]


class Loaded(NamedTuple):
    """The module that a job runs in, and what to call there."""

    module: types.ModuleType
    job: Callable[..., Any]
    #: Start-up hooks in the order in which they run; each takes ``self``.
    hooks: List[Callable[..., Any]]


def load(payload: Dict[str, Any], chute: Any = None) -> Loaded:
    """Run a payload's imports, values and units in a fresh module that becomes ``__main__``.

    Parameters
    ----------
    payload : dict
        What the client assembled: ``imports``, ``values``, ``units``, ``job``, and
        ``chute_names``, the names under which the function knows its own chute.
    chute : object
        What the function and its hooks get as ``self``.

    Raises
    ------
    ImportError
        If a module is missing here; it names the module and the statement.
    """
    module = types.ModuleType(payload.get("module", "__main__"))
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    namespace["display"] = _display
    sys.modules[module.__name__] = module
    for unit in payload["units"]:
        _remember(unit["filename"], unit["first_line"], unit["source"])
    for statement in payload["imports"]:
        _import(statement, namespace)
    namespace.update(payload["values"])
    namespace.update(dict.fromkeys(payload.get("chute_names", ()), chute))

    job: Optional[Callable[..., Any]] = None
    hooks = []
    for unit in payload["units"]:
        function = _run_unit(unit, namespace)
        if unit["kind"] == "hook":
            hooks.append((unit["priority"], function))
        elif unit["kind"] == "job":
            job = function
    if job is None:
        raise ValueError("the payload holds no job function")
    hooks.sort(key=lambda pair: pair[0])
    return Loaded(module, job, [function for _, function in hooks])


def _run_unit(unit: Dict[str, Any], namespace: Dict[str, Any]) -> Any:
    """Run one unit and return what it defines."""
    source, filename, first_line = unit["source"], unit["filename"], unit["first_line"]
    future = unit.get("future", False)
    name = unit["name"]
    defined = unit.get("defines", name)
    if unit.get("cell"):
        code = cell_function(source, defined, unit["params"], filename, first_line, future)
    else:
        drop = unit.get("drop_decorators", 0)
        code = definition(source, filename, first_line, drop, future)
    before = namespace.get(defined, namespace)
    exec(code, namespace)  # noqa: S102  # running the person's code is the job
    value = namespace[defined]
    if unit.get("cell") or defined != name:
        # The cell's function has no name in the kernel, and a function that the notebook
        # knows by another name must not take that of another one.
        if before is namespace:
            del namespace[defined]
        else:
            namespace[defined] = before
    if not unit.get("cell"):
        namespace[name] = value
    return value


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
