"""What the names in a job function become on the worker.

A module becomes an import statement; a function or class of the notebook, source, with what it
needs in turn; a value goes as the codec's bytes, as it is when the job is submitted, and what
the codec does not take, as a pickle in which code is only named. Everything else is refused,
all at once and by name.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chutes_jupyter import pickles
from chutes_jupyter.agent import codec
from chutes_jupyter.agent.units import HIDDEN
from chutes_jupyter.capture import CapturedCode, from_source
from chutes_jupyter.credentials import credential
from chutes_jupyter.definitions import (
    Parts,
    bare_function,
    generated,
    local_class,
    pickled,
    remade,
    wrapped_function,
)
from chutes_jupyter.errors import CaptureError
from chutes_jupyter.given import changed_class, undecorated, without_sets
from chutes_jupyter.lookup import MISSING, defined, import_of, look_up, role, unwraps, wrapped_in
from chutes_jupyter.models import Port
from chutes_jupyter.order import empty_like, in_order
from chutes_jupyter.plain import describe, is_plain
from chutes_jupyter.sources import (
    Source,
    assignment_source,
    class_source,
    function_source,
    import_statement,
)
from chutes_jupyter.unfit import path_to

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How much the values of names may take together, in bytes.
VALUES_LIMIT = 100_000_000
#: Values that are the same wherever they are equal.
_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_FUNCTIONS = (types.FunctionType, functools._lru_cache_wrapper)
#: What `typing` makes in a statement, and has no value that could travel.
_TYPING = (typing.TypeVar, typing.ParamSpec, typing.NewType)
#: The platform's own `os.path`.
_PATH_MODULES = ("posixpath", "ntpath")
#: Why our own objects stay here.
_ROLES = {
    "chute": "another chute; the job knows only its own",
    "job": "a job function, which only the notebook can submit; "
    "let both use a plain function instead",
}


@dataclass
class _Use:
    """Where a name is used."""

    name: str
    line: int
    code: CapturedCode

    def __str__(self) -> str:
        part = self.code.parts.get(self.name)
        return f"{self.code.filename} line {self.line}" if part is None else part.where

    @property
    def shown(self) -> str:
        """What people call what it means."""
        part = self.code.parts.get(self.name)
        return self.name if part is None else part.shown()


@dataclass
class Assembly:
    """Collects what the roots need, in turn; `refused` says what can't travel."""

    job: str
    roots: list[CapturedCode]
    chute: object
    send: frozenset[str] = frozenset()
    imports: list[str] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)
    chute_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._definitions: dict[str, CapturedCode] = {}
        self._bound: dict[str, Any] = {}
        #: The name of what is bound already, by its identity, with a hold on it.
        self._names: dict[int, tuple[str, Any]] = {}
        #: The hidden names that were given out, likewise.
        self._hidden: dict[int, tuple[str, Any]] = {}
        self.refused: list[str] = []
        self._refused_names: set[str] = set()
        self.held: list[str] = []
        #: The modules of what pickles name.
        self._modules: set[str] = set()
        #: What the roots so far bind on every way, and what any of them may bind.
        self._given: set[str] = set()
        self._perhaps = {name for root in self.roots for name in root.names.bound}

    # Walking

    def take_root(self, root: CapturedCode) -> None:
        """Take what a hook or the job function uses."""
        earlier = {name for code in self._before(root) for name in code.names.bound}
        for name, line in {**root.names.now, **root.names.later}.items():
            use = _Use(name, line, root)
            if name in self._given:
                continue
            if name in earlier:
                self._offer(use)
            else:
                self._need(use)
        for name, line in root.names.perhaps.items():
            self._offer(_Use(name, line, root))
        self._given |= root.names.sure

    def _before(self, root: CapturedCode) -> Iterable[CapturedCode]:
        return self.roots[: next(i for i, code in enumerate(self.roots) if code is root)]

    def _take_definition(self, code: CapturedCode) -> None:
        if code.name in self._definitions:
            return
        self._definitions[code.name] = code
        for name, line in code.names.now.items():
            self._need(_Use(name, line, code))
        for name, line in code.names.later.items():
            # It runs when the job does, and sees what that binds.
            if name in self._perhaps or name in self._given:
                self._offer(_Use(name, line, code))
            else:
                self._need(_Use(name, line, code))
        for name, line in code.names.perhaps.items():
            self._offer(_Use(name, line, code))

    def ordered(self) -> list[CapturedCode]:
        """Return the definitions, each after what it needs when it is made."""
        return in_order(self._definitions)

    # One name

    def _need(self, use: _Use) -> None:
        """Take a name, or note why it can't travel."""
        value = look_up(use.name, use.code)
        if value is MISSING or self._is_own(value):
            return
        if use.name in self._bound:
            known = self._bound[use.name]
            if known is not value and not (is_plain(known) and known == value):
                reason = "is two different things in the functions that travel; rename one of them"
                self._refuse(use, f"{use.name} {reason}")
            return
        self._bound[use.name] = value
        if (place := self._credential(use, value)) is not None:
            self._refuse(
                use,
                f"{place} looks like a credential, and is held back: --secret {use.name} sends "
                f"it, and --send {use.name} if it is none (.options(secret=[…], send=[…]))",
            )
        else:
            self._add(use, value)

    def _credential(self, use: _Use, value: Any) -> str | None:
        if not isinstance(value, str | bytes | dict | list | tuple):
            return None
        named = {use.name, *re.findall(r"\w+", use.shown)} & self.send
        return None if named else credential(value, use.shown)

    def _offer(self, use: _Use) -> None:
        """Take a name that is hardly needed, if that costs nothing."""
        value = look_up(use.name, use.code)
        if value is not MISSING and use.name not in self._bound and is_plain(value):
            if self._credential(use, value) is not None:
                self.held.append(use.name)
                return
            self._bound[use.name] = value
            self.values[use.name] = codec.dumps(value)

    def _is_own(self, value: object) -> bool:
        code = getattr(value, "code", None)
        return role(value) == "job" and any(code is root for root in self.roots)

    def _add(self, use: _Use, value: Any) -> None:
        if value is self.chute and value is not None:
            self.chute_names.append(use.name)
        elif role(value):
            self._refuse(use, f"{use.shown} is {_ROLES[role(value)]}")
        elif isinstance(value, types.ModuleType):
            self._add_module(use, value)
        elif isinstance(value, Port):
            self.imports.append("from chutes_jupyter import Port")
            source = Source(f"{use.name} = {value!r}\n", use.code.filename, 1)
            self._take_definition(from_source("def", use.name, source, None, namespace={}))
        elif type(value) in _ATOMS:
            self.values[use.name] = codec.dumps(value)
        elif id(value) in self._names:
            # The same object stays the same, whatever it is called.
            known = self._names[id(value)][0]
            self._take_definition(generated(use.name, f"{use.name} = {known}\n", self._parts(use)))
        else:
            self._names[id(value)] = (use.name, value)
            if self._is_home(value):
                self._add_definition(use, value)
            else:
                self._add_value(use, value)

    def _add_value(self, use: _Use, value: Any) -> None:
        try:
            self.values[use.name] = codec.dumps(value)
        except codec.CodecError:
            # As the person wrote it, if possible: where a library keeps a thing may change.
            statement = import_statement(use.name, value, use.code.namespace)
            statement = statement or import_of(value, use.name)
            if statement is not None:
                self._import(statement)
            elif use.name == "get_ipython":
                reason = "get_ipython is IPython's, and the worker has only Python; for commands "
                self._refuse(use, reason + "there is subprocess.run")
            elif (inner := wrapped_in(value, self._is_home)) is not None:
                self._add_definition(use, value, inner)
            else:
                self._add_pickle(use, value)

    def _add_pickle(self, use: _Use, value: Any) -> None:
        parts = self._parts(use)
        references: list[str] = []

        def reference(part: Any) -> str | None:
            name = refer(part)
            if name is not None:
                references.append(name)
            return name

        def refer(part: Any) -> str | None:
            if id(part) in self._names and part is not value:
                return self._names[id(part)][0]
            if isinstance(part, (type, types.FunctionType)) and isinstance(part.__module__, str):
                self._modules.add(part.__module__)
            code = isinstance(part, types.ModuleType) or bool(role(part)) or self._is_home(part)
            if not code and wrapped_in(part, self._is_home) is None:
                return None
            name = getattr(part, "__name__", "")
            if name and parts.namespace.get(name) is part:
                return str(name)  # there, too, results may name their class
            return parts.take(part, lambda: path_to(value, part) or f" ({describe(part)})")

        try:
            data = pickles.dumps(value, reference)
        except pickles.Unpicklable as error:
            path = path_to(value, error.part)
            if not path and error.part is not value:
                path = f" (in it: {describe(error.part)})"
            self._refuse(use, f"{use.shown}{path} {error.why.reason}: {error.why.advice}")
            return
        self._take_definition(pickled(use.name, data, references, parts, empty=empty_like(value)))

    def _add_module(self, use: _Use, module: types.ModuleType) -> None:
        name = "os.path" if module.__name__ in _PATH_MODULES else module.__name__
        known = sys.modules.get(module.__name__)
        if known is not module or name == "__main__":
            self._refuse(
                use, f"{use.shown} is a module that can't be imported by its name, {name!r}"
            )
            return
        for attribute in sorted(use.code.names.attributes.get(use.name, ())):
            self._add_submodules(module, attribute)
        self._import(f"import {name}" if name == use.name else f"import {name} as {use.name}")

    def _add_submodules(self, module: types.ModuleType, attribute: str) -> None:
        """Import ``concurrent.futures`` where ``concurrent`` is asked for its ``futures``."""
        path: Any = module
        for part in attribute.split("."):
            name = f"{path.__name__}.{part}"
            path = vars(path).get(part)
            if not isinstance(path, types.ModuleType) or sys.modules.get(name) is not path:
                return
            if path.__name__ != name:
                return
            self._import(f"import {name}")

    def _import(self, statement: str) -> None:
        if statement not in self.imports:
            self.imports.append(statement)

    def _is_home(self, value: object) -> bool:
        """Whether the notebook or script defines it, rather than a module that is imported."""
        homes = [root.namespace for root in self.roots]
        if isinstance(value, (type, *_TYPING)):
            names = {home.get("__name__") for home in homes} | {"__main__"}
            return value.__module__ in names
        if not isinstance(value, _FUNCTIONS) and not unwraps(value):
            return False
        function: Any = value
        inner = inspect.unwrap(function)
        if not isinstance(inner, types.FunctionType):
            return False
        return inner.__module__ == "__main__" or any(inner.__globals__ is home for home in homes)

    def _parts(self, use: _Use) -> Parts:
        return Parts(self._hide, lambda: use.shown, str(use), use.code.namespace)

    def _hide(self, key: object) -> str:
        """Return the hidden name that stands for an object."""
        if id(key) not in self._hidden:
            self._hidden[id(key)] = (f"{HIDDEN}{len(self._hidden)}__", key)
        return self._hidden[id(key)][0]

    def _add_definition(self, use: _Use, value: Any, inner: Any = None) -> None:
        """Take source; `inner` is what a decorator of a module has hidden in `value`."""
        try:
            code = remade(use.name, value, self._parts(use))
            if code is None and inner is not None:
                source = function_source(inner, use.name)
                made = source and wrapped_function(use.name, source, inner, self._parts(use))
                code = made or None
            elif code is None and isinstance(value, (type, *_TYPING)):
                code = self._class_code(use, value)
            elif code is None:
                code = self._function_code(use, value)
            if code is None:
                what = f"{use.shown} is {describe(value)} whose source can't be found"
                self._refuse(use, f"{what}: define it in a cell or a file")
                return
            # A default or an attribute that can't travel: there, too, its source may make one.
            saved = self._state() if code.more.get("sets") else None
            count = len(self.refused)
            self._take_definition(code)
            if saved and len(self.refused) > count:
                again = self._source_again(use, value, code)
                if again is not None:
                    self.__dict__.update(saved)
                    self._take_definition(again)
        except CaptureError as error:
            self._refuse(use, f"{use.shown}: {error}")

    def _state(self) -> dict[str, Any]:
        kept = ("job", "roots", "chute", "send")
        return {name: value if name in kept else copy(value) for name, value in vars(self).items()}

    def _function_code(self, use: _Use, value: Any) -> CapturedCode | None:
        function = inspect.unwrap(value)
        itself = isinstance(value, types.FunctionType) and self._is_home_code(value)
        source = function_source(value if itself else function, use.name)
        if source is None:
            return None
        if not itself:
            return wrapped_function(use.name, source, function, self._parts(use))
        return bare_function(use.name, source, value, self._parts(use))

    def _source_again(self, use: _Use, value: Any, code: CapturedCode) -> CapturedCode | None:
        """Return a definition whose decorators and defaults are made anew by their source."""
        if isinstance(value, type):
            return without_sets(code, value, self._refused_names)
        if not isinstance(value, types.FunctionType) or code.more.get("cells"):
            return None
        function = inspect.unwrap(value)
        source = function_source(function, use.name)
        if source is None or "<locals>" in value.__qualname__ or function.__closure__:
            return None
        anonymous = function.__name__ == "<lambda>"
        defines = use.name if anonymous else function.__code__.co_name
        return from_source("def", use.name, source, function, defines=defines)

    def _is_home_code(self, function: types.FunctionType) -> bool:
        homes = [root.namespace for root in self.roots]
        around = function.__globals__
        return around.get("__name__") == "__main__" or any(around is home for home in homes)

    def _class_code(self, use: _Use, value: Any) -> CapturedCode | None:
        around = use.code.namespace
        if isinstance(value, type):
            home = getattr(sys.modules.get(value.__module__), "__dict__", around)
            source = class_source(value, around) or class_source(value, home)
            if source is not None and "<locals>" in value.__qualname__:
                return local_class(use.name, source, value, home, self._parts(use))
        else:
            source = None
        called = value.__name__ if use.name.startswith(HIDDEN) else use.name
        source = source or assignment_source(called, around)  # a named tuple, a type variable
        if source is None:
            return None
        defines = defined(source) or called
        code = from_source("def", use.name, source, None, namespace=around, defines=defines)
        if not isinstance(value, type):
            return code
        return changed_class(undecorated(code, value, source), value, self._parts(use))

    # Refusing

    def _refuse(self, use: _Use, reason: str) -> None:
        self.refused.append(f"{use}: {reason}")
        self._refused_names.add(use.name)

    def check_size(self) -> None:
        """Raise `CaptureError` if the values are too large."""
        sizes = {name: size for name, size, _ in self.sized()}
        if sum(sizes.values()) > VALUES_LIMIT:
            largest = max(sizes, key=sizes.__getitem__)
            shown = ", ".join(
                f"{name} {size:,}" for name, size in sorted(sizes.items(), key=lambda p: -p[1])[:5]
            )
            raise CaptureError(
                f"The values that {self.job} uses take {sum(sizes.values()):,} bytes together; "
                f"{VALUES_LIMIT:,} may travel by name ({shown}). Pass {largest} as job data "
                f"({self.job}.submit({largest}={largest})), or make it inside the function."
            )

    def definitions(self) -> Iterable[CapturedCode]:
        """Return everything that is defined there, in no order, the roots too."""
        return [*self._definitions.values(), *self.roots]

    @property
    def modules(self) -> set[str]:
        """The modules of what pickles name."""
        return self._modules

    def sized(self) -> Iterable[tuple[str, int, str]]:
        """Yield what people call each value, how many bytes it takes, and how it travels."""
        for name, data in self.values.items():
            yield self._shown(name), len(data), "value"
        for name, code in self._definitions.items():
            if code.kind == "pickle":
                yield self._shown(name), len(code.more["data"]), "pickle"

    def _shown(self, name: str) -> str:
        for code in self._definitions.values() if name.startswith(HIDDEN) else ():
            if name in code.parts:
                return code.parts[name].shown()
        return name
