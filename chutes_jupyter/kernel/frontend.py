"""The panel's front end: the modules under `static/`, joined to the one text that widgets take.

The modules are plain ES modules, which a bundler or a browser can load one by one. A widget
has a single text: each module becomes a function that returns what it exports, after those that
it imports from. For that they keep to one form: imports from files beside them, by their own
names, at the top; exports by name, where the thing is declared.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).with_name("static")

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.M)
#: What is written for readers and editors stays out of every notebook's messages.
_COMMENT = re.compile(r"^ */\*\*.*?\*/\n", re.M | re.S)
_FORBIDDEN = re.compile(r"^(?:import|export)\b.*$", re.M)


@cache
def style() -> str:
    """Return the style sheet."""
    return (STATIC / "panel.css").read_text(encoding="utf-8")


@cache
def script(entry: str = "panel") -> str:
    """Return one module with everything that `entry` needs, and its `render` as anywidget's.

    Raises
    ------
    ValueError
        If a module does not keep to the form, or modules import each other in a circle.
    """
    joined: dict[str, str] = {}
    _add(entry, joined, ())
    return "\n".join([*joined.values(), f"export default {{ render: ${entry}.render }};\n"])


def _add(name: str, joined: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{name}.js imports itself, by way of {' and '.join(above)}")
    if name in joined:
        return
    source = (STATIC / f"{name}.js").read_text(encoding="utf-8")
    for match in _IMPORT.finditer(source):
        _add(match[2], joined, (*above, name))
    joined[name] = module(name, source)


def module(name: str, source: str) -> str:
    """Return a module as a constant that holds what it exports."""
    source = _COMMENT.sub("", source)
    exported = _EXPORT.findall(source)
    text = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = ${match[2]};\n", source)
    text = _EXPORT.sub("", text)
    if wrong := _FORBIDDEN.search(text):
        raise ValueError(f"{name}.js does not keep to the form of modules here: {wrong[0]!r}")
    return f"const ${name} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();"
