"""How the house is kept: what it declares, what it may never do, and how big its rooms are."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import chutes_jupyter
from chutes_jupyter import errors
from chutes_jupyter.config import Settings, Workers

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "chutes_jupyter"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

MODULE_LINES = 500
FUNCTION_LINES = 70


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def public_names() -> list[str]:
    return list(chutes_jupyter.__all__)


# -- what it declares


def test_public_names_are_sorted_and_there() -> None:
    assert public_names() == sorted(public_names())
    for name in public_names():
        assert getattr(chutes_jupyter, name) is not None


def test_the_version_is_one() -> None:
    package = json.loads((REPOSITORY / "labextension" / "package.json").read_text(encoding="utf-8"))
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "labextension/package.json"
    assert chutes_jupyter.__version__ == package["version"]
    assert importlib.metadata.version("chutes_jupyter") == package["version"]
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {package['version']}" in changelog


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│ ├└─]*)([A-Z]\w+)", line)
        if match and match[2] in errors.__all__:
            depth = len(match[1]) // 4
            branch = [*branch[:depth], match[2]]
            drawn[match[2]] = branch[depth - 1] if depth else ""
    assert sorted(drawn) == errors.__all__
    for name, parent in drawn.items():
        bases = [base.__name__ for base in getattr(errors, name).__bases__]
        assert parent in bases or (not parent and bases == ["Exception"]), name


def imported_by(paths: list[Path]) -> set[str]:
    """Return the top-level names of what these files import from others."""
    found: set[str] = set()
    for node in (node for path in paths for node in ast.walk(tree_of(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"chutes_jupyter"}


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    declared = {
        Requirement(text).name.lower().replace("-", "_")
        for text in PROJECT["project"]["dependencies"]
    }
    agent = PACKAGE / "agent"  # shipped to workers; test_layers.py says what it may import
    client = [path for path in SOURCES if agent not in path.parents]
    # traitlets and comm are ipywidgets' own words, and come with it.
    imported = {name.lower() for name in imported_by(client)} - {"traitlets", "comm"}
    # One package's name is longer than what is imported of it.
    names = {"markdown_it_py": "markdown_it"}
    assert imported == {names.get(name, name) for name in declared}


def test_every_dependency_says_why() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)
    assert block
    for line in block[1].splitlines():
        assert re.fullmatch(r'\s+"[^"]+",\s+# \S.*', line), line


# -- what it may never do


def keywords(path: Path) -> Iterator[tuple[str, object, int]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.keyword) and node.arg and isinstance(node.value, ast.Constant):
            yield node.arg, node.value.value, node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_host_key_goes_unchecked_and_no_shell_is_started(path: Path) -> None:
    for name, value, line in keywords(path):
        assert (name, value) != ("known_hosts", None), f"line {line}"
        assert (name, value) != ("shell", True), f"line {line}"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_no_test_is_skipped(path: Path) -> None:
    skips = {"skip", "skipif", "xfail", "importorskip"}
    for node in ast.walk(tree_of(path)):
        assert not (isinstance(node, ast.Attribute) and node.attr in skips), node.lineno


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("agent/**/*.py")), ids=name_of)
def test_the_agent_is_written_in_the_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))


def test_loading_the_extension_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'chutes_jupyter')\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "chutes_jupyter" in loaded
    assert not loaded & {"asyncssh", "cryptography", "pydantic", "httpx", "ipywidgets", "numpy"}


# -- how big its rooms are


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, node.name


# -- what it says about itself


@pytest.mark.parametrize(
    "path",
    [
        REPOSITORY / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "docs/reference.md",
            "docs/lab.md",
            "docs/tabs.md",
        )
    ],
    ids=name_of,
)
def test_the_documents_name_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), f"no target {target}"
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    links += re.findall(r'\b(?:src|srcset)="([^"]+)"', text)
    for link in links:
        assert (path.parent / link).exists(), link


def test_every_name_in_the_readme_code_is_public() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for line in re.findall(r"^from chutes_jupyter import (.+)$", text, re.M):
        for name in line.split(","):
            assert name.strip() in public_names()


def test_the_settings_in_the_reference_are_what_is_read(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    file = tmp_path / "chutes_workers.toml"
    file.write_text(block, encoding="utf-8")
    assert Settings.load(file) == Settings()
    worker = Workers.load(file).get("gpu1")
    assert (worker.host, worker.env) == (
        "me@gpu1.example.org:2222",
        {"HF_HOME": "/scratch/me/hf"},
    )


def test_every_module_says_what_it_is_for() -> None:
    for path in SOURCES:
        first = (ast.get_docstring(tree_of(path)) or "").split("\n")[0]
        assert first, name_of(path)
        assert first[-1] in ".:?", name_of(path)
