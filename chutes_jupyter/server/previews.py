"""A bounded look at an output: what is in it, never as a page."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from chutes_jupyter.server import contents
from chutes_jupyter.server.media import inline_type
from chutes_jupyter.server.openapi import BASE
from chutes_jupyter.server.shapes.files import NotebookCell, Preview

if TYPE_CHECKING:
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.contents import Output
    from chutes_jupyter.server.shapes.files import PreviewQuery

#: How much of a file is read for a look at it, and of a notebook, in bytes.
_HEAD, _NOTEBOOK = 256 * 1024, 4 * 1024 * 1024
_MOST_COLUMNS, _MOST_CELL = 100, 500
_MOST_CELLS, _MOST_SOURCE, _MOST_OUTPUT = 200, 20_000, 5_000
_TABLES = {".csv": ",;\t|", ".tsv": "\t"}


async def look(case: Case, query: PreviewQuery) -> Preview:
    """Look at the beginning of an output."""
    found = await contents.find(case, query.path)
    media = inline_type(found.path)
    if not found.size:
        return _preview(found, "empty", cut=False)
    if media is not None:
        where = f"{BASE.strip('/')}/jobs/{case.live.id}/files/content?"
        kind = "image" if media.startswith("image/") else "audio"
        address = where + urlencode({"path": found.path})
        return _preview(found, kind, cut=False, media=media, content=address)
    suffix = PurePosixPath(found.path).suffix.lower()
    limit = _NOTEBOOK if suffix == ".ipynb" else _HEAD
    data = await found.head(limit)
    return await asyncio.to_thread(_read, found, suffix, data, query.rows)


def _read(found: Output, suffix: str, data: bytes, rows: int) -> Preview:
    cut = len(data) < found.size
    text = _decoded(data, cut)
    if text is None:
        return _preview(found, "binary", cut=cut)
    if suffix in _TABLES:
        table = _table(text, suffix, rows, cut)
        if table is not None:
            return _preview(found, "table", cut=table[1], table=table[0])
    if suffix == ".ipynb" and not cut:
        cells = _cells(text)
        if cells is not None:
            return _preview(
                found, "notebook", cut=len(cells) > _MOST_CELLS, notebook=cells[:_MOST_CELLS]
            )
    text, cut = text[:_HEAD], cut or len(text) > _HEAD
    if suffix in (".json", ".geojson") and not cut:
        pretty = _pretty(text)
        if pretty is not None:
            return _preview(found, "json", cut=len(pretty) > 2 * _HEAD, text=pretty[: 2 * _HEAD])
    return _preview(found, "text", cut=cut, text=text)


def _preview(found: Output, kind: str, *, cut: bool, **fields: Any) -> Preview:
    return Preview.model_validate(
        {
            "path": found.path,
            "size": found.size,
            "source": found.source,
            "kind": kind,
            "cut": cut,
            **fields,
        }
    )


def _decoded(data: bytes, cut: bool) -> str | None:
    """Return a file's text, or None where it is none."""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if cut and error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8-sig", "replace")
    # Latin letters of another time are text all the same; what has control characters is not.
    text = data.decode("latin-1")
    odd = sum(not (each.isprintable() or each in "\r\n\t\x1b\f\b\xa0") for each in text)
    return text if odd * 20 < len(text) else None


def _table(text: str, suffix: str, rows: int, cut: bool) -> tuple[list[list[str]], bool] | None:
    """Return the rows of a table, and whether there are more; None where it is none."""
    if cut:
        text = text[: text.rfind("\n") + 1]  # half a line is no row
    first = text.partition("\n")[0]
    delimiter = max(_TABLES[suffix], key=first.count)
    found: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(found) > rows:
                return found, True
            wide = len(row) > _MOST_COLUMNS
            found.append([cell[:_MOST_CELL] for cell in row[:_MOST_COLUMNS]])
            cut = cut or wide
    except csv.Error:
        return None
    return (found, cut) if found else None


def _pretty(text: str) -> str | None:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _cells(text: str) -> list[NotebookCell] | None:
    """Return the cells of a notebook; None where the file is none."""
    try:
        cells = json.loads(text)["cells"]
        return [
            NotebookCell(
                kind=str(cell.get("cell_type", "")),
                source=_joined(cell.get("source"))[:_MOST_SOURCE],
                outputs=[_said(each) for each in cell.get("outputs") or ()],
            )
            for cell in cells[: _MOST_CELLS + 1]
        ]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _joined(text: Any) -> str:
    return "".join(str(part) for part in text) if isinstance(text, list) else str(text or "")


def _said(output: dict[str, Any]) -> str:
    """Return what an output of a cell says in plain text; of the rest only what it is."""
    kind = output.get("output_type")
    if kind == "stream":
        return _joined(output.get("text"))[:_MOST_OUTPUT]
    if kind == "error":
        return f"{output.get('ename')}: {output.get('evalue')}"[:_MOST_OUTPUT]
    data = output.get("data") or {}
    named = [f"[{media}]" for media in data if media != "text/plain"]
    return "\n".join([*named, _joined(data.get("text/plain"))]).strip()[:_MOST_OUTPUT]
