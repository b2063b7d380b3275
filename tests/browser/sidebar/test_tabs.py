"""The tabs of jobs: logs, outputs, pages; and that they come back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.sidebar.stage import PAGE, WAIT, Stage
from tests.freeport import free_port

pytestmark = pytest.mark.slow

_LOG = """
import asyncio
for number in range(3000):
    print(f"line {number}")
print("\\x1b[31mthe last one\\x1b[0m", flush=True)
await self.cancel_event.wait()
print("farewell")
"""
_OUTPUTS = """
import os
os.makedirs(f"{job_data['output_dir']}/sub")
with open(f"{job_data['output_dir']}/sub/table.csv", "w") as file:
    file.write("epoch,loss\\n1,0.5\\n")
await self.cancel_event.wait()
"""


def with_page(stage: Stage, name: str) -> str:
    """Start a job with a page, and return its label."""
    port = free_port()
    options = f"ports=[chutes_jupyter.Port('board', {port}, 'http')]"
    label = stage.submit(name, PAGE.replace("PORT", str(port)), options)
    stage.show()
    stage.row(label, "running")
    return label


def test_a_log_is_followed_in_a_tab(stage: Stage) -> None:
    label = stage.submit("talker", _LOG)
    stage.show()
    stage.act(label, "Log")
    log = stage.page.locator(".jp-chutes-log-tab")
    last = log.locator(".chutes-row", has_text="the last one")
    expect(last).to_be_in_viewport(timeout=WAIT)
    expect(last.locator("span")).to_have_class("chutes-fg-1")
    assert log.locator(".chutes-row").count() < 200
    # It is opened once.
    stage.act(label, "Log")
    expect(log).to_have_count(1)
    stage.cancel(label)
    expect(log.locator(".chutes-row", has_text="farewell")).to_be_in_viewport(timeout=WAIT)
    expect(log.locator(".jp-chutes-state")).to_contain_text("cancelled", timeout=WAIT)


def test_outputs_are_listed_and_looked_at(stage: Stage) -> None:
    label = stage.submit("writer", _OUTPUTS)
    stage.show()
    stage.act(label, "Outputs")
    outputs = stage.page.locator(".jp-chutes-outputs-tab")
    outputs.get_by_role("button", name="Open the folder sub").click(timeout=WAIT)
    outputs.get_by_role("button", name="Look at sub/table.csv").click()
    expect(outputs.locator("th", has_text="loss")).to_be_visible(timeout=WAIT)
    stage.act(label, "Folder")
    browser = stage.page.locator("#filebrowser")
    expect(browser.locator(".jp-BreadCrumbs")).to_contain_text(label, timeout=WAIT)
    stage.command("cancel", label)


def test_a_page_opens_in_a_tab_and_ends_kindly(stage: Stage) -> None:
    label = with_page(stage, "server")
    stage.choose(label)
    stage.page.get_by_role("button", name="Open board in a tab").click(timeout=WAIT)
    frame = stage.page.locator("iframe.jp-chutes-port-frame")
    inside = stage.page.frame_locator("iframe.jp-chutes-port-frame")
    expect(inside.locator("h1")).to_have_text("hello from the job", timeout=WAIT)
    # On its own origin a page may have one; on Jupyter's it may not.
    rights = (frame.get_attribute("sandbox") or "").split()
    own = not (frame.get_attribute("src") or "").startswith(stage.origin)
    assert ("allow-same-origin" in rights) == own
    assert "allow-top-navigation" not in rights
    kind = stage.page.locator(".jp-chutes-kind")
    said = "at an address of its own" if own else "in a sandbox: no cookies, no storage"
    expect(kind).to_have_text(said)
    before = frame.get_attribute("src")
    stage.page.locator('.jp-Toolbar-item[data-jp-item-name="reload"]').last.click()
    expect(frame).not_to_have_attribute("src", before or "")
    expect(inside.locator("h1")).to_have_text("hello from the job", timeout=WAIT)
    with stage.page.expect_popup() as opening:
        stage.page.locator('.jp-Toolbar-item[data-jp-item-name="outside"]').click()
    expect(opening.value.locator("h1")).to_have_text("hello from the job", timeout=WAIT)
    opening.value.close()
    stage.cancel(label)
    cover = stage.page.locator(".jp-chutes-port-cover")
    expect(cover).to_contain_text(f"{label} has ended: cancelled", timeout=WAIT)
    expect(frame).to_be_hidden()


def test_tabs_come_back_while_the_job_lives(stage: Stage) -> None:
    stays, ends = with_page(stage, "stays"), with_page(stage, "ends")
    for label in (stays, ends):
        stage.choose(label)
        stage.page.get_by_role("button", name="Open board in a tab").click(timeout=WAIT)
    stage.act(stays, "Log")
    tabs = stage.page.locator("#jp-main-dock-panel .lm-TabBar-tab")
    expect(tabs.filter(has_text="board")).to_have_count(2)
    stage.saved()
    stage.command("cancel", ends)
    stage.row(ends, "cancelled")
    stage.open(reset=False)
    expect(tabs.filter(has_text=f"board · {stays}")).to_have_count(1, timeout=WAIT)
    expect(stage.page.locator(".jp-chutes-log-tab")).to_contain_text("running", timeout=WAIT)
    tabs.filter(has_text=f"board · {stays}").click()
    inside = stage.page.frame_locator("iframe.jp-chutes-port-frame")
    expect(inside.locator("h1")).to_have_text("hello from the job", timeout=WAIT)
    expect(tabs.filter(has_text=f"board · {ends}")).to_have_count(0)
    expect(stage.page.locator("#chutes-sidebar")).to_be_visible()
    stage.command("cancel", stays)


def test_a_job_is_run_again_without_its_kernel(stage: Stage) -> None:
    first = stage.submit("repeated", "return {'lr': 3e-4}")
    stage.show()
    stage.act(first, "Again", "succeeded")
    toast = stage.page.locator(".Toastify__toast", has_text=f"{first} runs again as repeated-")
    expect(toast).to_be_visible(timeout=WAIT)
    # The new one is chosen, and shown as it goes.
    detail = stage.page.locator(".jp-chutes-detail")
    expect(detail).not_to_contain_text(first)
    expect(detail).to_contain_text("repeated-")
    expect(detail.get_by_role("button", name="Result")).to_be_visible(timeout=WAIT)
    detail.get_by_role("button", name="Result").click()
    expect(stage.page.locator(".jp-chutes-result")).to_contain_text("0.0003", timeout=WAIT)
    # It is seen a moment before it takes keys.
    dialog = stage.page.locator(".jp-Dialog")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused(timeout=WAIT)
    stage.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0, timeout=WAIT)
    # From the menu of its row, too; what is not kept is said.
    for file in (stage.folder / "home/data/chutes_jupyter/again").iterdir():
        file.unlink()
    stage.row(first).click(button="right")
    stage.page.locator(".lm-Menu-item", has_text="Run Again").click()
    refusal = stage.page.locator(".jp-Dialog", has_text="is not kept here")
    expect(refusal).to_be_visible(timeout=WAIT)


def test_an_end_is_told_and_its_error_shown(stage: Stage) -> None:
    go = stage.folder / "go"
    body = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(.05)\n"
    label = stage.submit("unlucky", body + "raise ValueError('no such data set')")
    stage.show()
    stage.row(label, "running")
    go.touch()
    toast = stage.page.locator(".Toastify__toast", has_text=label)
    expect(toast).to_contain_text("failed", timeout=WAIT)
    toast.get_by_role("button", name="Result").click()
    result = stage.page.locator(".jp-chutes-result")
    expect(result).to_contain_text("raise ValueError('no such data set')", timeout=WAIT)
    stage.page.locator(".jp-Dialog").get_by_role("button", name="Close").click()
    # Removed, it is gone from the list.
    stage.act(label, "Remove", "failed")
    stage.page.locator(".jp-Dialog button.jp-mod-warn").click()
    expect(stage.rows.filter(has_text=label)).to_have_count(0, timeout=WAIT)
