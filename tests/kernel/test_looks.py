"""What every person can see of the panel: on a phone, in both themes, without its colours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from chutes_jupyter.kernel.record import Record
from tests.kernel.eyes import faint, too_wide
from tests.kernel.lab import browser_page, lab_server
from tests.kernel.panels import ENDED, LOG, STATES, set_theme, show, traits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 60_000
#: Puts HTML where a notebook shows its outputs, as far as colours go, above all of Lab.
_PLACE = """(html) => {
  document.getElementById("stage")?.remove();
  const stage = Object.assign(document.createElement("div"), { id: "stage", innerHTML: html });
  stage.className = "jp-RenderedHTMLCommon";
  stage.style = "position: fixed; inset: 0; z-index: 99999; overflow: auto;"
    + "background: var(--jp-layout-color0); color: var(--jp-content-font-color1)";
  document.body.append(stage);
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of JupyterLab, for its themes."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "home").mkdir()
    with lab_server(folder) as address, browser_page(width=1000) as page:
        page.goto(address.replace("lab/tree/{}", "lab"))
        expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=SOON)
        yield page


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_text_can_be_read_in_every_state(lab: Page, theme: str):
    set_theme(lab, theme)
    for state in STATES:
        panel = show(lab, **traits(state))
        expect(panel).to_contain_text("colour 97")
        for tab in panel.get_by_role("tab").all():
            if tab.get_attribute("aria-selected") != "true":
                tab.click()
            assert not faint(panel), f"{state}, {tab.inner_text()}"


def test_each_state_has_a_word_and_a_sign_of_its_own(lab: Page):
    signs = set()
    for state in STATES:
        panel = show(lab, **traits(state))
        expect(panel.get_by_role("status").first).to_contain_text(state.replace("_", " "))
        signs.add(panel.locator(".chutes-line .chutes-sign").inner_text())
    assert len(signs - {"", "·"}) == len(STATES)


@pytest.mark.parametrize("width", [230, 360, 600, 700])
def test_a_narrow_panel_keeps_all_within_it(lab: Page, width: int):
    for state in STATES:
        panel = show(lab, width=f"{width}px", **traits(state))
        expect(panel).to_contain_text("colour 97")
        for tab in panel.get_by_role("tab").all():
            if tab.get_attribute("aria-selected") != "true":
                tab.click()
            assert not too_wide(panel), f"{state}, {tab.inner_text()}"
        word = panel.locator(".chutes-line .chutes-state")
        assert word.evaluate("each => each.scrollWidth <= each.clientWidth"), state
        cancel = panel.locator(".chutes-cancel")
        expect(cancel).to_be_visible(visible=state not in ENDED)
        if state in STATES[:3]:
            cancel.click(trial=True)  # nothing lies above it


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_record_in_a_notebook_can_be_read_in_every_state(lab: Page, theme: str):
    set_theme(lab, theme)
    for state in STATES:
        made = traits(state)
        record = Record(made["job"], made["files"], made["job"]["created"], LOG, "{'epochs': 30}")
        html = record._repr_html_()
        lab.evaluate(_PLACE, html)
        assert not faint(lab.locator("#stage")), state
