"""Lines of a cell that only IPython understands, as Python that means the same on a worker.

A line is looked at where Python's own parser gives up, so that a ``!`` in a text is left alone.
Each becomes one line, so that line numbers stay.

====================  =====================================================================
``!ls {folder} $x``   runs it; what it prints is in the log as it comes
``files = !ls``       the lines that it prints
``%time f(x)``        and ``%%time`` at the beginning: how long that took
``%pip install x``    with the interpreter of the job
``%matplotlib …``     nothing: a job has no screen, and figures are saved
====================  =====================================================================
"""

from __future__ import annotations

import ast
import re
import string

__all__ = ["translated"]

_AGENT = "__import__('chutes_jupyter.agent.shell', fromlist=['run'])"
_COMMAND = re.compile(r"(\s*)!!?(.*)", re.S)
_OUTPUT = re.compile(r"(\s*[\w.\[\]'\", ]+?=)\s*!(.*)", re.S)
_MAGIC = re.compile(r"(\s*)%(\w+)[ \t]*(.*)", re.S)
_WHOLE_CELL = re.compile(r"(\s*)%%time\s*")
#: About the notebook's own screen and modules; a job has neither.
_NOTHING = re.compile(r"\s*%(matplotlib\b.*|autoreload\b.*|load_ext autoreload|config Inline.*)")
#: Not within single quotes, which keep the shell from its own, too.
_DOLLAR = re.compile(r"(.*?)\$(\$?[\w.]+)(?=(?:[^']*'[^']*')*[^']*$)", re.S)
_CONVERSIONS = {"": "", "s": "str", "r": "repr", "a": "ascii"}


def translated(source: str) -> str:
    """Return a cell with every such line as Python; what is no Python then never was.

    Parameters
    ----------
    source : str
        The cell without the magic line of ours.
    """
    lines = source.split("\n")
    shift = int(_indented(lines))
    mended: set[int] = set()
    # Each round mends a line, or is the last.
    for _ in range(len(lines) + 1):
        try:
            tree = ast.parse("if 1:\n" * shift + "\n".join(lines))
        except SyntaxError as error:
            at = (error.lineno or 0) - 1 - shift
            if not 0 <= at < len(lines) or not _mend(lines, at):
                break
            mended.add(at + 1 + shift)
        except (ValueError, RecursionError, MemoryError):
            return source
        else:
            begun = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)}
            # In the middle of a statement it is none of IPython's either.
            return "\n".join(lines) if mended <= begun else source
    # The error that is left is the person's.
    return "\n".join(lines)


def _indented(lines: list[str]) -> bool:
    first = next((line for line in lines if line.strip() and line.strip()[0] != "#"), "")
    return first[:1] in (" ", "\t")


def _mend(lines: list[str], at: int) -> bool:
    """Make a line Python, with those that it goes on in; False if it is none of IPython's."""
    end = at
    while lines[end].endswith("\\") and end + 1 < len(lines):
        end += 1
    joined = "".join(line.removesuffix("\\") for line in lines[at : end + 1])
    first = not any(line.strip() for line in lines[:at])
    found = _line(joined, first=first)
    if found is None:
        return False
    # The lines that it went on in stay, empty.
    lines[at : end + 1] = [found, *[""] * (end - at)]
    return True


def _line(line: str, *, first: bool) -> str | None:
    if match := _COMMAND.fullmatch(line):
        return f"{match[1]}{_call('run', match[2])}"
    match = _OUTPUT.fullmatch(line)
    if match and _is_python(f"{match[1].strip()} 0"):
        return f"{match[1]} {_call('lines', match[2])}"
    if match := _WHOLE_CELL.fullmatch(line):
        return f"{match[1]}{_AGENT}.start()" if first else None
    if _NOTHING.fullmatch(line):
        return line[: len(line) - len(line.lstrip())] + "pass"
    match = _MAGIC.fullmatch(line)
    if match and match[2] == "pip":
        return f"{match[1]}{_call('pip', match[3])}"
    if match and match[2] == "time" and match[3]:
        return f"{match[1]}with {_AGENT}.timed(): {match[3]}"
    return None


def _call(function: str, command: str) -> str:
    command = command.strip()
    parts = [part for part in _parts(command) if part != "''"]
    return f"{_AGENT}.{function}({', '.join([repr(command), *parts])})"


def _parts(command: str) -> list[str]:
    """Return the pieces of a command as Python: texts, and expressions to be evaluated there.

    As IPython has it: ``{x}`` and ``$x`` are expressions, ``$$x`` is the shell's ``$x``, and
    where one of them can't be had, the whole command is the shell's as it is.
    """
    parts: list[str] = []
    try:
        for text, field, spec, conversion in string.Formatter().parse(command):
            end = 0
            for match in _DOLLAR.finditer(text):
                before, name, end = match[1], match[2], match.end()
                if name.startswith("$"):
                    parts.append(repr(before + name))
                else:
                    parts += [repr(before), _expression(name, "")]
            parts.append(repr(text[end:]))
            if field is not None:
                # A colon is a slice's.
                parts.append(_expression(f"{field}:{spec}" if spec else field, conversion or ""))
    except (ValueError, SyntaxError):
        return []
    return parts


def _expression(text: str, conversion: str) -> str:
    ast.parse(f"({text}\n)", mode="eval")
    return f"lambda: {_CONVERSIONS[conversion]}({text})"


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
