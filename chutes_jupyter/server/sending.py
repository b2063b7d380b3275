"""Sending bytes to a browser: a range or the whole, as something to save unless it is harmless."""

from __future__ import annotations

import contextlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError

from chutes_jupyter.server.bridge import across
from chutes_jupyter.server.media import OTHER, inline_type
from chutes_jupyter.server.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from chutes_jupyter.server.base import ApiHandler
    from chutes_jupyter.server.contents import Output

#: No page of it has scripts, an origin, or anything from elsewhere, however it is opened.
_POLICY = "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


async def send_output(handler: ApiHandler, found: Output, *, download: bool) -> None:
    """Send an output, or the range of it that was asked for."""
    media = None if download else inline_type(found.path)
    _guard(handler, media or OTHER)
    if media is None:
        handler.set_attachment_header(found.path.rpartition("/")[2])
    mark = f'"{found.modified:x}-{found.size:x}-{found.source}"'
    handler.set_header("ETag", mark)
    handler.set_header("Accept-Ranges", "bytes")
    if mark in handler.request.headers.get("If-None-Match", ""):
        handler.set_status(HTTPStatus.NOT_MODIFIED)
        await _finish(handler, media or OTHER)
        return
    start, length = _asked(handler, found.size, mark)
    handler.set_header("Content-Length", str(length))
    if (
        handler.request.method == "HEAD"
        or not length
        or await _pour(handler, lambda: found.read(start, length), length)
    ):
        await _finish(handler, media or OTHER)


async def send_text(
    handler: ApiHandler, name: str, source: Callable[[], AsyncGenerator[bytes, None]]
) -> None:
    """Send text of a length that nobody knows yet, as something to save."""
    _guard(handler, "text/plain; charset=utf-8")
    handler.set_attachment_header(name)
    if await _pour(handler, source, None):
        await _finish(handler, "text/plain; charset=utf-8")


async def _finish(handler: ApiHandler, media: str) -> None:
    # Who has all of it may be gone already.
    with contextlib.suppress(StreamClosedError):
        await handler.finish(set_content_type=media)


def _guard(handler: ApiHandler, media: str) -> None:
    handler.set_header("Content-Type", media)
    handler.set_header("Content-Security-Policy", _POLICY)


def _asked(handler: ApiHandler, size: int, mark: str) -> tuple[int, int]:
    """Return where to begin and how much to send; note it where that is a part."""
    text = handler.request.headers.get("Range", "")
    match = _RANGE.fullmatch(text.replace(" ", ""))
    known = handler.request.headers.get("If-Range", mark) == mark
    if match is None or not known or match[0] == "bytes=-":
        return 0, size  # also several ranges: the whole is a right answer
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]), size - 1) if match[2] else size - 1
    else:
        start, end = max(0, size - int(match[2])), size - 1
    if start > end or start >= size:
        raise ApiError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            f"The file has {size:,} bytes: there is no range {text}.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    handler.set_status(HTTPStatus.PARTIAL_CONTENT)
    handler.set_header("Content-Range", f"bytes {start}-{end}/{size}")
    return start, end - start + 1


async def _pour(
    handler: ApiHandler,
    source: Callable[[], AsyncGenerator[bytes, None]],
    length: int | None,
) -> bool:
    """Write what comes, no faster than it is taken; return whether that was all of it."""
    written = 0
    try:
        async with across(source) as pieces:
            async for piece in pieces:
                handler.write(piece)
                await handler.flush()
                written += len(piece)
    except StreamClosedError:
        return False
    except Exception as error:
        if not handler.headers_out:
            raise
        # In the middle nothing can be said any more but that it is not whole.
        handler.log_exception(type(error), error, error.__traceback__)
        handler.cut_off()
        return False
    if length is not None and written < length:
        handler.cut_off()
        return False
    return True
