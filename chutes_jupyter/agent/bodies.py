"""What a cell means: the body of a function in a fresh module, without indenting any text.

A cell becomes the body of ``async def NAME(self, **job_data)`` through its AST. The names that
it binds at its top level are declared ``global`` there, so they are the module's globals, as
they are in the kernel: ``n += 1`` on a notebook name works, functions of the cell see each
other, and its classes can be pickled.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import types
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    MutableMapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    Union,
)

#: Hidden names in the job's module, present where a cell needs them.
_STAR = "__chute_star__"
_CALL = "__chute_call__"
#: Builtins that look at their caller's names, with how many arguments make them do so.
_LOOKERS = {"exec": 1, "eval": 1, "locals": 0, "vars": 0, "dir": 0}

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Comprehension = Union[ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp]
_Position = Dict[str, int]


def parse(source: str, filename: str, first_line: int = 1) -> ast.Module:
    """Return the AST of module code whose first line has the number `first_line`.

    Indented source, as ``inspect.getsource`` gives it, is taken as it is.
    """
    blank = "\n" * (first_line - 1)
    if not is_indented(source):
        return ast.parse(blank + source, filename)
    # Text is not dedented, since that would change strings that span lines.
    tree = ast.parse(blank[1:] + "if 1:\n" + source, filename)
    if not blank:
        ast.increment_lineno(tree, -1)
    wrapper: Any = tree.body[0]
    tree.body = wrapper.body + tree.body[1:]
    return tree


def cell_function(
    source: str,
    name: str,
    params: str,
    filename: str,
    first_line: int = 1,
    future: bool = False,
) -> types.CodeType:
    """Return module code that defines ``async def NAME(PARAMS)`` with the cell as its body.

    Parameters
    ----------
    source : str
        The cell without its magic line.
    name : str
        The function's name.
    params : str
        Its parameters as they are written: ``"self, **job_data"``.
    filename : str
        What tracebacks call the cell.
    first_line : int
        The number of the first line of `source`.
    future : bool
        Whether ``from __future__ import annotations`` is in force around the cell.

    Raises
    ------
    SyntaxError
        If the cell is not Python, or yields at its top level.
    """
    tree = parse(source, filename, first_line)
    # Line 1 of this text becomes the cell's first line.
    head = ast.parse("async def %s(%s): pass" % (name, params), filename)
    ast.increment_lineno(head, first_line - 1)
    function: Any = head.body[0]
    at = {"lineno": first_line, "col_offset": 0, "end_lineno": first_line, "end_col_offset": 0}

    futures = _futures(tree)
    rewriter = _Rewriter(filename, source, first_line)
    body = [rewriter.visit(statement) for statement in tree.body if statement not in futures]
    names = bound_names(source, filename, first_line) - _parameters(function.args)
    if names:
        body.insert(0, ast.Global(names=sorted(names), **at))
    function.body = body or [ast.Pass(**at)]
    tree.body = futures + rewriter.helpers(at) + [function]
    return _compile(tree, filename, future)


def definition(
    source: str,
    filename: str,
    first_line: int = 1,
    drop_decorators: int = 0,
    future: bool = False,
    around: Optional["Around"] = None,
) -> types.CodeType:
    """Return module code from source that defines something, indented or not.

    Parameters
    ----------
    source : str
        A function or class with its decorators, or any other module code.
    filename, first_line
        Where the source is from; tracebacks name them.
    drop_decorators : int
        How many of the outermost decorators of the last function or class to leave out.
    future : bool
        Whether ``from __future__ import annotations`` is in force around it.
    around : Around, optional
        The function that it was defined in, of which nothing else is left.
    """
    tree = parse(source, filename, first_line)
    if drop_decorators:
        decorated = (*_FUNCTIONS, ast.ClassDef)
        function = [node for node in tree.body if isinstance(node, decorated)][-1]
        del function.decorator_list[:drop_decorators]
    if around is not None:
        around.put(tree)
    return _compile(tree, filename, future)


#: What a function is called that stands for the one around a definition.
FACTORY = "__chute_factory__"


class Around(NamedTuple):
    """What a definition has from a function around it, so that only its own lines are run.

    Parameters
    ----------
    defines : str
        The name that the definition binds.
    free : tuple of str
        The variables of the function around it that it uses.
    bare : bool
        Whether decorators and defaults are left out: what they made is known by value.
    bases : tuple of str
        The names of a class's bases, in place of the expressions.
    """

    defines: str
    free: Tuple[str, ...] = ()
    bare: bool = False
    bases: Tuple[str, ...] = ()

    def put(self, tree: ast.Module) -> None:
        """Put the code that defines something into a function that returns it."""
        if self.bare:
            strip(tree)
        last: Any = tree.body[-1]
        if self.bases:
            load = ast.Load()
            last.bases = [ast.copy_location(ast.Name(name, load), last) for name in self.bases]
        head: Any = ast.parse("def %s(%s): return %s" % (FACTORY, ", ".join(self.free), FACTORY))
        ast.increment_lineno(head, last.lineno - 1)
        factory = head.body[0]
        factory.body[0].value.id = self.defines
        factory.body[:0] = tree.body
        if self.defines not in self.free:
            # A function that calls itself finds itself where it did.
            own = ast.copy_location(ast.Global([self.defines]), factory)
            factory.body.insert(0, own)
        tree.body = [factory]


def strip(tree: ast.Module) -> None:
    """Take decorators and defaults from a definition; each default becomes None."""
    node: Any = tree.body[-1]
    if isinstance(node, ast.Assign):
        node = node.value
    else:
        node.decorator_list = []
    for arguments in (node.args.defaults, node.args.kw_defaults):
        for position, default in enumerate(arguments):
            if default is not None:
                arguments[position] = ast.copy_location(ast.Constant(None), default)


def bound_names(source: str, filename: str, first_line: int = 1) -> Set[str]:
    """Return the names that module code binds, deletes or declares global at its top level."""
    text = "\n" * (first_line - 1) + source
    if is_indented(source):
        # As `parse` takes it: a branch binds what its lines bind.
        text = "\n" * (first_line - 2) + "if 1:\n" + source
    table = symtable.symtable(text, filename, "exec")
    return {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_declared_global()
    }


def sole_function(tree: ast.Module, name: Optional[str]) -> Optional[_Function]:
    """Return the function of a cell that is the job itself, rather than a part of a body.

    It is the only function of that name at the top level (with None: the only function with
    the one parameter ``self``), in a cell that neither uses it there, nor returns, nor awaits.
    """
    found = [
        node
        for node in tree.body
        if isinstance(node, _FUNCTIONS)
        and (node.name == name if name else _written_parameters(node) == ["self"])
    ]
    if len(found) != 1:
        return None
    body_only = (ast.Return, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for node in own_scope(tree):
        waits = isinstance(node, ast.comprehension) and node.is_async
        if waits or isinstance(node, body_only):
            return None
        if isinstance(node, ast.Name) and node.id == found[0].name:
            return None
    return found[0]


def own_scope(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk the nodes in `tree` that run in its scope: not the bodies of functions in it."""
    for child in ast.iter_child_nodes(tree):
        yield child
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
            inner = child.body if isinstance(child.body, list) else [child.body]
            for part in ast.iter_child_nodes(child):
                if not any(part is node for node in inner):
                    yield part
                    yield from own_scope(part)
        else:
            yield from own_scope(child)


def _compile(tree: ast.Module, filename: str, future: bool) -> types.CodeType:
    import __future__

    flags = __future__.annotations.compiler_flag if future else 0
    # dont_inherit: this module's own future statements are not the cell's.
    code: types.CodeType = compile(tree, filename, "exec", flags, True)
    return code


def is_indented(source: str) -> bool:
    """Whether source is from inside of something: its first line of code is indented."""
    for line in source.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            return line[0] in " \t"
    return False


def _parameters(args: ast.arguments) -> Set[str]:
    return {node.arg for node in ast.walk(args) if isinstance(node, ast.arg)}


def _written_parameters(function: _Function) -> List[str]:
    args = function.args
    names = [arg.arg for arg in args.posonlyargs + args.args + args.kwonlyargs]
    return names + ["*" for part in (args.vararg, args.kwarg) if part]


def _futures(tree: ast.Module) -> List[ast.stmt]:
    """Return the future statements of a cell; only its beginning may have them."""
    found: List[ast.stmt] = []
    for position, node in enumerate(tree.body):
        docstring = position == 0 and isinstance(node, ast.Expr)
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            found.append(node)
        elif not docstring:
            break
    return found


class _Rewriter(ast.NodeTransformer):
    """Rewrite, in a cell's own scope, what means something else in a function's body."""

    def __init__(self, filename: str, source: str, first_line: int) -> None:
        self._filename = filename
        self._lines = source.split("\n")
        self._first_line = first_line
        self._used: Set[str] = set()

    def helpers(self, at: _Position) -> List[ast.stmt]:
        """Return the imports of the helpers that the rewritten cell calls."""
        known = {_STAR: "import_star", _CALL: "call_in_cell"}
        return [
            ast.ImportFrom(
                module=__name__,
                names=[_alias(known[hidden], hidden, at)],
                level=0,
                **at,
            )
            for hidden in sorted(self._used)
        ]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        # A name can't be both annotated and global.
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        value = self.visit(node.value)
        target = self.visit(node.target)
        return ast.copy_location(ast.Assign(targets=[target], value=value), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.names[0].name != "*":
            return node
        self._used.add(_STAR)
        arguments: List[ast.expr] = [ast.Constant(node.module or ""), ast.Constant(node.level)]
        call = ast.Call(ast.Name(_STAR, ast.Load()), arguments, [])
        statement = ast.copy_location(ast.Expr(call), node)
        return ast.fix_missing_locations(statement)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        plain = not node.keywords and not any(isinstance(a, ast.Starred) for a in node.args)
        if not plain or _LOOKERS.get(name, -1) != len(node.args):
            return node
        self._used.add(_CALL)
        func = ast.copy_location(ast.Name(_CALL, ast.Load()), node.func)
        return ast.copy_location(ast.Call(func, [node.func, *node.args], []), node)

    def visit_Yield(self, node: ast.expr) -> ast.expr:
        line = node.lineno - self._first_line
        text = self._lines[line] if 0 <= line < len(self._lines) else ""
        message = "'yield' outside function (a cell gives its result with 'return')"
        where = (self._filename, node.lineno, node.col_offset + 1, text)
        raise SyntaxError(message, where)

    visit_YieldFrom = visit_Yield  # noqa: N815  # ast's names

    def _only(self, node: ast.AST, *fields: str) -> ast.AST:
        """Rewrite those fields of a node that opens a scope which are not in that scope."""
        for field in fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                setattr(node, field, [self.visit(item) for item in value])
            elif isinstance(value, ast.AST):
                setattr(node, field, self.visit(value))
        return node

    def visit_FunctionDef(self, node: ast.AST) -> ast.AST:
        return self._only(node, "decorator_list", "args", "returns")

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._only(node, "decorator_list", "bases", "keywords")

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._only(node, "args")

    def visit_ListComp(self, node: _Comprehension) -> ast.AST:
        self._only(node.generators[0], "iter")
        return node

    visit_SetComp = visit_ListComp  # noqa: N815
    visit_DictComp = visit_ListComp  # noqa: N815
    visit_GeneratorExp = visit_ListComp  # noqa: N815


def _alias(name: str, asname: str, at: _Position) -> ast.alias:
    alias = ast.alias(name=name, asname=asname)
    for key in at:
        if key in getattr(alias, "_attributes", ()):
            setattr(alias, key, at[key])
    return alias


def import_star(module: str, level: int) -> None:
    """Do what ``from module import *`` does at a module's top level, in the caller's globals."""
    namespace = sys._getframe(1).f_globals
    found = builtins.__import__(module, namespace, None, ["*"], level)
    names = getattr(found, "__all__", None)
    if names is None:
        names = [name for name in vars(found) if not name.startswith("_")]
    for name in names:
        namespace[name] = getattr(found, name)


def call_in_cell(function: Callable[..., Any], *args: Any) -> Any:
    """Call a builtin that looks at its caller's names, so that it sees the cell's."""
    names = _CellNames(sys._getframe(1))
    if function in (builtins.exec, builtins.eval):
        return function(args[0], names.globals, names)
    if function in (builtins.locals, builtins.vars):
        return names
    if function is builtins.dir:
        return sorted(names)
    return function(*args)


class _CellNames(MutableMapping[str, Any]):
    """The names that a cell sees: the module's globals, and the function's parameters."""

    def __init__(self, frame: types.FrameType) -> None:
        self.globals = frame.f_globals
        self._parameters = frame.f_locals

    def __getitem__(self, name: str) -> Any:
        return self._parameters[name] if name in self._parameters else self.globals[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.globals[name] = value

    def __delitem__(self, name: str) -> None:
        del self.globals[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.globals, **self._parameters})

    def __len__(self) -> int:
        return len({**self.globals, **self._parameters})
