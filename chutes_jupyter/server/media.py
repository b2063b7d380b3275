"""What an output may be shown as in a browser: pictures and sounds, by name; nothing that acts."""

from __future__ import annotations

from pathlib import PurePosixPath

#: SVG is not among them: it is a page that may act.
_INLINE = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".ico": "image/x-icon",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
}
OTHER = "application/octet-stream"


def inline_type(path: str) -> str | None:
    """Return the type as which a file may be shown; None where it may only be saved."""
    return _INLINE.get(PurePosixPath(path).suffix.lower())
