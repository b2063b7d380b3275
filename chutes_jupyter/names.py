# ruff: noqa: N802, N815  # the methods of a visitor are named after nodes
"""Which names code takes from around it: a pass over its AST with definite assignment.

A name that the code binds before it reads it is its own. One that it may read first, as in
``n += 1`` or after an ``if`` that binds it in one branch, is taken from the notebook. Loops
are taken to run and ``try`` blocks to succeed when that decides it: such a name is only
*perhaps* taken.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from chutes_jupyter.scopes import Walker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass
class Names:
    """The names that module code, or the body of a cell, takes and gives.

    Each of the dicts has the first line on which the name is read.
    """

    #: Read while the code runs, before it binds them.
    now: dict[str, int] = field(default_factory=dict)
    #: The same, but only if a loop does not run or a `try` block fails.
    perhaps: dict[str, int] = field(default_factory=dict)
    #: Read by functions that it defines, and not bound by it.
    later: dict[str, int] = field(default_factory=dict)
    #: Bound at its top level, or by a function of it that declares them global.
    bound: set[str] = field(default_factory=set)
    #: Those bound whichever way it runs.
    sure: set[str] = field(default_factory=set)
    #: What is asked of each name: ``{"concurrent": {"futures", "futures.wait"}}``.
    attributes: dict[str, set[str]] = field(default_factory=dict)


def find_names(tree: ast.Module, *, params: Iterable[str] = (), annotations: bool = True) -> Names:
    """Return the names of module code, or of a cell's body.

    Parameters
    ----------
    tree : ast.Module
        The code.
    params : iterable of str
        The parameters of the function that the code is the body of.
    annotations : bool
        Whether annotations of names at the top level are evaluated; in a cell they are not.
    """
    names = Names()
    flow = _Flow(names.attributes, annotations=annotations)
    flow.sure.update(params)
    flow.likely.update(params)
    flow.block(tree.body)
    names.now, names.perhaps = flow.reads, flow.perhaps
    own = flow.bound | set(params)
    for name, line in flow.inner.items():
        if name not in own:
            (names.perhaps if name in flow.bound_inside else names.later).setdefault(name, line)
    for name in names.now:
        names.perhaps.pop(name, None)
    names.bound = flow.bound | flow.bound_inside
    names.sure = flow.sure - set(params)
    return names


class _Flow(Walker):
    """The top level of a module or a cell, where it matters what is bound when."""

    def __init__(self, attributes: dict[str, set[str]], *, annotations: bool = True) -> None:
        super().__init__(attributes)
        self.annotations = annotations
        self.reads: dict[str, int] = {}
        self.perhaps: dict[str, int] = {}
        self.inner: dict[str, int] = {}
        self.sure: set[str] = set()
        self.likely: set[str] = set()
        #: Whether this point can't be reached.
        self.dead = False
        #: What is bound at each `break` of the loop.
        self._exits: list[tuple[set[str], set[str]]] = []

    def read(self, name: str, line: int) -> None:
        if name not in self.likely:
            self.reads.setdefault(name, line)
        elif name not in self.sure:
            self.perhaps.setdefault(name, line)

    def read_inside(self, name: str, line: int, *, explicit: bool) -> None:
        del explicit  # around a module there is nothing else
        self.inner.setdefault(name, line)

    def bind(self, name: str) -> None:
        super().bind(name)
        self.sure.add(name)
        self.likely.add(name)

    def bind_inside(self, names: set[str]) -> None:
        super().bind_inside(names)
        self.likely |= names

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Visit statements until one of them leaves."""
        for statement in statements:
            if self.dead:
                return
            self.visit(statement)

    # Statements that leave

    def visit_Return(self, node: ast.Return) -> None:
        self.several([node.value])
        self.dead = True

    def visit_Raise(self, node: ast.Raise) -> None:
        self.several([node.exc, node.cause])
        self.dead = True

    def visit_Break(self, _node: ast.Break) -> None:
        self._exits.append((set(self.sure), set(self.likely)))
        self.dead = True

    def visit_Continue(self, _node: ast.Continue) -> None:
        self.dead = True

    # Statements that branch

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branch([lambda: self.block(node.body), lambda: self.block(node.orelse)])

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)

        def run(case: ast.match_case) -> None:
            self.several([case.pattern, case.guard])
            self.block(case.body)

        last = node.cases[-1]
        wild = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
        paths: list[Callable[[], None]] = [partial(run, case) for case in node.cases]
        if not wild or last.guard:
            paths.append(lambda: None)
        self._branch(paths)

    def _branch(self, paths: Sequence[Callable[[], None]]) -> None:
        start = set(self.sure), set(self.likely)
        ends = []
        for path in paths:
            self.sure, self.likely = set(start[0]), set(start[1])
            self.dead = False
            path()
            if not self.dead:
                ends.append((self.sure, self.likely))
        self._meet(ends or [start])
        self.dead = not ends

    def _meet(self, ends: Sequence[tuple[set[str], set[str]]]) -> None:
        self.sure = set.intersection(*(set(sure) for sure, _ in ends))
        self.likely = set.intersection(*(set(likely) for _, likely in ends))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop([node.target], node.body, node.orelse, endless=False)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self.visit(node.test)
        self._loop([], node.body, node.orelse, endless=endless)

    def _loop(
        self,
        targets: Sequence[ast.expr],
        body: Sequence[ast.stmt],
        orelse: Sequence[ast.stmt],
        *,
        endless: bool,
    ) -> None:
        before = set(self.sure)
        outer, self._exits = self._exits, []
        self.several(targets)
        self.block(body)
        breaks, self._exits = self._exits, outer
        # What its body binds is likely bound, wherever the loop is left.
        hoped = set.union(self.likely, *(likely for _, likely in breaks))
        ends = [sure for sure, _ in breaks]
        if not endless:
            # The body may not run at all.
            self.sure, self.likely, self.dead = before, set(hoped), False
            self.block(orelse)
            hoped |= self.likely
            if not self.dead:
                ends.append(self.sure)
        self.likely = hoped
        self.sure = set.intersection(*ends) if ends else before
        self.dead = not ends

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.sure)
        self.block(node.body)
        during = set(self.likely)
        self.block(node.orelse)
        ends = [] if self.dead else [(self.sure, self.likely)]
        hoped = set(self.likely) if ends else None
        for handler in node.handlers:
            self.sure, self.likely, self.dead = set(before), set(during), False
            self.several([handler.type])
            if handler.name:
                self.bind(handler.name)
            self.block(handler.body)
            if not self.dead:
                ends.append((self.sure, self.likely))
        left = not ends
        after = set.intersection(*(sure for sure, _ in ends)) if ends else set(before)
        if hoped is None:
            hoped = set.intersection(*(likely for _, likely in ends)) if ends else during
        # The last block runs whatever came before.
        self.sure, self.likely, self.dead = set(before), hoped, False
        self.block(node.finalbody)
        self.sure |= after
        self.dead = self.dead or left

    visit_TryStar = visit_Try

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.several([item.context_expr, item.optional_vars])
        self.block(node.body)

    visit_AsyncWith = visit_With
