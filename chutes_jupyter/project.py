"""The person's own modules, of a project and not installed, as the files that a job needs.

What a job's code imports is found by reading it, never by running it, and so is what those
modules import in turn. Files that a package keeps beside its code come along where the code
asks for them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import os
import site
import sys
import sysconfig
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chutes_jupyter.errors import CaptureError
from chutes_jupyter.ignored import Ignored
from chutes_jupyter.replies import path_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Collected", "Import", "ModuleFile", "collect", "imports_in", "pack"]

#: How much the files may take together, in bytes, and how many there may be.
SIZE_LIMIT, COUNT_LIMIT = 50_000_000, 5_000
#: What the worker has of its own.
_THERE = frozenset({"chutes_jupyter", "__main__", "__future__", "builtins"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_RESOURCES = frozenset({"importlib.resources", "importlib_resources", "pkgutil"})
_CODE = (".py", ".pyi", ".pyc")
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
#: What is in these may never run.
_BRANCHES = (
    ast.Try | ast.TryStar | ast.If | ast.Match | ast.While | ast.For | ast.AsyncFor | ast.IfExp
)


class ModuleFile(NamedTuple):
    """A file that goes along.

    Parameters
    ----------
    path : str
        Where it lies on the path of modules, with ``/`` between its parts.
    origin : Path
        Where it is here.
    """

    path: str
    origin: Path


class Import(NamedTuple):
    """A module that some code imports."""

    name: str
    #: Whether the code can't do without it, as far as can be seen.
    needed: bool
    #: Whether it is told where it lacks; code that looks for it itself may do without.
    told: bool = True


class Collected(NamedTuple):
    """What the imports of a job come to."""

    files: list[ModuleFile]
    #: The top-level names of installed modules that the code can't do without.
    installed: set[str]
    #: Those that it imports on a way that it may never go: in a function, or in a branch.
    perhaps: set[str]


def imports_in(tree: ast.AST, package: str = "", *, root: str = "") -> Iterator[Import]:
    """Yield the modules that code imports; ``from a import b`` gives ``a`` and ``a.b``.

    Parameters
    ----------
    tree : ast.AST
        The code.
    package : str
        The package that its relative imports begin at.
    root : str
        The function that is sure to be called, if there is one.
    """
    # Each node with whether it is sure to run, and whether a failure there is looked after.
    rest: deque[tuple[ast.AST, bool, bool]] = deque([(tree, True, False)])
    while rest:
        node, needed, tried = rest.popleft()
        for name, whole in _imported(node, package):
            yield Import(name, needed and whole, whole and not tried)
        if isinstance(node, _FUNCTIONS):
            needed = needed and getattr(node, "name", "") == root
        elif isinstance(node, _BRANCHES):
            needed = False  # there may be another way
        tried = tried or isinstance(node, ast.Try | ast.TryStar)
        rest.extend((child, needed, tried) for child in ast.iter_child_nodes(node))


def _imported(node: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, True) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = package.split(".")
            around = parts[: len(parts) - node.level + 1] if package else []
            base = ".".join([*around, *filter(None, [node.module])])
        if base:
            yield base, True
            yield from ((f"{base}.{alias.name}", False) for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield node.args[0].value, False


def collect(imports: Iterable[Import]) -> Collected:
    """Return the files of the person's own modules among `imports`, and what they need in turn.

    Raises
    ------
    CaptureError
        If they are too many or too large, or one has a name that no worker may have.
    """
    walk = _Walk()
    for each in imports:
        walk.take(each)
    walk.run()
    files = sorted(walk.files.items())
    size = 0
    for path, origin in files:
        size += origin.stat().st_size
        fault = path_fault(path, windows=False) or ("a backslash" if "\\" in path else None)
        if fault or path.encode("utf-8", "replace").decode() != path:
            raise CaptureError(
                f"{path!r}, beside a module that the job imports, can't be a file on a worker "
                f"({fault or 'a name that is no text'}). Rename it, or name it in .gitignore."
            )
    if size > SIZE_LIMIT or len(files) > COUNT_LIMIT:
        largest = sorted(files, key=lambda item: -item[1].stat().st_size)[:5]
        shown = ", ".join(f"{path} {origin.stat().st_size:,}" for path, origin in largest)
        raise CaptureError(
            f"The modules that the job imports are {len(files):,} files of {size:,} bytes; "
            f"{COUNT_LIMIT:,} files of {SIZE_LIMIT:,} bytes may go along (the largest: {shown}). "
            "Keep large data outside of the package, or name it in .gitignore."
        )
    found = [ModuleFile(path, origin) for path, origin in files]
    return Collected(found, walk.installed, walk.perhaps - walk.installed)


class _Walk:
    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.installed: set[str] = set()
        self.perhaps: set[str] = set()
        self._seen: set[str] = set()
        #: Whether top-level modules are the person's own; None for those that are nowhere.
        self._tops: dict[str, bool | None] = {}
        self._rest: deque[str] = deque()
        self._ignored = Ignored()

    def take(self, each: Import) -> None:
        top = each.name.partition(".")[0]
        if not top or top in _THERE or top in sys.stdlib_module_names:
            return
        if top not in self._tops:
            spec = _find(top)
            self._tops[top] = None if spec is None else _is_own(spec)
        own = self._tops[top]
        if own is False and (each.needed or each.told):
            (self.installed if each.needed else self.perhaps).add(top)
        elif own and each.name not in self._seen:
            self._seen.add(each.name)
            self._rest.append(each.name)

    def run(self) -> None:
        done: set[str] = set()
        while self._rest:
            parts = self._rest.popleft().split(".")
            for end in range(1, len(parts) + 1):
                name = ".".join(parts[:end])
                if name not in done:
                    done.add(name)
                    self._add(name)

    def _add(self, name: str) -> None:
        spec = _find(name)
        if spec is None or not spec.has_location or not spec.origin:
            return  # an attribute rather than a module, or a package without a file of its own
        origin = Path(spec.origin)
        if not origin.is_file():
            return
        is_package = spec.submodule_search_locations is not None
        package = name if is_package else name.rpartition(".")[0]
        folder = "/".join(package.split(".")) if package else ""
        self.files[f"{folder}/{origin.name}".lstrip("/")] = origin
        if origin.suffix != ".py":
            return
        status = origin.stat()
        found = _read(origin, package, status.st_mtime_ns, status.st_size)
        for each in found.imports:
            self.take(each)
        if found.texts is not None:
            self._add_data(found.texts, origin.parent, folder, whole=bool(package))

    def _add_data(self, texts: frozenset[str], home: Path, folder: str, *, whole: bool) -> None:
        """Add files beside a module: all of a package's, or those that a lone module names."""
        places = [home]
        if not whole:
            named = [
                Path(os.path.normpath(home / text))
                for text in texts
                if 0 < len(text) < 256 and "\0" not in text
            ]
            places = [place for place in named if home in place.parents and place.exists()]
        for place in places:
            for path in self._data_in(place, home):
                relative = path.relative_to(home).as_posix()
                self.files.setdefault(f"{folder}/{relative}".lstrip("/"), path)

    def _data_in(self, place: Path, home: Path) -> Iterator[Path]:
        rest = [place]
        root = home.resolve()
        while rest:
            path = rest.pop()
            if path != home and (path.name.startswith(".") or path.name == "__pycache__"):
                continue
            if path.is_symlink() and root not in path.resolve().parents:
                continue  # it leads out of the package
            if path != home and self._ignored.is_ignored(path):
                continue
            if path.is_dir():
                if not path.is_symlink():
                    rest += sorted(path.iterdir())
            elif path.is_file() and path.suffix not in _CODE:
                yield path


def pack(files: Iterable[ModuleFile]) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return the files as the payload lists them, and their contents by hash."""
    manifest, contents = [], {}
    for file in files:
        data = file.origin.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        contents[sha256] = data
        executable = os.access(file.origin, os.X_OK) and os.name == "posix"
        manifest.append({"path": file.path, "sha256": sha256, "exec": executable})
    return manifest, contents


class _Read(NamedTuple):
    imports: tuple[Import, ...]
    #: The texts in code that asks for the files beside it; None where it doesn't.
    texts: frozenset[str] | None


@functools.lru_cache(maxsize=4096)
def _read(origin: Path, package: str, _changed: int, _size: int) -> _Read:
    """Read a module, again only when it has changed."""
    try:
        tree = ast.parse(origin.read_bytes(), str(origin))
    except (SyntaxError, ValueError):
        return _Read((), None)  # its import says what is wrong
    # What a module's functions import is nobody's news: most of them are not called.
    found = (Import(each.name, each.needed, told=False) for each in imports_in(tree, package))
    imports = tuple(dict.fromkeys(found))
    if not _asks_for_files(tree):
        return _Read(imports, None)
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return _Read(imports, frozenset(text for text in constants if isinstance(text, str)))


def _asks_for_files(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "__file__":
            return True
        if any(name in _RESOURCES for name, _ in _imported(node, "")):
            return True
    return False


def _find(name: str) -> Any:
    """Return where a module comes from, without importing anything."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        return spec
    path = None
    parent = name.rpartition(".")[0]
    if parent:
        around = _find(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        path = list(around.submodule_search_locations)
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, path) if find is not None else None
        except (ImportError, AttributeError, ValueError, OSError):
            continue
        if spec is not None:
            return spec
    return None


def _is_own(spec: Any) -> bool:
    """Whether a module belongs to a project of the person's, rather than being installed."""
    places = list(spec.submodule_search_locations or ())
    if spec.has_location and spec.origin:
        places.append(spec.origin)
    if isinstance(spec.loader, importlib.machinery.FrozenImporter | type(None)) and not places:
        return False
    return bool(places) and not any(_is_installed(Path(place)) for place in places)


@functools.lru_cache(maxsize=4096)
def _is_installed(path: Path) -> bool:
    if _INSTALLED & set(path.parts):
        return True
    return any(home in path.parents or home in path.resolve().parents for home in _homes())


@functools.cache
def _homes() -> tuple[Path, ...]:
    """Return the folders of what is installed."""
    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    paths = {Path(each) for each in found}
    return tuple(paths | {path.resolve() for path in paths})
