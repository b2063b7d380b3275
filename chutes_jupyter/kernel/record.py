"""The record of a job: plain HTML that is saved with the notebook, whatever becomes of the panel.

It needs no script and no style sheet, so that it is the same in a reopened notebook, in one that
papermill ran, in a page that nbconvert made, and on GitHub.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands import tables
from chutes_jupyter.commands.tables import size
from chutes_jupyter.harmless import harmless
from chutes_jupyter.kernel import view
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chutes_jupyter.job import Job

#: So many of the last lines and files are kept in the notebook.
MAX_LINES, MAX_FILES = 12, 10
_SIGNS = {
    "pending": ("◌", "#777"),
    "starting": ("◔", "#00788a"),
    "running": ("●", "#1565c0"),
    "cancelling": ("◐", "#b35c00"),
    "collecting": ("◕", "#00788a"),
    "succeeded": ("✓", "#2e7d32"),
    "failed": ("✗", "#c62828"),
    "cancelled": ("■", "#666"),
    "timed_out": ("!", "#b35c00"),
    "lost": ("?", "#c62828"),
}
#: In a reopened notebook the panel's place says that its model was not found: the record tells
#: all that there is to tell.
_DEAD = (
    "<style>.jp-OutputArea-child:has(> .jupyter-widgets):not(:has(.chutes-panel))"
    ":has(+ .jp-OutputArea-child .chutes-record) { display: none; }</style>"
)
_MONO = "font-family: var(--jp-code-font-family, monospace); font-size: 12px"
_LINE = "rgba(128, 128, 128, 0.35)"


@dataclass(frozen=True)
class Record:
    """What is kept of a job in its notebook.

    Parameters
    ----------
    facts, files : mapping
        As `view.facts` and `view.files` give them.
    at : float
        When that was, in seconds since the epoch.
    log : str
        The last lines, without control sequences.
    value : str, optional
        What the function returned.
    metrics : mapping
        As `view.metrics` gives them.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, Any]
    at: float
    log: str = ""
    value: str | None = None
    metrics: Mapping[str, Sequence[Sequence[float | None]]] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Job, log: str = "", value: str | None = None) -> Record:
        """Return the record of a job as it is; from any thread but the background one."""
        return cls(
            view.facts(job),
            view.files(job),
            time.time(),
            log,
            value,
            view.metrics(job._live.readings),
        )

    def __repr__(self) -> str:
        return self.summary

    def _repr_html_(self) -> str:
        parts = [self._head(), self._reason(), self._charts(), self._value(), self._log()]
        parts.append(self._files())
        inside = "".join(part for part in parts if part)
        return (
            f"{_DEAD}"
            f'<div class="chutes-record" style="border: 1px solid {_LINE}; border-radius: 6px; '
            'padding: 6px 12px; margin: 4px 0; max-width: 900px; font-size: 13px">'
            f"{inside}</div>"
        )

    @property
    def summary(self) -> str:
        """The same in one line, for who reads no HTML."""
        known = self.facts
        label, worker, state = known["label"], known["worker"], known["state"]
        if state not in TERMINAL:
            when = view.moment(known["created"])
            again = f'chutes_jupyter.attach("{label}") opens it again'
            return f"{label} on {worker}, submitted {when}; {again}."
        parts = [f"{label} on {worker}: {state.replace('_', ' ')}"]
        if known["elapsed"] is not None:
            parts.append(f"after {tables.span(known['elapsed'])}")
        if known["reason"]:
            parts.append(f"({known['reason'].splitlines()[0]})")
        text = " ".join(parts) + "."
        if self.files["count"]:
            count = self.files["count"]
            words = "1 file" if count == 1 else f"{count:,} files"
            text += f" {words}, {size(self.files['bytes'])}, in {self.files['folder']}."
        return harmless(text, lines=False)

    def _head(self) -> str:
        known = self.facts
        state = known["state"]
        sign, colour = _SIGNS.get(state, ("·", "inherit"))
        times = [f"submitted {view.moment(known['created'])}"]
        if known["ended"] is not None and state in TERMINAL:
            times.append(f"ended {view.moment(known['ended'])}")
        if known["elapsed"] is not None:
            times.append(f"ran {tables.span(known['elapsed'])}")
        if state not in TERMINAL:
            times.append(f"as of {view.moment(self.at)}")
        again = ""
        if state not in TERMINAL:
            code = _text(f'chutes_jupyter.attach("{known["label"]}")')
            again = f'<div style="{_muted()}"><code>{code}</code> opens it again.</div>'
        return (
            f'<div><b style="{_coloured(colour)}">{sign} {_text(state.replace("_", " "))}</b> '
            f'<code style="background: none">{_text(known["label"])}</code> '
            f'<span style="{_muted()}">on {_text(known["worker"])} · '
            f"{_text(' · '.join(times))}</span></div>{again}"
        )

    def _reason(self) -> str:
        reason = self.facts["reason"]
        if not reason or self.facts["state"] == "succeeded":
            return ""
        return f'<div style="white-space: pre-wrap">{_text(reason)}</div>'

    def _value(self) -> str:
        return "" if self.value is None else _block("returned", self.value)

    def _log(self) -> str:
        return _block("the end of its log", self.log) if self.log else ""

    def _files(self) -> str:
        count = self.files["count"]
        if not count:
            return ""
        rows = "".join(
            f'<tr><td style="text-align: left; padding: 0 16px 0 0; {_MONO}">'
            f"{_text(each['path'])}</td>"
            f'<td style="text-align: right; padding: 0">{size(each["size"])}</td></tr>'
            for each in self.files["entries"][:MAX_FILES]
        )
        more = f", of which {MAX_FILES} are shown" if count > MAX_FILES else ""
        words = "1 file" if count == 1 else f"{count:,} files"
        total = f"{words}, {size(self.files['bytes'])}, in {self.files['folder']}{more}"
        return f'<div style="{_muted()}">{_text(total)}</div><table>{rows}</table>'

    def _charts(self) -> str:
        return "".join(_chart(name, series) for name, series in self.metrics.items())


def _coloured(colour: str) -> str:
    """Return a colour for text on a ground that may be light or dark: nearer to what is around it.

    A browser that can't mix takes the first.
    """
    return f"color: {colour}; color: color-mix(in srgb, {colour} 60%, currentColor)"


def _muted() -> str:
    return "opacity: 0.75; font-size: 12px"


def _block(caption: str, text: str) -> str:
    return (
        f'<div style="{_muted()}">{caption}</div>'
        f'<pre style="margin: 0 0 4px; white-space: pre-wrap; {_MONO}">{_text(text)}</pre>'
    )


def _chart(name: str, series: Sequence[Sequence[float | None]]) -> str:
    """Return a metric as a picture that stands alone."""
    points = [(step, value) for step, value in series if step is not None and value is not None]
    if not points:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    across, up = (max(steps) - min(steps)) or 1, (max(values) - min(values)) or 1
    line = " ".join(
        f"{(step - min(steps)) / across * 196 + 2:.1f},{58 - (value - min(values)) / up * 56:.1f}"
        for step, value in points
    )
    # A single value is a dot: a line of one point is nothing.
    drawn = f'<polyline points="{line}" fill="none" stroke="#1976d2" stroke-width="1.5"/>'
    if len(points) == 1:
        drawn = '<circle cx="100" cy="30" r="2.5" fill="#1976d2"/>'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="60">{drawn}</svg>'
    data = base64.b64encode(drawing.encode("ascii")).decode("ascii")
    between = f" ({min(values):.4g} to {max(values):.4g})" if len(points) > 1 else ""
    words = _text(f"{name} {values[-1]:.4g}{between}")
    return (
        '<div style="display: inline-block; margin: 4px 16px 4px 0">'
        f'<div style="{_muted()}">{words}</div>'
        f'<img alt="{words}" src="data:image/svg+xml;base64,{data}"></div>'
    )


def _text(said: str) -> str:
    """Return what a job said as HTML that shows it: a notebook holds no lone surrogates."""
    return escape(harmless(said))
