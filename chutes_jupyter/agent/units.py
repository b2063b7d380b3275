"""Making what a payload defines: functions with their cells, classes, and what is pickled.

What a definition has from around it may be made after it, and in a circle: a cell is filled,
and an attribute set, as soon as there is a value of the hidden name that stands for it. Hidden
names are taken out of the module before the job runs.
"""

from __future__ import annotations

import types
from typing import Any, Callable, Dict, Iterator, List, Tuple

from . import codec
from .bodies import FACTORY, Around, cell_function, definition
from .containers import MAPPINGS, SEQUENCES

#: How the names begin that the client makes up for what has none.
HIDDEN = "__chute_part_"
#: Values of so many bytes are looked at once more when everything is made.
_RESTORED = 1 << 20
#: What people count and list in.
_COUNTING = (*MAPPINGS, *SEQUENCES, bool, int, float, complex, str, bytes, bytearray, type(None))


class Maker:
    """Makes the units of one payload.

    Parameters
    ----------
    namespace : dict
        The names of the job's module, with imports and values already there.
    """

    def __init__(self, namespace: Dict[str, Any]) -> None:
        self._names = namespace
        self._cells: Dict[str, Any] = {}
        #: What is to be done when there is a value of a hidden name.
        self._waiting: List[Tuple[str, Callable[[Any], None]]] = []
        #: The classes on which attributes were set.
        self._classes: List[Tuple[type, Dict[str, str]]] = []

    def make(self, unit: Dict[str, Any]) -> Any:
        """Make one unit, and return what it defines."""
        value = self._pickled(unit) if unit["kind"] == "pickle" else self._run(unit)
        if not unit.get("cell"):
            self._names[unit["name"]] = value
        self._settle()
        return value

    def finish(self, values: Dict[str, bytes]) -> None:
        """Let everything be as it was there, and take the hidden names out of the module.

        Class statements and decorators have run once more, and what they count or list would be
        there twice.
        """
        self._settle()
        for name, data in values.items():
            if len(data) <= _RESTORED and name in self._names:
                self._restore(name, data)
        for owner, sets in self._classes:
            for attribute, hidden in sets.items():
                if hidden in self._names:
                    setattr(owner, attribute, self._names[hidden])
        for name in [name for name in self._names if name.startswith(HIDDEN)]:
            del self._names[name]

    def _restore(self, name: str, data: bytes) -> None:
        value = self._names[name]
        if type(value) not in _COUNTING:
            return  # nothing counts in one, and others may have taken parts of it
        try:
            if codec.dumps(value) == data:
                return
        except codec.CodecError:  # something was put into it
            pass
        fresh = codec.loads(data)
        if type(value) is type(fresh) and hasattr(fresh, "clear"):
            refill(value, fresh)  # others have it too
        else:
            self._names[name] = fresh

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for name, use in waiting:
            if name in self._names:
                use(self._names[name])
            else:
                self._waiting.append((name, use))

    def _pickled(self, unit: Dict[str, Any]) -> Any:
        from .unpickle import unpickle

        value = unpickle(unit["data"], self._names, unit["shown"])
        if not unit.get("fill"):
            return value
        # Others have it already, from when it was empty.
        target = self._names[unit["name"]]
        refill(target, value)
        return target

    def _run(self, unit: Dict[str, Any]) -> Any:
        source, filename, first_line = unit["source"], unit["filename"], unit["first_line"]
        future = unit.get("future", False)
        name = unit["name"]
        defined = unit.get("defines", name)
        around = None
        if unit.get("cell"):
            code = cell_function(source, defined, unit["params"], filename, first_line, future)
        else:
            around = _around(unit, defined)
            drop = unit.get("drop_decorators", 0)
            code = definition(source, filename or "<chute>", first_line, drop, future, around)
        before = self._names.get(defined, self._names)
        if around is not None:
            value = self._run_around(unit, code, around)
        else:
            exec(code, self._names)  # noqa: S102  # running the person's code is the job
            value = self._names[defined]
        sets = unit.get("sets", {})
        for attribute, hidden in sets.items():
            self._later(hidden, _setter(value, attribute))
        if sets and isinstance(value, type):
            self._classes.append((value, sets))
        if unit.get("cell") or defined != name:
            # The cell's function has no name in the kernel, and a function that the notebook
            # knows by another name must not take that of another one.
            if before is not self._names:
                self._names[defined] = before
            else:
                self._names.pop(defined, None)
        return value

    def _run_around(self, unit: Dict[str, Any], code: types.CodeType, around: Around) -> Any:
        names: Dict[str, Any] = {}
        exec(code, self._names, names)  # noqa: S102  # likewise
        cells: Dict[str, str] = unit.get("cells", {})
        value = names[FACTORY](*(self._names.get(cells[name]) for name in around.free))
        if around.bare:
            value = self._with_cells(value, cells)
        elif isinstance(value, type):
            for name, cell in _cells_of(value):
                if name in cells:
                    self._later(cells[name], _filler(cell))
        for attribute, text in unit.get("named", {}).items():
            setattr(value, attribute, text)
        return value

    def _with_cells(self, made: Any, cells: Dict[str, str]) -> Any:
        """Return the function with the cells that it shares with others."""
        code = made.__code__
        closure = []
        for name in code.co_freevars:
            hidden = cells[name]
            if hidden not in self._cells:
                self._cells[hidden] = types.CellType()
                self._later(hidden, _filler(self._cells[hidden]))
            closure.append(self._cells[hidden])
        function = types.FunctionType(code, self._names, made.__name__, None, tuple(closure))
        # From Python 3.14 on annotations are computed when they are asked for.
        for attribute in ("__annotate__", "__type_params__"):
            if hasattr(made, attribute):
                setattr(function, attribute, getattr(made, attribute))
        if not hasattr(made, "__annotate__"):
            function.__annotations__ = made.__annotations__
        function.__qualname__ = made.__name__
        function.__doc__ = made.__doc__
        return function

    def _later(self, hidden: str, use: Callable[[Any], None]) -> None:
        self._waiting.append((hidden, use))


def refill(target: Any, value: Any) -> None:
    """Give a dict, a list or the like what another one has in it, and nothing else."""
    target.clear()
    (target.extend if hasattr(target, "extend") else target.update)(value)


def _around(unit: Dict[str, Any], defined: str) -> Any:
    cells = unit.get("cells", {})
    bare, bases = unit.get("bare", False), tuple(unit.get("bases", ()))
    if not (cells or bare or bases):
        return None
    return Around(defined, tuple(cells), bare, bases)


def _filler(cell: Any) -> Callable[[Any], None]:
    def fill(value: Any) -> None:
        cell.cell_contents = value

    return fill


def _setter(owner: Any, attribute: str) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        if attribute == "__dict__":
            owner.__dict__.update(value)
        else:
            setattr(owner, attribute, value)

    return put


def _cells_of(cls: type) -> Iterator[Tuple[str, Any]]:
    """Yield the variables of functions around a class that its methods use."""
    for value in vars(cls).values():
        parts = [value, getattr(value, "__func__", None)]
        parts += [getattr(value, part, None) for part in ("fget", "fset", "fdel")]
        for part in parts:
            if isinstance(part, types.FunctionType):
                yield from zip(part.__code__.co_freevars, part.__closure__ or ())
