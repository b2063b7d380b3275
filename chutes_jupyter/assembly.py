"""What the names in a job function become on the worker.

A module becomes an import statement; a function or class of the notebook, source, with what it
needs in turn; a JSON value travels as it is when the job is submitted. Everything else is
refused, all at once and by name.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import bodies, codec
from chutes_jupyter.capture import CapturedCode, from_source
from chutes_jupyter.errors import CaptureError
from chutes_jupyter.models import Port
from chutes_jupyter.plain import describe, is_plain, problem
from chutes_jupyter.sources import (
    Source,
    assignment_source,
    class_source,
    function_source,
    import_from,
    import_statement,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: How much the values of names may take together, in bytes.
VALUES_LIMIT = 1_000_000
_MISSING = object()
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


def assemble(
    job: CapturedCode,
    hooks: Sequence[tuple[int, CapturedCode]] = (),
    *,
    chute: object = None,
) -> dict[str, Any]:
    """Return the payload's ``imports``, ``values``, ``units`` and ``chute_names``.

    Parameters
    ----------
    job : CapturedCode
        The job function.
    hooks : sequence of (int, CapturedCode)
        The start-up hooks with their priorities.
    chute : object
        The job's own chute; names of it are bound to ``self`` there.

    Raises
    ------
    CaptureError
        If names can't travel; it names all of them.
    """
    hooks = sorted(hooks, key=lambda pair: pair[0])
    roots = [code for _, code in hooks] + [job]
    assembly = _Assembly(job.name, roots, chute)
    for root in roots:
        assembly.take_root(root)
    assembly.check()
    units = [code.unit() for code in assembly.ordered()]
    units += [{**code.unit(), "priority": priority} for priority, code in hooks]
    return {
        "imports": assembly.imports,
        "values": assembly.values,
        "units": [*units, job.unit()],
        "chute_names": assembly.chute_names,
        "module": "__main__",
        "job": job.name,
    }


@dataclass
class _Use:
    """Where a name is used."""

    name: str
    line: int
    code: CapturedCode

    def __str__(self) -> str:
        return f"{self.code.filename} line {self.line}"


@dataclass
class _Assembly:
    job: str
    roots: list[CapturedCode]
    chute: object
    imports: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    chute_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._definitions: dict[str, CapturedCode] = {}
        self._bound: dict[str, Any] = {}
        self._refused: list[str] = []
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
        order: dict[str, CapturedCode] = {}
        begun: set[tuple[str, bool]] = set()

        def put(name: str, *, whole: bool) -> None:
            code = self._definitions.get(name)
            if code is None or (name, whole) in begun:
                return
            begun.add((name, whole))
            for needed in code.names.now:
                put(needed, whole=True)  # it may be called, so all of it must be there
            order.setdefault(name, code)
            if whole:
                for needed in code.names.later:
                    put(needed, whole=True)

        for name in self._definitions:
            put(name, whole=False)
        return list(order.values())

    # One name

    def _need(self, use: _Use) -> None:
        """Take a name, or note why it can't travel."""
        value = _look_up(use.name, use.code)
        if value is _MISSING or self._is_own(value):
            return
        if use.name in self._bound:
            known = self._bound[use.name]
            if known is not value and not (is_plain(known) and known == value):
                reason = "is two different things in the functions that travel; rename one of them"
                self._refuse(use, f"{use.name} {reason}")
            return
        self._bound[use.name] = value
        self._add(use, value)

    def _offer(self, use: _Use) -> None:
        """Take a name that is hardly needed, if that costs nothing."""
        value = _look_up(use.name, use.code)
        if value is not _MISSING and use.name not in self._bound and is_plain(value):
            self._bound[use.name] = value
            self.values[use.name] = value

    def _is_own(self, value: object) -> bool:
        code = getattr(value, "code", None)
        return _role(value) == "job" and any(code is root for root in self.roots)

    def _add(self, use: _Use, value: Any) -> None:
        if value is self.chute and value is not None:
            self.chute_names.append(use.name)
        elif _role(value):
            self._refuse(use, f"{use.name} is {_ROLES[_role(value)]}")
        elif isinstance(value, types.ModuleType):
            self._add_module(use, value)
        elif problem(value, use.name) is None:
            self.values[use.name] = value
        elif isinstance(value, Port):
            self.imports.append("from chutes_jupyter import Port")
            self._add_source(use, Source(f"{use.name} = {value!r}\n", use.code.filename, 1))
        elif self._is_home(value):
            self._add_definition(use, value)
        else:
            self._add_import(use, value)

    def _add_module(self, use: _Use, module: types.ModuleType) -> None:
        name = "os.path" if module.__name__ in _PATH_MODULES else module.__name__
        known = sys.modules.get(module.__name__)
        if known is not module or name == "__main__":
            self._refuse(
                use, f"{use.name} is a module that can't be imported by its name, {name!r}"
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
        inner = inspect.unwrap(value) if callable(value) else value
        if not isinstance(inner, types.FunctionType):
            return False
        return inner.__module__ == "__main__" or any(inner.__globals__ is home for home in homes)

    def _add_definition(self, use: _Use, value: Any) -> None:
        function = None
        try:
            if isinstance(value, (type, *_TYPING)):
                source = self._class_source(use, value)
                defines = _defined(source) or use.name
            else:
                function = inspect.unwrap(value)
                source = function_source(function, use.name)
                anonymous = function.__name__ == "<lambda>"
                defines = use.name if anonymous else function.__code__.co_name
            if source is None:
                self._refuse(use, f"{use.name} is {describe(value)} whose source can't be found")
            else:
                self._add_source(use, source, function, defines)
        except CaptureError as error:
            self._refuse(use, f"{use.name}: {error}")

    def _class_source(self, use: _Use, value: Any) -> Source | None:
        around = use.code.namespace
        if not isinstance(value, type):
            return assignment_source(use.name, around)
        if "<locals>" in value.__qualname__:
            raise CaptureError("it is defined inside a function; define it at the top level")
        home = getattr(sys.modules.get(value.__module__), "__dict__", around)
        found = class_source(value, around) or class_source(value, home)
        return found or assignment_source(use.name, around)  # a named tuple

    def _add_source(
        self,
        use: _Use,
        source: Source,
        function: types.FunctionType | None = None,
        defines: str = "",
    ) -> None:
        around = use.code.namespace
        code = from_source("def", use.name, source, function, namespace=around, defines=defines)
        self._take_definition(code)

    def _add_import(self, use: _Use, value: Any) -> None:
        # As the person wrote it, if possible: where a library really keeps a thing may change.
        statement = import_statement(use.name, value, use.code.namespace)
        statement = statement or _import_of(value, use.name)
        if statement is not None:
            self._import(statement)
        elif use.name == "get_ipython":
            reason = "get_ipython is IPython's, and the worker has only Python; for commands "
            self._refuse(use, reason + "there is subprocess.run")
        else:
            self._refuse(use, problem(value, use.name) or "")

    # Refusing

    def _refuse(self, use: _Use, reason: str) -> None:
        self._refused.append(f"  {use}: {reason}")

    def check(self) -> None:
        """Raise `CaptureError` if something was refused, or the values are too large."""
        if self._refused:
            names = "\n".join(self._refused)
            raise CaptureError(
                f"{self.job} uses what can't travel to a worker:\n{names}\n"
                f'Pass it as job data ({self.job}.submit(x=…), read as job_data["x"]), or make '
                "it inside the function."
            )
        sizes = {name: self._size(name) for name in self.values}
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

    def _size(self, name: str) -> int:
        try:
            return len(codec.dumps(self.values[name], name))
        except codec.CodecError as error:
            raise CaptureError(str(error)) from error


def _look_up(name: str, code: CapturedCode) -> Any:
    """Return what a name means in some code, or `_MISSING` where the worker has it by itself."""
    if name in code.closure:
        return code.closure[name]
    value = code.namespace.get(name, _MISSING)
    builtin = getattr(builtins, name, _MISSING)
    if builtin is _MISSING or value is _MISSING:
        return value
    inner = inspect.unwrap(value) if callable(value) else value
    # IPython puts its own `open`, `exit` and `quit` among a notebook's names.
    same = inner is builtin or type(value).__module__.startswith("IPython.")
    return _MISSING if same else value


def _role(value: object) -> str:
    """Return what a value of ours is: ``chute``, ``job`` or nothing."""
    return str(getattr(type(value), "__chute_role__", ""))


def _import_of(value: object, name: str) -> str | None:
    """Return the statement that imports a value from where it says it is."""
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    for module in (getattr(value, "__module__", None), type(value).__module__):
        for attribute in (qualname, name):
            if _is_at(value, module, attribute):
                return import_from(str(module), str(attribute), name)
    return None


def _is_at(value: object, module: str | None, attribute: str | None) -> bool:
    """Whether ``module.attribute`` is that value, in a module that can be imported."""
    if not module or not attribute or module == "__main__" or "<" in attribute:
        return False
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        found = inspect.getattr_static(found, part, None)
        if found is None:
            return False
    return found is value


def _defined(source: Source | None) -> str:
    """Return the name of the class that some source defines."""
    if source is None:
        return ""
    node = bodies.parse(source.text, source.filename).body[-1]
    return node.name if isinstance(node, ast.ClassDef) else ""
