"""The code blocks of the reference document, taken from its text.

The document (`job-decorator-api.txt`, as it was published) has prose and code and no fences.
A line is code when it is indented by four columns or begins like a statement; a block goes on
over empty lines, and ends where prose comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).with_name("job-decorator-api.txt")

_CODE = re.compile(r"    |@chute|from \S+ import |# |async def |[a-z_]+ = |[)\]]")
_IMPORT = re.compile(r"^from chutes\.(chute\.job|chute|image) import ", re.M)


@dataclass(frozen=True)
class Block:
    """A code block: where it begins in the document, and its text, unchanged."""

    line: int
    text: str

    @property
    def name(self) -> str:
        """What the table calls the block: the functions that it defines, or its first words."""
        functions = re.findall(r"^async def (\w+)", self.text, re.M)
        return "+".join(functions) or _IMPORT.sub("", self.text).split("(")[0].split("\n")[-1]

    @property
    def ours(self) -> str:
        """The block with its import lines changed, and nothing else."""
        return _IMPORT.sub("from chutes_jupyter import ", self.text)


def blocks() -> list[Block]:
    """Return the code blocks of the document, in its order."""
    found: list[Block] = []
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate([*lines, "The end"]):
        is_code = bool(_CODE.match(line))
        if start is None and is_code:
            start = number
        elif start is not None and line.strip() and not is_code:
            found.append(Block(start + 1, "\n".join(lines[start:number]).rstrip() + "\n"))
            start = None
    return found
