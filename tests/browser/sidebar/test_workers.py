"""The workers below the jobs: added, known by their key, tested, forgotten."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.sidebar.stage import WAIT, Stage
from tests.sshd import Sshd

pytestmark = pytest.mark.slow


def test_a_worker_is_added_after_its_key_was_compared(stage: Stage, sshd: Sshd) -> None:
    page = stage.page
    ssh = stage.folder / "home" / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "config").write_text(sshd.config("box", ssh / "known_hosts"))
    sidebar = stage.show()
    sidebar.get_by_role("button", name="Add Worker").click()
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_label("Name").fill("gpu1")
    dialog.get_by_label("Host").fill("box")
    dialog.get_by_role("button", name="Add").click()
    # Its key is not known: it is shown, and Enter alone does not accept it.
    expect(dialog).to_contain_text(sshd.fingerprint, timeout=WAIT)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert not (ssh / "known_hosts").exists()
    worker = sidebar.locator('[data-worker="gpu1"]')
    worker.get_by_role("button", name="Test gpu1").click()
    expect(dialog).to_contain_text(sshd.fingerprint, timeout=WAIT)
    dialog.get_by_role("button", name="Accept This Key").click()
    steps = page.locator(".jp-chutes-steps tr")
    expect(steps.first).to_be_visible(timeout=WAIT)
    expect(dialog).to_contain_text("gpu1 is fine")
    assert steps.count() > 5
    dialog.get_by_role("button", name="Close").click()
    expect(worker).to_contain_text("reachable", timeout=WAIT)
    expect(worker).to_contain_text("Python 3")
    worker.get_by_role("button", name="Log in to gpu1").click()
    toast = page.locator(".Toastify__toast", has_text="ogged in to")
    expect(toast).to_be_visible(timeout=WAIT)
    worker.get_by_role("button", name="Forget gpu1").click()
    dialog.get_by_role("button", name="Forget").click()
    expect(worker).to_have_count(0, timeout=WAIT)


def test_this_machine_is_known_without_being_asked_for(stage: Stage) -> None:
    local = stage.show().locator('[data-worker="local"]')
    expect(local.locator(".jp-mod-ready")).to_be_visible(timeout=WAIT)
    expect(local).to_contain_text("Python 3")


def test_what_is_wrong_is_said(stage: Stage) -> None:
    page = stage.page
    sidebar = stage.show()
    sidebar.get_by_role("button", name="Add Worker").click()
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_label("Name").fill("not a name!")
    dialog.get_by_role("button", name="Add").click()
    expect(page.locator(".Toastify__toast", has_text="not a name!")).to_be_visible(timeout=WAIT)
