"""Everything that a job takes along, put together for its payload."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import bodies
from chutes_jupyter.assembly import Assembly
from chutes_jupyter.errors import CaptureError
from chutes_jupyter.needs import Needs
from chutes_jupyter.preflight import Item
from chutes_jupyter.project import Import, ModuleFile, collect, imports_in, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chutes_jupyter.capture import CapturedCode

__all__ = ["Assembled", "assemble"]


@dataclass(frozen=True)
class Assembled:
    """What a job takes along.

    Parameters
    ----------
    job : str
        The job function's name.
    payload : dict
        The payload's ``imports``, ``values``, ``units``, ``modules`` and the rest.
    files : dict
        The contents of the modules' files, by hash.
    needs : Needs
        What the worker's interpreter must have.
    refused : tuple of str
        What can't travel, with its place and the reason.
    held : tuple of str
        The names of credentials that stay here, and are hardly needed.
    items : tuple of Item
        What goes along, for people.
    """

    job: str
    payload: dict[str, Any]
    files: dict[str, bytes]
    needs: Needs
    refused: tuple[str, ...]
    held: tuple[str, ...]
    items: tuple[Item, ...]

    def check(self) -> None:
        """Raise `CaptureError` if something was refused."""
        if self.refused:
            names = "\n".join(f"  {each}" for each in self.refused)
            raise CaptureError(
                f"{self.job} uses what can't travel to a worker:\n{names}\n"
                f'Pass it as job data ({self.job}.submit(x=…), read as job_data["x"]), or make '
                "it inside the function."
            )


def assemble(
    job: CapturedCode,
    hooks: Sequence[tuple[int, CapturedCode]] = (),
    *,
    chute: object = None,
    send: Iterable[str] = (),
    secret: Iterable[str] = (),
) -> Assembled:
    """Return what a job takes along, and what of it can't travel.

    Parameters
    ----------
    job : CapturedCode
        The job function.
    hooks : sequence of (int, CapturedCode)
        The start-up hooks with their priorities.
    chute : object
        The job's own chute; names of it are bound to ``self`` there.
    send : iterable of str
        The names of credentials that may travel.
    secret : iterable of str
        Such names of which nothing is shown.

    Raises
    ------
    CaptureError
        If it is too large.
    """
    hooks = sorted(hooks, key=lambda pair: pair[0])
    roots = [code for _, code in hooks] + [job]
    assembly = Assembly(job.name, roots, chute, frozenset((*send, *secret)))
    for root in roots:
        assembly.take_root(root)
    assembly.check_size()
    collected = collect(_imports(assembly))
    manifest, files = pack(collected.files)
    units = [code.unit() for code in assembly.ordered()]
    units += [{**code.unit(), "priority": priority} for priority, code in hooks]
    payload = {
        "imports": assembly.imports,
        "values": assembly.values,
        "units": [*units, job.unit()],
        "chute_names": assembly.chute_names,
        "modules": manifest,
        "module": "__main__",
        "job": job.name,
    }
    return Assembled(
        job=job.name,
        payload=payload,
        files=files,
        needs=Needs(
            frozenset(collected.installed),
            frozenset(collected.perhaps),
            tuple((c.source, c.filename, c.first_line) for c in _written(assembly)),
        ),
        refused=tuple(assembly.refused),
        held=tuple(assembly.held),
        items=(*_items(assembly, frozenset(secret)), *(_file(each) for each in collected.files)),
    )


def _items(assembly: Assembly, secret: frozenset[str]) -> Iterator[Item]:
    yield from (Item(statement, "import") for statement in assembly.imports)
    for code in assembly.definitions():
        if code.filename:
            yield Item(f"{code.name} ({code.filename})", "source", len(code.source.encode()))
    for name, size, kind in assembly.sized():
        hidden = name in secret or any(part in secret for part in re.findall(r"\w+", name))
        yield Item(name, "secret") if hidden else Item(name, kind, size)


def _file(file: ModuleFile) -> Item:
    return Item(file.path, "module", file.origin.stat().st_size)


def _imports(assembly: Assembly) -> Iterator[Import]:
    """Yield every module that what travels imports."""
    for statement in assembly.imports:
        yield from imports_in(ast.parse(statement))
    for name in assembly.modules:
        yield Import(name, needed=True)
    for code in _written(assembly):
        tree = bodies.parse(code.source, code.filename, code.first_line)
        root = "" if code.kind == "def" else code.name
        yield from imports_in(tree, str(code.namespace.get("__package__") or ""), root=root)


def _written(assembly: Assembly) -> Iterator[CapturedCode]:
    """Yield what the person wrote, rather than we."""
    return (code for code in assembly.definitions() if code.filename)
