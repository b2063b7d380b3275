"""The layers of the house, kept by reading every module's imports.

A module imports from its own layer or from one below, and modules of one layer never import
each other in a circle. Every import counts: at the top, inside a function, for types only,
and `import_module` with a literal name.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "chutes_jupyter"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

# Bottom to top. A name stands for a module or for a whole package of them.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "twins", "harmless", "markup", "sigint", "agent"),
    (
        "models",
        "raised",
        "undeclared",
        "replies",
        "gpupages",
        "readings",
        "readingpages",
        "files",
        "config",
        "store",
    ),
    ("transports",),
    (
        "bootstrap",
        "link",
        "places",
        "prefixes",
        "ports",
        "relaystreams",
        "relay",
        "datagrams",
        "doorway",
        "mirror",
        "client",
        "portal",
        "names",
        "scopes",
        "shelllines",
        "sources",
        "assembled",
        "assembly",
        "credentials",
        "definitions",
        "given",
        "order",
        "needs",
        "checked",
        "ignored",
        "preflight",
        "project",
        "lookup",
        "pickles",
        "trusted",
        "unfit",
        "plain",
        "capture",
        "images",
        "nodes",
        "jobdata",
        "own_classes",
        "notebooks",
        "current",
        "job",
        "chute",
        "commands",
        "backends",
    ),
    ("kernel", "server", "cli"),
    ("",),  # the package itself: public names, imported late
)

# Who may import a library of somebody else; an empty name is the package itself.
NOTEBOOK = ("kernel", "cli", "")
OWNERS: dict[str, tuple[str, ...]] = {
    "asyncssh": ("transports.ssh", "transports.local"),
    **dict.fromkeys(("IPython", "anywidget", "comm", "ipykernel", "ipywidgets", "zmq"), NOTEBOOK),
    **dict.fromkeys(("jupyter_server", "tornado", "traitlets"), (*NOTEBOOK, "server")),
    **dict.fromkeys(("jupyterlab", "notebook"), NOTEBOOK),
    "httpx": ("client.doors", "server.client"),
    **dict.fromkeys(("aiohttp", "yarl"), ("server.tabs",)),
    "markdown_it": ("markup",),
    # Whoever unpickles what a worker sent runs its code: one module does, where the person trusts
    # it; one writes pickles for workers.
    **dict.fromkeys(("cloudpickle", "dill", "marshal", "pickle", "shelve"), ()),
    "pickle": ("pickles", "trusted"),
}

# The job's own process reads what the notebook pickled; nothing else may, and no client at all.
UNPICKLES = "agent.unpickle"
# It pickles what the codec refuses, for clients that trust the worker.
AGENT_PICKLES = (UNPICKLES, "agent.pickled")
# It reads what a worker pickled, and `job` asks whether the person said so.
TRUSTING = "trusted"
# The agent is standard library alone; the codec takes these where a worker has them. The rest of
# the codec's libraries are imported by `families.library`, which says what is missing.
LATE_IN_AGENT = {
    "agent.arrays": {"numpy"},
    "agent.pandas_arrays": {"pytz"},
    "agent.tensors": {"torch"},
    "agent.pickled": {"cloudpickle"},
}


@dataclass(frozen=True)
class Import:
    """One import of a module: what is imported, and where it stands."""

    target: str
    line: int
    late: bool  # inside a function
    relative: bool


def package_of(module: str, *, is_package: bool) -> str:
    full = f"{PACKAGE}.{module}" if module else PACKAGE
    return full if is_package else full.rpartition(".")[0]


def imports_of(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Return every import in `source`, relative ones as full names."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    package = package_of(module, is_package=is_package)
    found: list[Import] = []
    for node in ast.walk(tree):
        relative = bool(getattr(node, "level", 0))
        for target in targets_of(node, package):
            found.append(Import(target, node.lineno, id(node) in inside, relative))
    return found


def targets_of(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parts, *filter(None, [node.module])])
        # `from package import name`: the name may be a module, so it is looked at too.
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        first = node.args[0]
        if name in {"import_module", "__import__"} and isinstance(first, ast.Constant):
            return [str(first.value)]
    return []


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or (name and module.startswith(f"{name}.")) for name in names)


def layer_of(module: str) -> int | None:
    """Return the number of a module's layer; None for what is in no layer."""
    for number, names in enumerate(LAYERS):
        if within(module, names):
            return number
    return None


def own_target(target: str, modules: set[str]) -> str | None:
    """Return which of our modules an import names, or None for somebody else's."""
    if target != PACKAGE and not target.startswith(f"{PACKAGE}."):
        return None
    name = target[len(PACKAGE) + 1 :]
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def violations(module: str, found: list[Import]) -> list[str]:
    """Return, in words, each import of `module` that breaks a rule."""
    layer = layer_of(module)
    if layer is None:
        return [f"{module} is in no layer: add it to the table, or put it where it belongs"]
    broken = []
    for item in found:
        where = f"{module or '__init__'}:{item.line} imports {item.target}"
        if within(module, ("agent",)):
            broken += [f"{where}: {why}" for why in agent_faults(module, item)]
        elif within(item.target, (f"{PACKAGE}.{UNPICKLES}",)):
            broken.append(f"{where}: that unpickles, and is the job's alone")
        elif within(item.target, (f"{PACKAGE}.{TRUSTING}",)) and module != "job":
            broken.append(f"{where}: that unpickles what a worker sent: job's alone")
        elif within(module, ("server",)) and within(item.target, (f"{PACKAGE}.kernel",)):
            broken.append(f"{where}: the server works without a kernel")
        elif item.target.partition(".")[0] == PACKAGE:
            above = layer_of(item.target[len(PACKAGE) + 1 :])
            if above is None or above > layer:
                broken.append(f"{where}: that is above its own layer, {layer}")
        elif not within(module, OWNERS.get(item.target.partition(".")[0], (module,))):
            broken.append(f"{where}: that is not this module's to import")
    return broken


def agent_faults(module: str, item: Import) -> list[str]:
    top = item.target.partition(".")[0]
    if top in ("pickle", "marshal", "shelve") and module not in AGENT_PICKLES:
        return ["that is not this module's to import"]
    if item.relative and item.target.startswith(f"{PACKAGE}.agent."):
        return []
    if top in LATE_IN_AGENT.get(module, ()):
        return [] if item.late else ["only inside a function: a worker may not have it"]
    if top not in sys.stdlib_module_names:
        return ["the agent is standard library alone, and imports itself relatively"]
    return []


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return one circle of imports for each place where the walk meets itself."""
    done: set[str] = set()
    found: list[list[str]] = []

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(edges.get(module, ())):
                walk(target, [*path, module])
            done.add(module)

    for module in sorted(edges):
        walk(module, [])
    return found


def load() -> dict[str, tuple[Path, list[Import]]]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        source = path.read_text(encoding="utf-8")
        found[module] = (path, imports_of(source, module, is_package=is_package))
    return found


HOUSE = load()


@pytest.mark.parametrize("module", sorted(HOUSE), ids=lambda name: name or "__init__")
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    assert violations(module, HOUSE[module][1]) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for module, (_, found) in HOUSE.items():
        if module:  # the package itself imports late, by name
            targets = {own_target(item.target, set(HOUSE)) for item in found}
            edges[module] = {target for target in targets if target and target != module}
    assert circles(edges) == []


# Each rule is seen to bite: an import that breaks it, in a module that may not have it.
BROKEN = [
    ("errors", "from chutes_jupyter.models import Port", "above its own layer"),
    ("models", "from .transports.base import Transport", "above its own layer"),
    ("transports.ssh", "from ..client import JobClient", "above its own layer"),
    ("client", "def late():\n    from .kernel import panel", "above its own layer"),
    ("job", "from chutes_jupyter import Chute", "above its own layer"),
    ("config", "import importlib\nimportlib.import_module('chutes_jupyter.cli')", "above its own"),
    ("client", "import asyncssh", "not this module's"),
    ("transports.base", "from asyncssh import connect", "not this module's"),
    ("chute", "def f():\n    from IPython import get_ipython", "not this module's"),
    ("portal", "import tornado.ioloop", "not this module's"),
    ("mirror", "import jupyter_server", "not this module's"),
    ("job", "if TYPE_CHECKING:\n    import ipywidgets", "not this module's"),
    ("server.jobs", "from chutes_jupyter.kernel.render import state", "works without a kernel"),
    ("server.jobs", "import ipywidgets", "not this module's"),
    ("client.hub", "from tornado.web import HTTPError", "not this module's"),
    ("kernel.panel", "import pickle", "not this module's"),
    ("job", "from chutes_jupyter.agent.unpickle import unpickle", "the job's alone"),
    ("job", "from chutes_jupyter.agent import unpickle", "the job's alone"),
    ("agent.codec", "import pickle", "not this module's"),
    ("kernel.panel", "def f():\n    from chutes_jupyter import trusted", "job's alone"),
    ("client", "from chutes_jupyter.trusted import loads", "job's alone"),
    ("job", "import pickle", "not this module's"),
    ("agent.serve", "import httpx", "standard library alone"),
    ("agent.serve", "from chutes_jupyter.errors import ChuteError", "standard library alone"),
    ("agent.serve", "from chutes_jupyter.agent import wire", "imports itself relatively"),
    ("agent.serve", "from ..errors import ChuteError", "standard library alone"),
    ("agent.arrays", "import numpy", "only inside a function"),
    ("attic", "import os", "in no layer"),
]
SOUND = [
    ("agent.serve", "import json\nfrom . import wire\nfrom .journal import read"),
    ("agent.arrays", "def pack():\n    import numpy"),
    ("transports.ssh", "import asyncssh\nfrom .base import Transport\nfrom ..models import Port"),
    ("client", "from chutes_jupyter.agent import wire\nfrom .link import AgentLink"),
    ("kernel.panel", "import ipywidgets\nfrom ..job import Job"),
    ("", "from chutes_jupyter import cli"),
    ("pickles", "import pickle"),
    ("server.base", "from tornado.web import HTTPError\nimport jupyter_server"),
    ("agent.unpickle", "import pickle"),
    ("agent.pickled", "import pickle"),
    ("trusted", "import pickle"),
    ("job", "from chutes_jupyter import trusted"),
]


@pytest.mark.parametrize(("module", "source", "why"), BROKEN)
def test_a_broken_rule_is_found(module: str, source: str, why: str) -> None:
    found = violations(module, imports_of(source, module))
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(("module", "source"), SOUND)
def test_what_the_rules_allow_is_not_refused(module: str, source: str) -> None:
    assert violations(module, imports_of(source, module, is_package=not module)) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
