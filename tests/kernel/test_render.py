"""The panel's HTML: whatever a job says stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from chutes_jupyter.kernel import render
from chutes_jupyter.kernel.view import PortView
from chutes_jupyter.mirror import FileView
from chutes_jupyter.preflight import Item

EVIL = "\"'><img src=x onerror=alert(1)>&lt;"


class Reader(HTMLParser):
    """Collect a page's tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "page",
    [
        render.head("running", EVIL, "local", "0:01"),
        render.head("running", "train-1", EVIL, "0:01"),
        render.head(EVIL, "train-1", "local", "0:01"),
        render.log(EVIL),
        render.notices([EVIL]),
        render.notices([], [EVIL]),
        render.ports([PortView(EVIL, 8080, "http")]),
        render.ports([PortView("web", 8080, "http", address=f"http://{EVIL}")]),
        render.ports([PortView("raw", 8080, "tcp", address=EVIL)]),
        render.ports([PortView("raw", 8080, "udp", notice=EVIL)]),
        render.files([FileView(EVIL, 1, "here")], "folder"),
        render.files([FileView("x", 1, "here")], EVIL),
        render.sent([Item(EVIL, "value", 3)]),
        render.ending("failed", EVIL, None),
        render.ending("succeeded", None, EVIL),
        render.record(EVIL),
    ],
)
def test_what_a_job_says_is_text(page: str):
    reader = Reader(page)
    assert "img" not in reader.tags
    assert "onerror" not in reader.attributes
    assert EVIL in reader.text


def test_an_address_may_have_a_notice_beside_it():
    view = PortView("dns", 9000, "udp", "udp://127.0.0.1:1", "dropped: 3 up, 0 down")
    text = Reader(render.ports([view])).text
    assert "udp://127.0.0.1:1" in text
    assert "dropped: 3 up, 0 down" in text


def test_only_web_addresses_are_links():
    reader = Reader(render.ports([PortView("web", 8080, "http", address="http://127.0.0.1:1")]))
    assert reader.attributes["href"] == "http://127.0.0.1:1"
    assert reader.attributes["target"] == "_blank"
    assert "noopener" in str(reader.attributes["rel"])
    assert "a" not in Reader(
        render.ports([PortView("x", 8080, "tcp", address="javascript:alert(1)")])
    ).tags  # fmt: skip


@pytest.mark.parametrize(
    ("state", "elapsed", "timeout", "text"),
    [
        ("pending", None, None, ""),
        ("starting", None, 90, "timeout 1:30"),
        ("running", 42.9, None, "0:42"),
        ("running", 42.9, 3600, "0:42 of 1:00:00"),
        ("succeeded", 4000.0, 7200, "1:06:40"),
        ("lost", None, 3600, ""),
    ],
)
def test_the_clock(state: str, elapsed: float | None, timeout: int | None, text: str):
    assert render.clock(state, elapsed, timeout) == text


def test_the_bar_is_there_while_there_is_a_timeout_to_come():
    assert "width: 50.0%" in render.bar("running", 50, 100)
    assert "width: 100.0%" in render.bar("cancelling", 500, 100)
    assert "width: 0.0%" in render.bar("starting", None, 100)
    assert render.bar("running", 50, None) == render.bar("succeeded", 50, 100) == ""


def test_what_is_empty_takes_no_room():
    empty = [render.log(""), render.notices([""], [""]), render.ports([]), render.files([])]
    empty.append(render.sent([]))
    assert [
        *empty,
        render.ending("running", "x", None),
        render.ending("succeeded", None, None),
    ] == ([""] * 7)


def test_of_very_many_files_some_are_shown_and_the_rest_counted():
    many = [FileView(f"file{n}", 1, "worker") for n in range(render.MAX_FILES + 1234)]
    html = render.files(many)
    assert html.count("chutes-path") == render.MAX_FILES
    assert "and 1,234 more" in html


def test_what_went_along_is_folded_up_with_its_sizes_the_largest_first():
    items = [Item("math", "import"), Item("small", "value", 10), Item("big", "value", 2_500_000)]
    reader = Reader(render.sent(items))
    assert "details" in reader.tags
    rows = r"big2\.5 MBvaluesmall10 (B|bytes)valuemathimport"
    assert re.fullmatch(rf"sent with it: 3 names, 2\.5 MB{rows}", reader.text)
    assert "1 name," in Reader(render.sent(items[:1])).text
