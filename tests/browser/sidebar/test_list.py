"""The list of jobs: what is in it, that it is live, and that it costs nothing unseen."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Request, expect

from tests.browser.sidebar.stage import FOREVER, WAIT, Stage, until

pytestmark = pytest.mark.slow

_MANY = """
import time
from chutes_jupyter.store import JobRecord, Store

now = time.time()
Store.open().merge(
    JobRecord(
        id=f"{number:032x}", name=f"old{number}", worker="local", state="succeeded", event=9,
        created=now - 90000 - number, started=now - 90000 - number, ended=now - 89000 - number,
        notebook="/work/old.ipynb",
    )
    for number in range(1000)
)
"""


def test_a_job_is_seen_and_cancelled_without_any_kernel(stage: Stage) -> None:
    stage.show()
    expect(stage.page.locator(".jp-chutes-jobs")).to_contain_text("No jobs yet", timeout=WAIT)
    label = stage.submit("train")
    row = stage.row(label, "running")
    expect(row).to_contain_text("train.py")
    stage.act(label, "Cancel")
    dialog = stage.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text(f"Cancel {label}?")
    dialog.get_by_role("button", name="Keep Running").click()
    expect(stage.row(label)).to_contain_text("running")
    stage.cancel(label)
    stage.row(label, "cancelled")
    # Asked once: nothing more is in the way.
    expect(dialog).to_have_count(0)
    detail = stage.choose(label, "cancelled")
    expect(detail.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_live_jobs_are_above_and_the_list_is_live(stage: Stage) -> None:
    first = stage.submit("first")
    second = stage.submit("second")
    stage.show()
    stage.row(second, "running")
    expect(stage.rows.nth(0)).to_contain_text(second)
    expect(stage.rows.nth(1)).to_contain_text(first)
    # Somebody else cancels the newer one: it goes down, below what lives.
    stage.command("cancel", second)
    stage.row(second, "cancelled")
    expect(stage.rows.nth(0)).to_contain_text(first)
    stage.command("cancel", first)
    stage.row(first, "cancelled")


def test_it_is_filtered_and_grouped(stage: Stage) -> None:
    live = stage.submit("wanted")
    other = stage.submit("other", "raise ValueError('no such data set')")
    stage.show()
    stage.row(other, "failed")
    expect(stage.row(other)).to_contain_text("no such data set")
    search = stage.page.get_by_label("Filter jobs")
    search.fill("VALUEERROR data")
    expect(stage.row(other)).to_be_visible()
    expect(stage.rows).to_have_count(1)
    search.fill("")
    stage.page.get_by_label("State", exact=True).select_option("live")
    expect(stage.rows).to_have_count(1)
    stage.row(live, "running")
    stage.page.get_by_label("State", exact=True).select_option("")
    stage.page.get_by_label("Group by").select_option("state")
    group = stage.page.locator(".jp-chutes-group", has_text="failed")
    group.click()
    expect(stage.rows.filter(has_text=other)).to_have_count(0)
    expect(group).to_have_attribute("aria-expanded", "false")
    group.click()
    stage.row(other, "failed")
    stage.command("cancel", live)


def test_keys_go_through_it(stage: Stage) -> None:
    label = stage.submit("typed")
    stage.show()
    stage.row(label, "running")
    box = stage.page.get_by_role("listbox", name="Jobs")
    box.focus()
    stage.page.keyboard.press("Home")
    chosen = stage.page.locator('.jp-chutes-row[aria-selected="true"]')
    expect(chosen).to_contain_text(label)
    assert box.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    stage.page.keyboard.press("ArrowDown")
    expect(chosen).not_to_contain_text(label)
    stage.page.keyboard.press("ArrowUp")
    stage.page.keyboard.press("Delete")
    expect(stage.page.locator(".jp-Dialog")).to_contain_text(f"Cancel {label}?")
    stage.page.keyboard.press("Enter")
    stage.row(label, "cancelled")
    box.focus()
    stage.page.keyboard.press("Enter")
    expect(stage.page.locator(".jp-chutes-log-tab")).to_contain_text("begun", timeout=WAIT)


def test_everything_has_a_name(stage: Stage) -> None:
    label = stage.submit("named", FOREVER, "ports=[chutes_jupyter.Port('web', 8877, 'http')]")
    stage.show()
    stage.choose(label)
    nameless = stage.page.evaluate(
        """() => [...document.querySelectorAll('#chutes-sidebar :is(button, select, input, a)')]
            .filter(each => !(each.ariaLabel || each.innerText.trim() || each.title
                || each.shadowRoot || each.closest('jp-button')))
            .map(each => each.outerHTML)"""
    )
    assert nameless == []
    stage.command("cancel", label)


def test_hidden_it_is_asleep_and_shown_again_it_is_right(stage: Stage) -> None:
    streams: list[Request] = []
    ended: list[Request] = []
    stage.page.on("request", lambda each: streams.append(each) if _is_stream(each) else None)
    stage.page.on("requestfailed", lambda each: ended.append(each) if _is_stream(each) else None)
    label = stage.submit("sleeper")
    stage.show()
    stage.tab.click()
    expect(stage.page.locator("#chutes-sidebar")).to_be_hidden()
    stage.show()
    stage.row(label, "running")
    until(lambda: stage.turn() and bool(streams), "no stream was opened")
    stage.tab.click()
    expect(stage.page.locator("#chutes-sidebar")).to_be_hidden()
    until(lambda: stage.turn() and len(ended) >= len(streams), "the stream goes on unseen")
    asked = len(streams)
    stage.command("cancel", label)
    assert len(streams) == asked
    stage.show()
    stage.row(label, "cancelled")


def test_of_a_thousand_jobs_few_are_in_the_page(stage: Stage) -> None:
    stage.run("-c", _MANY)
    stage.show()
    state = stage.page.get_by_label("State", exact=True)
    expect(state).to_contain_text(re.compile(r"ended \(1,?\d{3}\)"), timeout=WAIT)
    assert stage.rows.count() < 60
    box = stage.page.get_by_role("listbox", name="Jobs")
    box.focus()
    stage.page.keyboard.press("End")
    stage.row("old999")
    assert stage.rows.count() < 60
    expect(stage.row("old999")).to_be_in_viewport()
    stage.page.get_by_label("Filter jobs").fill("old500")
    expect(stage.rows).to_have_count(1)
    stage.row("old500")


def _is_stream(request: Request) -> bool:
    return "/chutes/api/v1/events" in request.url
