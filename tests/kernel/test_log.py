"""The log component in a browser: what a terminal would show, of any length, as text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.kernel.modules import LOG

pytestmark = pytest.mark.slow
OUT, ERR = 1, 2


@pytest.fixture
def page(modules: Page) -> Page:
    modules.evaluate(LOG)
    return modules


def lines(page: Page, *writes: tuple[str, int]) -> list[str]:
    """Return the lines of a log after these writes."""
    for text, stream in writes:
        page.evaluate("([text, stream]) => print(text, stream)", [text, stream])
    found: list[str] = page.evaluate("() => view.terminal.lines.map((line) => line.text)")
    return found


@pytest.mark.parametrize(
    ("writes", "shown"),
    [
        ([("one\ntwo\n", OUT)], ["one", "two"]),
        ([("on", OUT), ("e\ntw", OUT), ("o", OUT)], ["one", "two"]),
        ([("10 %\r20 %\r\n", OUT), ("end\n", OUT)], ["20 %", "end"]),
        ([("longer\rab", OUT)], ["abnger"]),  # what was longer stays behind, as in a terminal
        ([("longer\r\x1b[Kab", OUT)], ["ab"]),
        ([("longer\x1b[2K\rab", OUT)], ["ab"]),
        ([("abc\b\bX", OUT)], ["aXc"]),
        ([("a\tb", OUT)], ["a       b"]),
        # Nested bars of tqdm, and of rich, which erases upwards.
        ([("A 1\nB 1\x1b[A\rA 2\n\rB 2\x1b[A\rA 3\n\rB 3\n", ERR)], ["A 3", "B 3"]),
        ([("x 1\ny 1", OUT), ("\r\x1b[2K\x1b[1A\x1b[2Kx 2\ny 2", OUT)], ["x 2", "y 2"]),
        # A bar on one stream stays below what the other prints.
        (
            [(" 1 %", ERR), ("one\n", OUT), ("\r 2 %", ERR), ("two\n", OUT), ("\r 9 %\n", ERR)],
            ["one", "two", " 9 %"],
        ),
        ([("\r 1 %", ERR), ("\r    \r", ERR), ("said\n", OUT), ("\r 2 %", ERR)], ["said", " 2 %"]),
        # Sequences in pieces, titles, and what is no sequence.
        ([("\x1b[3", OUT), ("1mred\x1b[", OUT), ("0m.\x1b]0;title\x07\x1b(B", OUT)], ["red."]),
        ([("\x00a\x07b\x7f", OUT)], ["ab"]),
        # What turns the reading order around would make a line read as another one.
        ([("ok \u202eliaf\u202c \u2067x\u2069\ufeff\x85!\n", OUT)], ["ok liaf x!"]),
        ([("שלום مرحبا\n", OUT)], ["שלום مرحبا"]),
    ],
)
def test_lines_are_as_a_terminal_shows_them(
    page: Page, writes: list[tuple[str, int]], shown: list[str]
):
    assert lines(page, *writes) == shown


def test_a_character_may_come_in_two_pieces(page: Page):
    found = page.evaluate(
        """() => {
          const bytes = new TextEncoder().encode("déjà █\\n");
          for (let i = 0; i < bytes.length; i += 1) {
            view.push({ begin: i, end: i + 1, runs: [[0, 1]] }, bytes.subarray(i, i + 1));
          }
          return view.terminal.lines.map((line) => line.text);
        }"""
    )
    assert found == ["déjà █"]


def test_colours_streams_and_markup_are_shown_as_such(page: Page):
    text = "\x1b[1;31mbold red\x1b[0m \x1b[38;5;208mpalette\x1b[0m \x1b[48;2;1;2;3mback\x1b[0m\n"
    lines(page, (text, OUT), ("<img src=x onerror=alert(1)>\n", ERR))
    log = page.locator(".chutes-log")
    expect(log.locator(".chutes-bold.chutes-fg-1")).to_have_text("bold red")
    expect(log.get_by_text("palette")).to_have_attribute("style", "color: rgb(255, 135, 0);")
    expect(log.get_by_text("back", exact=True)).to_have_attribute(
        "style", "background-color: rgb(1, 2, 3);"
    )
    expect(log.locator(".chutes-err")).to_have_text("<img src=x onerror=alert(1)>")
    expect(log.locator("img")).to_have_count(0)


def test_of_many_lines_few_are_in_the_page_and_the_end_is_seen(page: Page):
    page.evaluate(
        """() => {
          let text = "";
          for (let i = 0; i < 100000; i += 1) text += `line ${i}\\n`;
          print(text);
          print("the end\\n");
        }"""
    )
    expect(page.locator(".chutes-row", has_text="the end")).to_be_in_viewport()
    assert page.locator(".chutes-row").count() < 100
    page.evaluate("() => { view.view.scrollTop = 40000 * view.rowHeight; }")
    expect(page.locator(".chutes-row", has_text="line 40003")).to_be_in_viewport()
    assert page.locator(".chutes-row").count() < 100
    # More comes, and what is looked at stays; the button leads back.
    page.evaluate("() => print('more\\n')")
    expect(page.locator(".chutes-row", has_text="line 40003")).to_be_in_viewport()
    page.get_by_role("button", name="Go to the end and follow").click()
    expect(page.locator(".chutes-row", has_text="more")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Go to the end and follow")).to_be_hidden()


def test_memory_is_bounded_and_what_is_looked_at_stays(page: Page):
    kept = page.evaluate(
        """async () => {
          view.terminal.limit = 1000;
          for (let i = 0; i < 50; i += 1) print(`${`line ${i}\\n`.repeat(100)}`);
          await painted();
          return [view.terminal.lines.length, view.terminal.total, view.first.length, view.begin];
        }"""
    )
    assert kept[0] <= 1100
    assert kept[1] == 5000
    assert kept[2] == kept[0]
    assert kept[3] > 0  # earlier ones can be asked for


def test_long_lines_take_several_rows_and_are_copied_as_one(page: Page):
    page.evaluate("() => print('x'.repeat(300) + '\\n' + '漢'.repeat(120) + '\\nshort\\n')")
    expect(page.locator(".chutes-row", has_text="short")).to_be_visible()
    rows, columns = page.evaluate("() => [view.rowCount, view.columns]")
    assert rows == -(-300 // columns) + -(-120 // (columns // 2)) + 1
    copied = page.evaluate(
        """() => {
          const rows = [...document.querySelectorAll(".chutes-row")]
            .sort((a, b) => a.dataset.row - b.dataset.row);
          const range = document.createRange();
          range.setStart(rows[0].firstChild, 0);
          range.setEnd(rows.at(-1).firstChild, 5);
          document.getSelection().removeAllRanges();
          document.getSelection().addRange(range);
          return view.selected();
        }"""
    )
    assert copied == "x" * 300 + "\n" + "漢" * 120 + "\nshort"


def test_searching_goes_from_one_to_the_next(page: Page):
    page.evaluate("() => { for (let i = 0; i < 5000; i += 1) print(`line ${i}\\n`); }")
    search = page.get_by_role("searchbox", name="Search the log")
    search.fill("LINE 49")
    expect(page.locator(".chutes-count")).to_have_text("1 of 111 lines")
    expect(page.locator(".chutes-hit-now")).to_have_text("line 49")
    search.press("Enter")
    expect(page.locator(".chutes-count")).to_have_text("2 of 111 lines")
    expect(page.locator(".chutes-row", has_text="line 490")).to_be_in_viewport()
    page.evaluate("() => print('line 49 again\\n')")
    expect(page.locator(".chutes-count")).to_have_text("2 of 112 lines")
    search.press("Escape")
    expect(page.locator(".chutes-hit")).to_have_count(0)
    expect(page.locator(".chutes-row", has_text="again")).to_be_in_viewport()


def test_the_first_error_is_found_and_where_there_is_none_that_is_said(page: Page):
    page.evaluate("() => { for (let i = 0; i < 2000; i += 1) print(`line ${i}\\n`); }")
    button = page.get_by_role("button", name="Jump to the first error")
    button.click()
    expect(button).to_have_text("No error")
    page.evaluate("() => print('Traceback (most recent call last):\\n')")
    page.evaluate("() => { for (let i = 0; i < 2000; i += 1) print(`line ${i}\\n`); }")
    expect(button).to_have_text("First error")
    button.click()
    expect(page.locator(".chutes-marked")).to_have_text("Traceback (most recent call last):")


def test_what_was_sent_for_another_place_is_left_out_and_a_reset_begins_anew(page: Page):
    found = page.evaluate(
        """() => {
          const push = (begin, text, more) => view.push(
            { begin, end: begin + text.length, runs: [], ...more }, new TextEncoder().encode(text));
          push(0, "zero\\n");
          push(90, "elsewhere\\n");
          const before = view.terminal.lines.map((line) => line.text);
          push(1000, "half of a line\\nwhole\\n", { reset: true });
          return [before, view.terminal.lines.map((line) => line.text), view.begin];
        }"""
    )
    assert found == [["zero"], ["whole"], 1000]
    page.get_by_role("button", name="Bring the part before this one").click()
    assert page.evaluate("() => window.asked") == 1000


#: Two logs that get something every 20 ms, not at the same moments; in which frames they change.
TWO = """async () => {
  const { LogView } = await import("/log.js");
  const logs = [0, 1].map(() => new LogView({}));
  const ends = [0, 0];
  const bytes = new TextEncoder().encode("one more line\\n");
  const push = (which) => {
    const begin = ends[which];
    ends[which] += bytes.length;
    logs[which].push({ begin, end: ends[which], runs: [[0, 1]] }, bytes);
  };
  let frame = 0;
  const tick = () => { frame += 1; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  const changed = new Set();
  for (const log of logs) {
    document.getElementById("place").append(log.element);
    new MutationObserver(() => changed.add(frame)).observe(log.spacer, { childList: true });
  }
  push(0);
  push(1);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const first = logs.map((log) => log.spacer.textContent);
  for (let i = 0; i < 100; i += 1) {
    push(i % 2);
    await new Promise((done) => setTimeout(done, 20));
  }
  while (logs.some((log) => log.frame || log.beat)) await new Promise(requestAnimationFrame);
  return { first, lines: logs.map((log) => log.rowCount), changed: changed.size };
}"""


def test_logs_that_go_on_change_the_page_together_and_not_often(modules: Page):
    found = modules.evaluate(TWO)
    assert found["first"] == ["one more line", "one more line"]  # what comes first isn't kept
    assert found["lines"] == [51, 51]
    # In 2 s there are 16 beats; each log for itself would change the page some 50 times.
    assert found["changed"] < 35
