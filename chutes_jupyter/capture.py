"""From a cell or a decorated function to what the worker needs to run it.

`capture_cell` and `capture_function` take the source when a job function is registered; what
the names in it mean is looked up when it is submitted (`assembly`).
"""

from __future__ import annotations
import __future__ as future

import ast
import inspect
import keyword
import re
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chutes_jupyter.agent import bodies
from chutes_jupyter.errors import CaptureError, SpecError
from chutes_jupyter.names import Names, find_names
from chutes_jupyter.shelllines import translated
from chutes_jupyter.sources import Source, function_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CapturedCode", "Part", "capture_cell", "capture_function", "check_name", "from_source"]

JOB_PARAMS = "self, **job_data"
HOOK_PARAMS = "self"
_EXAMPLES = {
    "job": "async def train(self, **job_data): …",
    "hook": "async def setup(self): …",
}
_SYNTAX = {"job": "must take self and **job_data, and nothing else", "hook": "must take only self"}
#: How a line begins, or goes on after ``=``, that only IPython understands.
_IPYTHON = re.compile(r"\s*([%!?]|[\w.,\s]+=\s*[%!])|.*\?\s*$")


class Part(NamedTuple):
    """Something that has no name of its own: what a cell holds, or a default."""

    value: Any
    #: Returns what people call it: ``train.__defaults__[0]``.
    shown: Callable[[], str]
    #: Where the code is that needs it.
    where: str


@dataclass(frozen=True)
class CapturedCode:
    """Some source that the worker runs, and where its names are looked up here.

    Parameters
    ----------
    kind : {"job", "hook", "def"}
        What it defines: the job function, a start-up hook, or a name that they need.
    name : str
        What it is called.
    source, filename, first_line
        Its text and where that is from.
    names : Names
        What it takes from around it.
    namespace : mapping
        The globals around it.
    closure : mapping
        The variables of functions around it.
    cell : bool
        Whether the source is the body of the function, rather than defines it.
    params : str
        The parameters of a cell's function.
    drop_decorators : int
        How many of the outermost decorators stay here.
    future : bool
        Whether ``from __future__ import annotations`` is in force.
    defines : str
        The name that the source itself binds, where that is another than `name`.
    parts : mapping
        What it needs that has no name of its own, by the hidden names that stand for it.
    more : mapping
        What else the unit says of it: see the agent's `units`.
    """

    kind: Literal["job", "hook", "def", "pickle"]
    name: str
    source: str
    filename: str
    first_line: int
    names: Names
    namespace: Mapping[str, Any] = field(repr=False)
    closure: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cell: bool = False
    params: str = ""
    drop_decorators: int = 0
    future: bool = False
    defines: str = ""
    parts: Mapping[str, Part] = field(default_factory=dict, repr=False)
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def unit(self) -> dict[str, Any]:
        """Return the unit as the payload has it."""
        if self.kind == "pickle":
            return {"kind": "pickle", "name": self.name, **self.more}
        return {
            "kind": self.kind,
            "name": self.name,
            "defines": self.defines or self.name,
            "source": self.source,
            "filename": self.filename,
            "first_line": self.first_line,
            "cell": self.cell,
            "params": self.params,
            "drop_decorators": self.drop_decorators,
            "future": self.future,
            **self.more,
        }


def check_name(name: object) -> str:
    """Return the name of a job function, or raise `SpecError` if it can't be one."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        rule = "must be a Python name: letters, digits and _, not beginning with a digit"
        raise SpecError("name", name, rule, "%%chute_job train")
    return name


def capture_cell(
    source: str,
    name: str | None,
    namespace: Mapping[str, Any],
    *,
    filename: str,
    kind: Literal["job", "hook"] = "job",
    first_line: int = 2,
) -> CapturedCode:
    """Take a cell: the body of a function, or, where it holds just that, the function itself.

    Parameters
    ----------
    source : str
        The cell without its magic line.
    name : str, optional
        The name of the job function; None for a start-up hook, which has none.
    namespace : mapping
        The notebook's names.
    filename : str
        What tracebacks call the cell (``In[7]``).
    kind : {"job", "hook"}
        What the cell is.
    first_line : int
        The number of the first line of `source`; the magic's is 1.

    Raises
    ------
    SyntaxError
        If the cell is not Python; it points at the cell's line.
    SpecError
        If the cell defines the function itself, with wrong parameters.
    """
    params = JOB_PARAMS if kind == "job" else HOOK_PARAMS
    called = "setup" if name is None else name
    has_future = namespace.get("annotations") is future.annotations
    written, source = source, translated(source)
    try:
        tree = bodies.parse(source, filename, first_line)
        itself = bodies.sole_function(tree, name)
        if itself is None:
            bodies.cell_function(source, called, params, filename, first_line, has_future)
        else:
            bodies.definition(source, filename, first_line, future=has_future)
    except SyntaxError as error:
        raise _explained(error, source, first_line) from None
    if itself is not None:
        called = itself.name
        _check_definition(itself, kind)
    own = () if itself is not None else ["self", "job_data"][: 2 if kind == "job" else 1]
    return CapturedCode(
        kind=kind,
        name=called,
        source=source,
        filename=filename,
        first_line=first_line,
        names=find_names(tree, params=own, annotations=itself is not None),
        namespace=namespace,
        cell=itself is None,
        params=params,
        future=has_future,
        more={} if source == written else {"written": written},
    )


def capture_function(
    function: Callable[..., Any],
    *,
    kind: Literal["job", "hook"] = "job",
) -> CapturedCode:
    """Take a function that a decorator registers, while that decorator is being called.

    This decorator and those above it stay here; those below it go along.

    Parameters
    ----------
    function : function
        What the decorator got.
    kind : {"job", "hook"}
        What it becomes.

    Raises
    ------
    SpecError
        If it is not a function of the right parameters.
    CaptureError
        If its source can't be found.
    """
    if not callable(function) or inspect.isclass(function):
        raise SpecError("function", function, "must be a function", _EXAMPLES[kind])
    _check_parameters(function, kind)
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType) or inner.__name__ == "<lambda>":
        raise SpecError("function", function, "must be made with def", _EXAMPLES[kind])
    source = function_source(inner, inner.__name__)
    if source is None:
        raise CaptureError(
            f"The source of {inner.__name__} can't be found ({inner.__code__.co_filename}). "
            "Define it in a cell or a file: what is typed at Python's own prompt, or made by "
            "exec, can't travel."
        )
    drop = _registered_at(source, inner.__code__.co_filename)
    return from_source(kind, inner.__name__, source, inner, drop=drop)


def from_source(
    kind: Literal["job", "hook", "def"],
    name: str,
    source: Source,
    function: types.FunctionType | None,
    *,
    namespace: Mapping[str, Any] | None = None,
    drop: int = 0,
    defines: str = "",
    closed: bool = True,
) -> CapturedCode:
    """Return the captured code of a definition whose source is known.

    With `closed` its closure becomes globals there.
    """
    around = function.__globals__ if function is not None else (namespace or {})
    has_future = around.get("annotations") is future.annotations
    if function is not None:
        has_future = bool(function.__code__.co_flags & future.annotations.compiler_flag)
    tree = bodies.parse(source.text, source.filename, source.first_line)
    if drop:
        del tree.body[-1].decorator_list[:drop]  # type: ignore[attr-defined]  # a function
    return CapturedCode(
        kind=kind,
        name=name,
        source=source.text,
        filename=source.filename,
        first_line=source.first_line,
        names=find_names(tree),
        namespace=around,
        closure=closure_of(function) if closed and function is not None else {},
        drop_decorators=drop,
        future=has_future,
        defines=defines,
    )


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the variables that a function has from functions around it.

    Raises
    ------
    CaptureError
        If it changes one of them, or is a method: as a global that would mean something else.
    """
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        if name == "__class__" or rebinds(function, name):
            what = "calls super()" if name == "__class__" else f"changes {name!r} (nonlocal)"
            raise CaptureError(
                f"{function.__qualname__} {what}, which belongs to what is around it and can't "
                "travel. Define it at the top level."
            )
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet: it can't be read here either
            continue
    return found


def rebinds(function: types.FunctionType, name: str) -> bool:
    """Whether the function, or one inside it, binds a variable of the function around it."""

    def search(code: types.CodeType) -> bool:
        if name not in code.co_freevars:
            return False
        stores = any(
            step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval == name
            for step in _instructions(code)
        )
        inside = (part for part in code.co_consts if isinstance(part, types.CodeType))
        return stores or any(search(part) for part in inside)

    return search(function.__code__)


def _instructions(code: types.CodeType) -> Any:
    import dis

    return dis.get_instructions(code)


def _registered_at(source: Source, filename: str) -> int:
    """Return how many decorators there are down to the one that is being called now.

    Its line is on the stack, whatever it is called and however many functions it goes through.
    """
    lines = [node.lineno for node in source.decorators]
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == filename and frame.f_lineno in lines:
            return lines.index(frame.f_lineno) + 1
        frame = frame.f_back
    return 0  # called as a function, below the definition


def _check_definition(node: ast.FunctionDef | ast.AsyncFunctionDef, kind: str) -> None:
    args = node.args
    plain = [arg.arg for arg in args.posonlyargs + args.args] == ["self"] and not args.defaults
    extra = bool(args.vararg or args.kwonlyargs)
    if not plain or extra or bool(args.kwarg) != (kind == "job"):
        raise SpecError(node.name, f"({ast.unparse(args)})", _SYNTAX[kind], _EXAMPLES[kind])
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in bodies.own_scope(node)):
        raise SpecError(node.name, "yield", "must return its result", _EXAMPLES[kind])
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr in ("job", "on_startup"):
            text = f"@{ast.unparse(decorator)}"
            rule = "has no place in a cell of %%chute_job or %%chute_startup; use one of the two"
            raise SpecError("decorator", text, rule, "%%chute_job train --timeout 1h")


def _check_parameters(function: Callable[..., Any], kind: str) -> None:
    name = getattr(function, "__name__", repr(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise SpecError("function", function, "must be made with def", _EXAMPLES[kind]) from None
    given = [(part.name, part.kind, part.default) for part in signature.parameters.values()]
    empty = inspect.Parameter.empty
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    right = bool(given) and given[0][0] == "self" and given[0][1] in plain and given[0][2] is empty
    kinds = [each for _, each, _ in given[1:]]
    if not right or kinds != ([inspect.Parameter.VAR_KEYWORD] if kind == "job" else []):
        shown = str(signature.replace(return_annotation=inspect.Signature.empty))
        raise SpecError(name, shown, _SYNTAX[kind], _EXAMPLES[kind])
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SpecError(name, "yield", "must return its result", _EXAMPLES[kind])


def _explained(error: SyntaxError, source: str, first_line: int) -> SyntaxError:
    """Say more where the cell uses what only IPython understands."""
    lines = source.split("\n")
    position = (error.lineno or first_line) - first_line
    line = lines[position] if 0 <= position < len(lines) else ""
    if not _IPYTHON.match(line):
        return error
    message = (
        f"{line.strip()!r} is IPython's own and the worker has only Python. Of IPython's lines a "
        "job may have !commands, %time, %%time at its beginning, %pip and %matplotlib; leave "
        "others out"
    )
    return SyntaxError(message, (error.filename, error.lineno, error.offset, line))
