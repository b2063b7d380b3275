"""What lies outside the page: a worker that is away, the browser's clipboard, its notifications."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect

from tests.browser.sidebar.stage import PAGE, WAIT, Stage
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd

pytestmark = pytest.mark.slow

PORT = 8871
_BOARD = PAGE.replace("PORT", str(PORT))
_HAS_BOARD = f'ports=[chutes_jupyter.Port("board", {PORT}, "http")]'
#: Takes down what the browser is asked to show, since nobody can see its own notifications here.
#: It asks a person only after a click, as some do; what a test evaluates counts as one otherwise.
#: And a window that is not looked at.
_NOTED = """
window.noted = [];
let clicked = -Infinity;
addEventListener('click', event => { if (event.isTrusted) clicked = event.timeStamp; }, true);
const isActive = () => performance.now() - clicked < 5000;
Object.defineProperty(navigator, 'userActivation', {get: () => ({isActive: isActive()})});
window.Notification = class {
    static permission = 'default';
    static async requestPermission() {
        if (isActive()) this.permission = 'granted';
        return this.permission;
    }
    constructor(title, options) { window.noted.push([title, options.tag]); }
};
Object.defineProperty(document, 'hidden', {get: () => Boolean(window.away)});
"""


@pytest.fixture(scope="module")
def far(lab: Stage) -> Iterator[Sshd]:
    """A host that can be switched off, as the worker `far1`."""
    server = Sshd.start()
    try:
        add_to_ssh_config(lab.folder / "home", server, "far1")
        lab.command("worker", "add", "far1", "far1", "--dir", str(lab.folder / "far"))
        yield server
        lab.command("worker", "remove", "far1")
    finally:
        server.remove()


def test_of_a_worker_that_is_away_it_says_when_it_was_last_heard(stage: Stage, far: Sshd) -> None:
    label = stage.submit("away", worker="far1")
    stage.show()
    row = stage.row(label, "running")
    detail = stage.choose(label)
    expect(row).not_to_contain_text("last confirmed")
    far.switch_off()
    expect(row).to_contain_text("last confirmed", timeout=WAIT)
    # What the worker confirmed stays, and why it can't be asked is said.
    expect(row).to_contain_text("running")
    expect(detail).to_contain_text("last confirmed", timeout=WAIT)
    expect(detail.locator(".jp-chutes-doubt-text").first).to_contain_text("far1")
    worker = stage.page.locator('[data-worker="far1"]')
    expect(worker.locator(".jp-mod-bad")).to_be_visible(timeout=WAIT)
    stage.cancel(label)
    toast = stage.page.locator(".Toastify__toast", has_text="far1 does not answer")
    expect(toast).to_contain_text("is kept, and delivered as soon as it does", timeout=WAIT)
    far.run()
    stage.row(label, "cancelled")
    expect(row).not_to_contain_text("last confirmed")


def test_a_job_whose_worker_was_removed_can_be_taken_off_the_list(stage: Stage, far: Sshd) -> None:
    label = stage.submit("adrift", worker="far1")
    stage.show()
    stage.row(label, "running")
    detail = stage.choose(label)
    remove = detail.get_by_role("button", name="Remove")
    expect(remove).to_have_count(0)  # it runs
    stage.page.get_by_role("button", name="Forget far1").click()
    stage.page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(remove).to_be_visible(timeout=WAIT)
    remove.click()
    dialog = stage.page.get_by_role("dialog")
    expect(dialog).to_contain_text("nothing is ended or deleted there")
    dialog.get_by_role("button", name="Remove").click()
    expect(stage.rows.filter(has_text=label)).to_have_count(0, timeout=WAIT)
    # It went on meanwhile, and whoever knows its name finds it when the worker is back.
    stage.command("worker", "add", "far1", "far1", "--dir", str(stage.folder / "far"))
    stage.command("cancel", label)
    stage.row(label, "cancelled")


def test_links_are_copied_that_open_the_page(stage: Stage) -> None:
    stage.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    label = stage.submit("linked", _BOARD, _HAS_BOARD)
    stage.show()
    detail = stage.choose(label)
    expect(detail).to_contain_text("ready", timeout=WAIT)
    detail.get_by_role("button", name="its address on the machine of the server").click()
    address = stage.page.evaluate("navigator.clipboard.readText()")
    with stage.page.context.new_page() as page:
        page.goto(address)
        expect(page.locator("h1")).to_have_text("hello from the job")
    detail.get_by_role("button", name="Open board in a tab").click()
    inside = stage.page.frame_locator("iframe.jp-chutes-port-frame")
    expect(inside.locator("h1")).to_be_visible(timeout=WAIT)
    stage.page.locator('.jp-Toolbar-item[data-jp-item-name="link"]').click()
    expect(stage.page.locator(".Toastify__toast", has_text="Copied a link")).to_be_visible()
    link = stage.page.evaluate("navigator.clipboard.readText()")
    assert link != address
    with stage.page.context.new_page() as page:
        page.goto(link)
        expect(page.locator("h1")).to_have_text("hello from the job")
        # It was good for once: whoever finds it later has nothing of it.
        page.context.clear_cookies()
        refused = page.goto(link)
        assert refused is not None
        assert refused.status in (401, 403, 404, 410)
    stage.command("cancel", label)
    stage.row(label, "cancelled")  # the port is free again


def test_where_the_browser_finds_no_host_the_page_is_in_a_sandbox(stage: Stage) -> None:
    label = stage.submit("boxed", _BOARD, _HAS_BOARD)
    stage.show()
    expect(stage.choose(label)).to_contain_text("ready", timeout=WAIT)

    def unknown(route: Route) -> None:
        route.abort("namenotresolved")

    beyond = "**://*.localhost:*/**"
    stage.page.route(beyond, unknown)
    try:
        stage.page.get_by_role("button", name="Open board in a tab").click()
        frame = stage.page.locator("iframe.jp-chutes-port-frame")
        inside = stage.page.frame_locator("iframe.jp-chutes-port-frame")
        expect(inside.locator("h1")).to_have_text("hello from the job", timeout=WAIT)
    finally:
        stage.page.unroute(beyond)
    assert "allow-same-origin" not in (frame.get_attribute("sandbox") or "").split()
    expect(stage.page.locator(".jp-chutes-kind")).to_have_text(
        "in a sandbox: no cookies, no storage"
    )
    notes = stage.page.locator(".jp-chutes-port-notes")
    expect(notes).to_contain_text("did not find the tab's own host")
    expect(notes).to_contain_text(f"jupyter chute forward {label} board")
    stage.command("cancel", label)
    stage.row(label, "cancelled")  # the port is free again


def test_the_browser_tells_of_an_end_only_where_it_may_and_nobody_looks(stage: Stage) -> None:
    settings = stage.folder / "home/config/lab/user-settings/chutes-jupyter"
    settings.mkdir(parents=True, exist_ok=True)
    file = settings / "plugin.jupyterlab-settings"
    file.write_text(json.dumps({"notifyInBrowser": True}))
    page = stage.page.context.new_page()
    stage.page.goto("about:blank")  # another page of Lab would be one that is looked at
    try:
        page.add_init_script(_NOTED)
        other = Stage(stage.folder, stage.address, page)
        other.open()
        seen, unseen = other.submit("seen"), other.submit("unseen")
        other.show()
        other.row(seen, "running")
        other.row(unseen, "running")
        other.command("cancel", seen)
        other.row(seen, "cancelled")
        page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
        other.command("cancel", unseen)
        page.wait_for_function("window.noted.length > 0", timeout=WAIT)
        ((text, tag),) = page.evaluate("window.noted")
        assert text.startswith(f"{unseen}: cancelled")
        assert tag.startswith("chutes-")
        # Lab itself told of both.
        toasts = page.locator(".Toastify__toast")
        expect(toasts.filter(has_text=seen).first).to_be_attached()
        expect(toasts.filter(has_text=unseen).first).to_be_attached()
    finally:
        page.close()
        file.unlink()
