"""Doing something right after a module was imported, without importing it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Sequence

Act = Callable[[ModuleType], None]


class Watcher:
    """Finds nothing itself: asks those who find modules, and acts when one has run.

    Parameters
    ----------
    acts : dict
        What to do, by the module's full name.
    """

    def __init__(self, acts: Dict[str, Act]) -> None:
        self._acts = acts

    def begin(self) -> None:
        """Watch from now on; what is imported already is acted on at once."""
        for name in [name for name in self._acts if name in sys.modules]:
            self._acts.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]],
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        """Return the spec of a module that is watched for, as the others find it."""
        if fullname not in self._acts:
            return None
        spec = _found(self, fullname, path, target)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "__dict__"):
            _after(spec.loader, self._acts[fullname])
        return spec


def _found(
    asking: Watcher, name: str, path: Optional[Sequence[str]], target: Optional[ModuleType]
) -> Optional[ModuleSpec]:
    finders: List[Any] = [finder for finder in sys.meta_path if finder is not asking]
    for finder in finders:
        spec: Optional[ModuleSpec] = finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


def _after(loader: Any, act: Act) -> None:
    """Let a loader act once it has run its module."""
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module  # the loader is as it was: who looks at it sees nothing of us
        run(module)
        act(module)

    loader.exec_module = exec_module
