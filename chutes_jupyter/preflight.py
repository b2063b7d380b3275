"""What a job would take along, and what stands in its way: before anything is sent."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Item", "Report", "amount", "lacking", "packages_for", "perhaps_lacking"]

_KINDS = ("import", "module", "source", "value", "pickle", "secret")
#: So many lines of one kind are shown.
_SHOWN = 40
_INSTALL = "if the function or branch that imports it runs, it lacks: install"


@dataclass(frozen=True)
class Item:
    """One thing that goes along.

    Parameters
    ----------
    name : str
        The name, statement or file.
    kind : {"import", "module", "source", "value", "pickle", "secret"}
        How it travels.
    size : int, optional
        Its bytes; None for what has none, and for a secret.
    """

    name: str
    kind: str
    size: int | None = None


@dataclass(frozen=True)
class Report:
    """What `JobFunction.check` found.

    Parameters
    ----------
    job, worker : str
        The job function, and the worker that it would run on.
    items : tuple of Item
        What goes along.
    refused : tuple of str
        What can't travel: its place, the reason, and what to do.
    held : tuple of str
        Names that look like credentials, stay here, and are hardly needed.
    missing : mapping
        The modules that the worker's interpreter lacks, with the packages that have them.
    perhaps : mapping
        Such modules that are imported in a function or a branch, which may never run.
    unasked : str
        Why the worker could not be asked what it has.
    """

    job: str
    worker: str
    items: tuple[Item, ...] = ()
    refused: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    perhaps: Mapping[str, str] = field(default_factory=dict)
    unasked: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in its way."""
        return not self.refused and not self.missing

    @property
    def size(self) -> int:
        """How many bytes go along, the files that the worker may have already included."""
        return sum(item.size or 0 for item in self.items)

    def __str__(self) -> str:
        lines = [f"{self.job} on {self.worker}: {amount(self.size)} to send"]
        for kind in _KINDS:
            some = sorted((i for i in self.items if i.kind == kind), key=lambda i: -(i.size or 0))
            lines += [_line(item) for item in some[:_SHOWN]]
            if len(some) > _SHOWN:
                rest = sum(item.size or 0 for item in some[_SHOWN:])
                lines.append(f"  {kind:<7} … and {len(some) - _SHOWN} more, {amount(rest)}")
        lines += [f"  refused {each}" for each in self.refused]
        lines += [f"  held    {name}: it looks like a credential" for name in self.held]
        lines += [f"  missing {name}: install {package}" for name, package in self.missing.items()]
        lines += [f"  perhaps {name}: {_INSTALL} {p}" for name, p in self.perhaps.items()]
        if self.unasked:
            lines.append(f"  {self.worker} could not be asked what its Python has: {self.unasked}")
        lines.append("Nothing stands in its way." if self.ok else "It can't start like this.")
        return "\n".join(lines) + "\n"

    __repr__ = __str__


def _line(item: Item) -> str:
    size = "" if item.size is None else f"  {amount(item.size)}"
    return f"  {item.kind:<7} {item.name}{size}"


def amount(size: int) -> str:
    """Return a number of bytes as people read it."""
    if size < 1000:
        return f"{size} bytes"
    rest, units = float(size), iter(("kB", "MB", "GB", "TB"))
    unit = ""
    while rest >= 999.5 and (unit := next(units, "")):
        rest /= 1000
    return f"{rest:.3g} {unit}"


def packages_for(modules: Iterable[str]) -> dict[str, str]:
    """Return the package that has each module, as far as this machine knows."""
    known = importlib.metadata.packages_distributions()
    return {name: (known.get(name) or [name])[0] for name in sorted(modules)}


def lacking(job: str, worker: str, missing: Mapping[str, str], executable: str) -> str:
    """Return the sentence for modules that a worker's interpreter does not have."""
    names = ", ".join(missing)
    packages = " ".join(dict.fromkeys(missing.values()))
    return (
        f"{worker} lacks what {job} imports: {names}. Install it for the interpreter of its jobs "
        f"({executable} -m pip install {packages}), or choose another one "
        f"(worker add {worker} --python PATH)."
    )


def perhaps_lacking(worker: str, perhaps: Mapping[str, str]) -> str:
    """Return the sentence for modules that a worker lacks, and a job may do without."""
    packages = " ".join(dict.fromkeys(perhaps.values()))
    return (
        f"{worker} lacks {', '.join(perhaps)}, which is imported in a function or a branch: if "
        f"that runs, the job fails there (pip install {packages})."
    )
