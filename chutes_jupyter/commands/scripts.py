"""A job function in a Python file, for `jupyter chute run FILE.py:NAME`."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from chutes_jupyter.errors import ChuteError, ConfigError, UsageError


def load_function(text: str) -> Any:
    """Return the job function that ``FILE.py:NAME`` names.

    The file is run as a module, so that what stands under ``if __name__ == "__main__":``
    does not run. A file with one job function needs no name.

    Raises
    ------
    UsageError
        If there is no such file or job function; the message names those there are.
    ConfigError
        If the file can't be run; the message names the line.
    """
    path, name = _split(text)
    functions = _job_functions(_load(path))
    if not functions:
        raise UsageError(f"{path}: no job function in it. Write @chute.job() over one")
    if not name and len(functions) == 1:
        return next(iter(functions.values()))
    if name in functions:
        return functions[name]
    known = ", ".join(sorted(functions))
    if not name:
        raise UsageError(f"{path}: which of its job functions? There are: {known}")
    message = f"{path}: no job function {name!r} in it; there are: {known}."
    close = difflib.get_close_matches(name, functions, n=1)
    if close:
        message += f" Did you mean {close[0]!r}?"
    raise UsageError(message)


def _split(text: str) -> tuple[Path, str]:
    file, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        file, name = text, ""
    path = Path(file).expanduser()
    if path.suffix != ".py":
        raise UsageError(f"{text!r}: must be FILE.py:NAME, like train.py:train")
    if not path.is_file():
        raise UsageError(f"{file}: there is no such file")
    return path.resolve(), name


def _job_functions(module: Any) -> dict[str, Any]:
    from chutes_jupyter.chute import JobFunction

    found: dict[str, Any] = {}
    for key, value in vars(module).items():
        if isinstance(value, JobFunction):
            found.setdefault(value.name, value)
            found.setdefault(key, value)
    return found


def _load(path: Path) -> Any:
    """Run a script as a module and return it, with its folder on the path as Python does."""
    name = path.stem if path.stem.isidentifier() else "script"
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_script"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ChuteError:
        sys.modules.pop(name, None)
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise ConfigError(_failure(path, error)) from error
    return module


def _failure(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    return f"{where}: {traceback.format_exception_only(error)[-1].strip()}"
