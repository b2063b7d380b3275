"""Markdown that a job displayed, as the HTML that a panel's frame shows."""

from __future__ import annotations

from functools import lru_cache

#: A longer text is shown as it was written, in characters: a worker can write one that takes
#: time with the square of its length.
LONGEST = 16 * 1024


@lru_cache(maxsize=64)
def as_html(markdown: str) -> str | None:
    """Return Markdown (CommonMark, with tables and strikethrough) as HTML.

    HTML in it stays what it is, as in a notebook: the outcome belongs into a frame without an
    origin. None stands for a text that is too long.
    """
    if len(markdown) > LONGEST:
        return None
    from markdown_it import MarkdownIt  # when a job first shows some: %load_ext is instant

    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))
