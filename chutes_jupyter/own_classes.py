"""Which classes a result may have instances of: a person's own, and what they imported by name.

A worker may belong to a stranger, who could name any class that this process has imported, and
find one among them that does harm with chosen fields. So a library's class counts only where
the person has it by its name; an enum always does, since its members are all there already.
"""

from __future__ import annotations

import enum
import functools
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent.classes import find, within

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAIN = "__main__"


class OwnClasses:
    """Finds the classes for `codec.loads`.

    Parameters
    ----------
    namespace : mapping
        The names around the job function, which the worker calls ``__main__``.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def __call__(self, module: str, qualname: str) -> type | None:
        """Return the class of that name; None where there is none that may be used."""
        if module == _MAIN:
            found = within(self._namespace, qualname) or find(_MAIN, qualname)
            return found if isinstance(found, type) else None
        found = find(module, qualname)
        if not isinstance(found, type):
            return None
        if issubclass(found, enum.Enum) or is_own(module) or self._is_named(found):
            return found
        return None

    def around(self, qualname: str) -> Any:
        """Return what has that name around the job function; None if there is nothing."""
        return within(self._namespace, qualname)

    def _is_named(self, kind: type) -> bool:
        main = getattr(sys.modules.get(_MAIN), "__dict__", {})
        return any(
            value is kind for names in (self._namespace, main) for value in tuple(names.values())
        )


def is_own(module: str) -> bool:
    """Whether an imported module is of the person's own project, rather than installed."""
    known = sys.modules.get(module)
    file = getattr(known, "__file__", None)
    if module.partition(".")[0] == "chutes_jupyter" or not isinstance(file, str):
        return False
    path = Path(file).resolve()
    return not any(folder in path.parents for folder in _library_folders())


@functools.cache
def _library_folders() -> frozenset[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    folders += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return frozenset(Path(folder).resolve() for folder in folders if folder)
