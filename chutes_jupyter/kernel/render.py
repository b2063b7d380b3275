"""The panel's pieces as HTML: what a job looks like, from what is known of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from chutes_jupyter.commands.tables import size
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chutes_jupyter.kernel.view import PortView
    from chutes_jupyter.mirror import FileView
    from chutes_jupyter.preflight import Item

#: The states' colours, by the theme of JupyterLab; the second one is for other front ends.
_COLOURS = {
    "pending": "var(--jp-ui-font-color3, #888)",
    "starting": "var(--jp-info-color1, #00a0b8)",
    "running": "var(--jp-brand-color1, #1976d2)",
    "cancelling": "var(--jp-warn-color1, #e07b00)",
    "collecting": "var(--jp-info-color1, #00a0b8)",
    "succeeded": "var(--jp-success-color1, #2e8b3d)",
    "failed": "var(--jp-error-color1, #d32f2f)",
    "cancelled": "var(--jp-ui-font-color2, #666)",
    "timed_out": "var(--jp-warn-color1, #e07b00)",
    "lost": "var(--jp-error-color1, #d32f2f)",
}
#: Where a file is, in a person's words.
_WHERE = {
    "worker": "on the worker",
    "arriving": "arriving",
    "here": "here",
    "failed": "could not be brought",
}
#: So many files are shown; a browser can't take a table of a hundred thousand.
MAX_FILES = 500
_MONO = "var(--jp-code-font-family, monospace)"
_MUTED = "var(--jp-ui-font-color2, #666)"
_LINE = "var(--jp-border-color2, #d0d0d0)"

STYLE = f"""<style>
.chutes-panel {{ border: 1px solid {_LINE}; border-radius: 6px; overflow: hidden;
  max-width: 900px; margin: 4px 0; font-size: var(--jp-ui-font-size1, 13px);
  color: var(--jp-ui-font-color1, inherit); background: var(--jp-layout-color1, transparent); }}
.chutes-panel .widget-html, .chutes-panel .widget-html-content {{ margin: 0; line-height: 1.5;
  height: auto; min-height: 0; font-size: inherit; width: 100%; }}
.chutes-panel .chutes-style {{ display: none; }}
.chutes-top {{ padding: 6px 8px 6px 12px; align-items: center; overflow: hidden; }}
.chutes-top .chutes-head {{ flex: 1; min-width: 0; }}
.chutes-head-row {{ display: flex; gap: 12px; align-items: baseline; flex-wrap: wrap; }}
.chutes-head-row > * {{ white-space: nowrap; }}
.chutes-word {{ font-weight: 600; }}
.chutes-dot {{ display: inline-block; width: 8px; height: 8px; border-radius: 50%;
  margin-right: 7px; background: currentColor; }}
.chutes-muted {{ color: {_MUTED}; }}
.chutes-label, .chutes-panel td.chutes-path {{ font-family: {_MONO}; font-size: 0.95em; }}
.chutes-time {{ margin-left: auto; font-variant-numeric: tabular-nums; padding-right: 8px; }}
.chutes-bar {{ height: 2px; background: {_LINE}; }}
.chutes-bar > div {{ height: 100%; background: var(--jp-brand-color1, #1976d2);
  transition: width 1s linear; }}
.chutes-part {{ padding: 4px 12px; border-top: 1px solid {_LINE}; }}
.chutes-log-box {{ display: flex; flex-direction: column-reverse; overflow: auto;
  max-height: 17em; border-top: 1px solid {_LINE};
  background: var(--jp-cell-editor-background, rgba(128, 128, 128, 0.06)); }}
.chutes-log-box > .widget-html {{ flex: none; }}
.chutes-panel pre.chutes-log {{ margin: 0; padding: 6px 12px; font-family: {_MONO};
  font-size: var(--jp-code-font-size, 13px); line-height: 1.35; white-space: pre-wrap;
  overflow-wrap: anywhere; background: transparent; color: inherit; border: 0; }}
.chutes-panel summary {{ cursor: pointer; }}
.chutes-files {{ max-height: 11em; overflow: auto; }}
.chutes-panel table {{ border-collapse: collapse; border: 0; margin: 0; width: auto; }}
.chutes-panel td {{ padding: 0 18px 0 0; border: 0; text-align: left; white-space: nowrap; }}
.chutes-panel td.chutes-number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.chutes-panel a {{ color: var(--jp-content-link-color, #1976d2); }}
.chutes-panel .chutes-reason {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.chutes-panel button.jupyter-button {{ width: auto; height: 26px; line-height: 26px;
  padding: 0 12px; margin: 0; border-radius: 4px; font-size: inherit; box-shadow: none; }}
</style>"""


def head(state: str, label: str, worker: str, clock: str, reason: str | None = None) -> str:
    """Return the line of the state, the job, its worker and its time.

    The reason belongs to the state of a job that waits on its worker; others end with theirs.
    """
    word = state.replace("_", " ")
    if state == "pending" and reason:
        word += f": {reason}"
    colour = _COLOURS.get(state, _MUTED)
    return (
        '<div class="chutes-head-row">'
        f'<span class="chutes-word" style="color: {colour}">'
        f'<span class="chutes-dot"></span>{escape(word)}</span>'
        f'<span class="chutes-label">{escape(label)}</span>'
        f'<span class="chutes-muted">on {escape(worker)}</span>'
        f'<span class="chutes-time chutes-muted">{escape(clock)}</span></div>'
    )


def bar(state: str, elapsed: float | None, timeout: int | None) -> str:
    """Return the bar of the time used of the timeout, or nothing without one or at the end."""
    if timeout is None or state in TERMINAL:
        return ""
    part = min(1.0, max(0.0, (elapsed or 0.0) / timeout))
    return f'<div class="chutes-bar"><div style="width: {part:.1%}"></div></div>'


def clock(state: str, elapsed: float | None, timeout: int | None) -> str:
    """Return the time used, and what there is of it: ``0:42 of 1:00:00``."""
    if elapsed is None:
        return "" if timeout is None or state in TERMINAL else f"timeout {_span(timeout)}"
    if timeout is None or state in TERMINAL:
        return _span(elapsed)
    return f"{_span(elapsed)} of {_span(timeout)}"


def log(text: str) -> str:
    """Return the end of the log."""
    return f'<pre class="chutes-log">{escape(text)}</pre>' if text else ""


def notices(texts: Iterable[str], faults: Iterable[str] = ()) -> str:
    """Return what the worker, or this side, has to say beside the log."""
    lines = [f'<div class="chutes-muted">{escape(text)}</div>' for text in texts if text]
    colour = _COLOURS["cancelling"]
    lines += [f'<div style="color: {colour}">{escape(text)}</div>' for text in faults if text]
    return _part("".join(lines))


def ports(views: Iterable[PortView]) -> str:
    """Return the job's ports, with a link where one can be opened from here."""
    rows = "".join(_port(view) for view in views)
    return _part(f"<table>{rows}</table>" if rows else "")


def _port(view: PortView) -> str:
    if view.address.startswith(("http://", "https://")):
        link = escape(view.address, quote=True)
        where = f'<a href="{link}" target="_blank" rel="noopener noreferrer">{link}</a>'
    elif view.address:
        where = f'<span class="chutes-label">{escape(view.address)}</span>'
    else:
        where = ""
    if view.notice:
        where += f' <span class="chutes-muted">{escape(view.notice)}</span>'
    return (
        f'<tr><td class="chutes-path">{escape(view.name)}</td>'
        f'<td class="chutes-muted">{view.port}/{escape(view.proto)}</td><td>{where}</td></tr>'
    )


def files(entries: Iterable[FileView], where: str = "") -> str:
    """Return the output files: their names, sizes, and whether they are here."""
    found = list(entries)
    rows = "".join(
        f'<tr><td class="chutes-path">{escape(entry.path)}</td>'
        f'<td class="chutes-number">{size(entry.size)}</td>'
        f'<td class="chutes-muted">{_WHERE[entry.state]}</td></tr>'
        for entry in found[:MAX_FILES]
    )
    if not rows:
        return ""
    folder = f'<div class="chutes-muted">in {escape(where)}</div>' if where else ""
    if len(found) > MAX_FILES:
        rows += f'<tr><td class="chutes-muted">and {len(found) - MAX_FILES:,} more</td></tr>'
    return _part(f'{folder}<div class="chutes-files"><table>{rows}</table></div>')


def sent(items: Iterable[Item]) -> str:
    """Return what went along with the job, folded up: how much, and on a click what it is."""
    found = sorted(items, key=lambda item: -(item.size or 0))
    if not found:
        return ""
    rows = "".join(
        f'<tr><td class="chutes-path">{escape(item.name)}</td>'
        f'<td class="chutes-number">{"" if item.size is None else size(item.size)}</td>'
        f'<td class="chutes-muted">{escape(item.kind)}</td></tr>'
        for item in found[:MAX_FILES]
    )
    if len(found) > MAX_FILES:
        rows += f'<tr><td class="chutes-muted">and {len(found) - MAX_FILES:,} more</td></tr>'
    count = "1 name" if len(found) == 1 else f"{len(found):,} names"
    total = size(sum(item.size or 0 for item in found))
    return _part(
        f'<details><summary class="chutes-muted">sent with it: {count}, {total}</summary>'
        f'<div class="chutes-files"><table>{rows}</table></div></details>'
    )


def ending(state: str, reason: str | None, value: str | None) -> str:
    """Return how a job ended: why, and what it returned."""
    if state not in TERMINAL:
        return ""
    lines = ""
    if reason:
        colour = _COLOURS[state]
        lines += f'<div class="chutes-reason" style="color: {colour}">{escape(reason)}</div>'
    if value is not None:
        lines += (
            '<div class="chutes-muted">returned</div>'
            f'<pre class="chutes-log" style="padding: 0">{escape(value)}</pre>'
        )
    return _part(lines)


def record(text: str) -> str:
    """Return the line that is saved with the notebook, whatever becomes of the panel."""
    return f'<div style="color: {_MUTED}; font-size: 12px; padding: 2px 0">{escape(text)}</div>'


def _part(content: str) -> str:
    return f'<div class="chutes-part">{content}</div>' if content else ""


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
