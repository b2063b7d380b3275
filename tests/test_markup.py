"""Markdown that a job displays becomes HTML, where it has no form that is drawn already."""

from __future__ import annotations

import pytest

from chutes_jupyter import markup
from chutes_jupyter.readings import Display

TABLE = "|a|b|\n|-|-|\n|1|2|\n"


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**so**", "<strong>so</strong>"),
        ("# One", "<h1>One</h1>"),
        (TABLE, "<td>2</td>"),
        ("~~not~~", "<s>not</s>"),
        ("a<br>b", "a<br>b"),
    ],
)
def test_what_a_notebook_draws_is_drawn(markdown: str, html: str) -> None:
    assert html in (markup.as_html(markdown) or "")


def test_one_that_is_too_long_is_shown_as_it_is() -> None:
    text = "[" * (markup.LONGEST + 1)
    assert markup.as_html(text) is None
    assert Display(1, {"text/markdown": text}).texts == {"text/markdown": text}


@pytest.mark.parametrize("other", ["text/html", "image/png", "image/svg+xml"])
def test_what_has_a_picture_or_html_of_its_own_keeps_it(other: str) -> None:
    data = {"text/markdown": "**so**", other: "its own"}
    assert Display(1, data).texts == data


def test_markdown_alone_has_html_beside_it() -> None:
    found = Display(1, {"text/markdown": "**so**", "text/plain": "so"}).texts
    assert found == {
        "text/markdown": "**so**",
        "text/plain": "so",
        "text/html": "<p><strong>so</strong></p>\n",
    }
