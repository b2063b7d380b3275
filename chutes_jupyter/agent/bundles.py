"""An object in every form in which a notebook would show it: its MIME bundle.

As IPython does it, without IPython. Objects that only IPython can show are shown by it, where
the job has imported it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import pictures

#: The methods by which an object shows itself, but the one for all forms.
_METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}
#: Who has this says to have everything.
_CANARY = "_ipython_canary_method_should_not_exist_"
_MIME = re.compile(r"[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(; ?[A-Za-z0-9_.+=-]+)*\Z")
#: An object has no more forms, and the name of none is longer.
_MOST, _LONGEST = 20, 100
#: The most bytes of one object, and of its text.
MOST_BYTES, MOST_TEXT = 4 * 1024 * 1024, 256 * 1024


def encoded(
    value: Any,
    metadata: Optional[Dict[str, Any]] = None,
    raw: bool = False,
    wanted: Optional[Callable[[str], bool]] = None,
) -> bytes:
    """Return an object's forms as JSON, within their bounds.

    Parameters
    ----------
    value : object
        What is shown, or with `raw` the forms themselves, by MIME type.
    metadata : dict, optional
        What to add to the object's own.
    wanted : callable, optional
        Which forms to keep.
    """
    found, own = (dict(value), {}) if raw else _forms(value)
    own.update(metadata or {})
    data: Dict[str, str] = {}
    for mime, item in list(found.items())[:_MOST]:
        known = isinstance(mime, str) and len(mime) <= _LONGEST and _MIME.match(mime)
        text = _packed(mime, item) if known and (wanted is None or wanted(mime)) else None
        if text is not None:
            data[mime] = text
    _bound(data, own)
    return _joined(data, _plain(own))


def _joined(data: Dict[str, str], metadata: Dict[str, Any]) -> bytes:
    """Return the whole as JSON; what is no text in a file is replaced, and what is too large."""
    whole = json.dumps({"data": data, "metadata": metadata}, ensure_ascii=False)
    text = whole.encode("utf-8", "replace")
    if len(text) <= 2 * MOST_BYTES:
        return text
    return _joined({"text/plain": "[%d bytes were left out]" % len(text)}, {})


def text_of(value: Any) -> str:
    """Return what `print` shows of an object."""
    if isinstance(value, str):
        return value
    text = _tried(lambda: repr(value))
    return object.__repr__(value) if text is None else str(text)


def _forms(value: Any) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    found: Dict[str, Any] = {}
    metadata: Dict[str, Any] = {}
    figures = sys.modules.get("matplotlib.figure")
    if figures is not None and isinstance(value, figures.Figure):
        picture = _tried(lambda: pictures.drawn(value))
        found.update({} if picture is None else {"image/png": picture})
    elif not isinstance(value, (str, bytes, type)):
        whole = _asked(value, "_repr_mimebundle_", include=None, exclude=None)
        if isinstance(whole, tuple) and len(whole) == 2:
            whole, metadata = whole[0], dict(whole[1] or {})
        if isinstance(whole, dict):
            found.update(whole)
        for method, mime in _METHODS.items():
            if mime not in found:
                _add(value, method, mime, found, metadata)
    if "text/plain" not in found:
        found["text/plain"] = _pretty(value)
    return found, metadata


def _pretty(value: Any) -> str:
    printer = sys.modules.get("IPython.lib.pretty")
    text = None
    if printer is not None and hasattr(type(value), "_repr_pretty_"):
        text = _tried(lambda: printer.pretty(value))
    return text_of(value) if text is None else str(text)


def _add(
    value: Any, method: str, mime: str, found: Dict[str, Any], metadata: Dict[str, Any]
) -> None:
    item = _asked(value, method)
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], dict):
        item, metadata[mime] = item
    if item is not None:
        found[mime] = item


def _asked(value: Any, name: str, **options: Any) -> Any:
    """Return what a method of an object gives, None without the method."""

    def ask() -> Any:
        if getattr(value, _CANARY, None) is not None:
            return None
        method = getattr(value, name, None)
        return method(**options) if callable(method) else None

    return _tried(ask)


def _tried(what: Callable[[], Any]) -> Any:
    """Return what an object says of itself, None where it fails at that."""
    try:
        return what()
    except Exception:  # noqa: BLE001 - said in the log, and there are other forms
        # The person's own or a library's fault: as IPython says it.
        traceback.print_exc()
        return None


def _packed(mime: str, item: Any) -> Optional[str]:
    """Return one form as text, or None if it is none."""
    if is_binary(mime):
        return _base64(item)
    if mime == "application/json" or mime.endswith("+json"):
        try:
            return json.dumps(item, allow_nan=False, default=_listed)
        except (TypeError, ValueError, RecursionError):
            return None
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    return item if isinstance(item, str) else None


def _listed(item: Any) -> Any:
    """Return an array within JSON as a list."""
    if hasattr(item, "tolist"):
        return item.tolist()
    raise TypeError("no JSON: %r" % type(item))


def is_binary(mime: str) -> bool:
    """Whether a form is bytes; as text it is base64."""
    kind = mime.partition("/")[0]
    if kind == "image":
        return not mime.endswith("+xml")
    return kind in ("audio", "video") or mime == "application/pdf"


def _base64(item: Any) -> Optional[str]:
    if isinstance(item, (bytes, bytearray, memoryview)):
        return base64.b64encode(item).decode("ascii")
    if not isinstance(item, str):
        return None
    try:
        return base64.b64encode(base64.b64decode(item)).decode("ascii")
    except (ValueError, binascii.Error):
        return None


def _bound(data: Dict[str, str], metadata: Dict[str, Any]) -> None:
    """Leave out the largest forms of what is too large, and say so in its text."""
    notes: List[str] = []
    text = data.get("text/plain")
    if text is not None and len(text) > MOST_TEXT:
        data["text/plain"] = text[:MOST_TEXT]
        notes.append("[… %d more characters were left out]" % (len(text) - MOST_TEXT))
    while sum(map(len, data.values())) > MOST_BYTES:
        mime = max(data, key=lambda name: len(data[name]))
        size = len(data.pop(mime)) / 2**20
        metadata.pop(mime, None)
        notes.append(
            "[%s of %.1f MiB was left out: at most %d MiB of an object are shown]"
            % (mime, size, MOST_BYTES >> 20)
        )
    if notes:
        data["text/plain"] = "\n".join([data.get("text/plain", ""), *notes]).strip()


def _plain(metadata: Dict[str, Any]) -> Dict[str, Any]:
    """Return metadata as JSON has it, or none."""
    try:
        text = json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {}
    found = json.loads(text)
    return found if isinstance(found, dict) and len(text) <= 64 * 1024 else {}
