# ruff: noqa: E501  # cells on one line
"""Cells with lines that only IPython understands."""

from __future__ import annotations

from tests.corpus.cases import Case

CASES = {
    "a shell line": Case("!echo one\nprint('two')\n!echo three | tr a-z A-Z"),
    "shell lines with values": Case(
        "for n in range(2):\n    !echo {n + 1} $name {name!r} {rows[0]['a'].upper()} done\n"
        "!echo $cfg.x '$name' {letters[1:3]}\n",
        (
            "from types import SimpleNamespace\nname = 'a b'\ncfg = SimpleNamespace(x=5)",
            "rows = [{'a': 'q'}]\nletters = 'abcd'",
        ),
    ),
    "values that are the shell's own": Case(
        "!echo ${NOT_SET}x $$ {name} | sed 's/[0-9]//g'\n!X=1; echo $X $NOT_SET.\n!echo {no such} $name",
        ("name = 'a b'",),
    ),
    "braces of the shell's": Case(
        "!echo a b | awk '{print $2}'\n!echo x{a,b}y; echo ${HOME:+home}"
    ),
    "what a command prints": Case(
        "lines = !printf 'a\\nb\\n'\nanswer = [list(lines), len(lines)]\nparts = {}\n"
        "parts['x'] = !echo {len(lines)}\nprint(list(parts['x']))"
    ),
    "a command that fails": Case("!exit 3\nprint('goes on')"),
    "a command over lines": Case("!echo one \\\n  two\nprint('line', 3)\nraise ValueError(1)"),
    "a text with what looks like a magic": Case(
        'text = """\n!no command\n%time no magic\n"""\nanswer = text\n!echo yes'
    ),
    "matplotlib inline and autoreload": Case(
        "%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\nprint('drawn')",
        needs=("matplotlib",),
    ),
    "a magic of the notebook's": Case("%who\nprint(1)", refused="is IPython's own"),
    "a cell in another language": Case("%%bash\nls", refused="is IPython's own"),
    "a shell line in a function of another cell": Case(
        "show()", ("def show():\n    !echo shown",), refused="get_ipython is IPython's"
    ),
    "help": Case("print?", refused="is IPython's own"),
}
