# ruff: noqa: D102, N815  # the methods of a visitor are named after nodes, and say no more
"""Which names each scope of some code reads and binds: the part where order does not matter.

`Walker` knows the syntax; `Scope` is a function or a comprehension, `ClassBody` a class, and
`names` has the top level, where definite assignment decides.
"""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_AT_NAMES = re.compile(r"@([^\W\d]\w*)")
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def star_names(module: str | None) -> set[str]:
    """Return what ``from module import *`` binds, as far as this process knows the module."""
    found = sys.modules.get(module or "")
    if found is None:
        return set()
    everything = getattr(found, "__all__", None)
    if everything is None:
        return {name for name in vars(found) if not name.startswith("_")}
    return set(everything)


class Walker(ast.NodeVisitor):
    """Visit what runs in one scope, in the order in which it runs."""

    #: Whether ``x: T`` evaluates T here.
    annotations = True

    def __init__(self, attributes: dict[str, set[str]]) -> None:
        self.attributes = attributes
        self.bound: set[str] = set()
        #: Names that functions inside declare global and bind.
        self.bound_inside: set[str] = set()

    def read(self, name: str, line: int) -> None:
        raise NotImplementedError

    def read_past(self, name: str, line: int) -> None:
        """A comprehension or class inside reads, at once, a name that is not its own."""
        self.read(name, line)

    def read_inside(self, name: str, line: int, *, explicit: bool) -> None:
        """A function inside reads a name that is not its own; `explicit`: declared global."""
        raise NotImplementedError

    def bind(self, name: str) -> None:
        self.bound.add(name)

    def bind_inside(self, names: set[str]) -> None:
        self.bound_inside |= names

    def several(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    # Names and what is asked of them

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Store):
            self.read(node.id, node.lineno)
        if not isinstance(node.ctx, ast.Load):
            self.bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self.attributes.setdefault(inner.id, set()).add(".".join(parts))
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if not isinstance(text, str):
            return
        if isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval"):
            self._written(text)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("query", "eval"):
            # A frame of pandas looks up @names where it is asked.
            for name in _AT_NAMES.findall(text):
                self.read_inside(name, node.lineno, explicit=False)

    def _written(self, text: str) -> None:
        """Visit code that is written out in a string, which may run where it stands."""
        try:
            tree = ast.parse(text.strip())
        except (SyntaxError, ValueError):  # it says so when it runs
            return
        inside = Scope(self.attributes, set())
        inside.visit(tree)
        # As a function would read them: what is bound by then is known only when it runs.
        inside.hand_over(lambda name, line: self.read_inside(name, line, explicit=False))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.several([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.lineno)
        self.several([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.annotations:
            self.visit(node.annotation)
        if node.value is not None:
            self.several([node.value, node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target.id)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            names = star_names(node.module) if alias.name == "*" else {alias.asname or alias.name}
            for name in names:
                self.bind(name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.several([node.type])
        if node.name:
            self.bind(node.name)
        self.several(node.body)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.several([node.pattern])
        if node.name:
            self.bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.several([*node.keys, *node.patterns])
        if node.rest:
            self.bind(node.rest)

    # Scopes inside

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.several(node.decorator_list)
        self._defaults(node.args)
        generic = _type_params(node)
        inside = Scope(self.attributes, generic)
        inside.annotate(node.args)
        inside.several([node.returns])
        inside.hand_over(self.read)
        self._function(node, node.body, generic)
        self.bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._defaults(node.args)
        self._function(node, [node.body], set())

    def visit_TypeAlias(self, node: ast.AST) -> None:
        value, name = node.value, node.name  # type: ignore[attr-defined]  # 3.12 and newer
        inside = Scope(self.attributes, _type_params(node))
        inside.visit(value)
        inside.hand_over(lambda read, line: self.read_inside(read, line, explicit=False))
        self.bind(name.id)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.several(node.decorator_list)
        generic = _type_params(node)
        head = Scope(self.attributes, generic)
        head.several([*node.bases, *(keyword.value for keyword in node.keywords)])
        head.hand_over(self.read)
        ClassBody(self, generic).several(node.body)
        self.bind(node.name)

    def visit_ListComp(self, node: _Comprehension) -> None:
        self.visit(node.generators[0].iter)
        inside = Scope(self.attributes, set())
        for position, part in enumerate(node.generators):
            inside.several([part.iter if position else None, part.target, *part.ifs])
        if isinstance(node, ast.DictComp):
            inside.several([node.key, node.value])
        else:
            inside.visit(node.elt)
        inside.hand_over(self.read_past)
        for name in inside.assigned:
            self.bind(name)

    visit_SetComp = visit_ListComp
    visit_DictComp = visit_ListComp
    visit_GeneratorExp = visit_ListComp

    def _defaults(self, args: ast.arguments) -> None:
        self.several([*args.defaults, *args.kw_defaults])

    def _function(self, node: _Function, body: Sequence[ast.AST], extra: set[str]) -> None:
        inside = Scope(self.attributes, extra | _parameters(node.args))
        inside.annotations = False
        inside.several(body)
        inside.hand_over(lambda name, line: self.read_inside(name, line, explicit=False))
        for name, line in inside.global_reads.items():
            self.read_inside(name, line, explicit=True)
        self.bind_inside(inside.bound_inside | (inside.bound & inside.declared))


class Scope(Walker):
    """The scope of a function or a comprehension: order does not matter in it."""

    def __init__(self, attributes: dict[str, set[str]], own: set[str]) -> None:
        super().__init__(attributes)
        self.bound |= own
        #: Names that it declares global, and those of them that it or a function in it reads.
        self.declared: set[str] = set()
        self.global_reads: dict[str, int] = {}
        #: Targets of ``:=``, which a comprehension binds around itself.
        self.assigned: set[str] = set()
        self._outer: set[str] = set()
        self._reads: dict[str, int] = {}

    def read(self, name: str, line: int) -> None:
        self._reads.setdefault(name, line)

    def read_inside(self, name: str, line: int, *, explicit: bool) -> None:
        (self.global_reads if explicit else self._reads).setdefault(name, line)

    def visit_Global(self, node: ast.Global) -> None:
        self.declared.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._outer.update(node.names)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        super().visit_NamedExpr(node)
        self.assigned.add(node.target.id)

    def annotate(self, args: ast.arguments) -> None:
        """Visit the annotations of parameters."""
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self.several(arg.annotation for arg in every if arg is not None)

    def hand_over(self, read: Callable[[str, int], None]) -> None:
        """Tell the scope around which names are read here and are not its own."""
        own = self.bound - self._outer
        for name, line in self._reads.items():
            if name in self.declared:
                self.global_reads.setdefault(name, line)
            elif name not in own:
                read(name, line)


class ClassBody(Walker):
    """A class's body, which runs at once and whose names its functions don't see."""

    def __init__(self, around: Walker, own: set[str]) -> None:
        super().__init__(around.attributes)
        self._around = around
        self._own = own

    def read(self, name: str, line: int) -> None:
        if name not in self.bound | self._own:
            self._around.read_past(name, line)

    def read_past(self, name: str, line: int) -> None:
        # Past the class's own names: those are for its body alone.
        if name not in self._own:
            self._around.read_past(name, line)

    def read_inside(self, name: str, line: int, *, explicit: bool) -> None:
        if explicit or name not in self._own | {"__class__"}:
            self._around.read_inside(name, line, explicit=explicit)

    def bind_inside(self, names: set[str]) -> None:
        self._around.bind_inside(names)


def _parameters(args: ast.arguments) -> set[str]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return {arg.arg for arg in every if arg is not None}


def _type_params(node: ast.AST) -> set[str]:
    """Return the names of ``def f[T](…)``, which Python 3.12 brought."""
    return {param.name for param in getattr(node, "type_params", ())}
