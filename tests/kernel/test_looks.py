"""What every person can see of the panel: on a phone, in both themes, without its colours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.kernel.lab import browser_page, lab_server
from tests.kernel.panels import ENDED, STATES, set_theme, show, traits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SOON = 60_000
#: WCAG 2.2, level AA, for text of this size.
LEAST = 4.5

#: Returns the texts of a part, each with its contrast to what lies behind it.
_CONTRASTS = """(root) => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  const above = (each) => each ? [each, ...above(each.parentElement)] : [];
  const behind = (element) => above(element)
    .map((each) => rgba(getComputedStyle(each).backgroundColor))
    .reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const back = behind(element);
    const own = rgba(getComputedStyle(element).color);
    for (const each of above(element)) own[3] *= Number(getComputedStyle(each).opacity);
    const [a, b] = [light(over(own, back)), light(back)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const { parentElement, textContent } = walker.currentNode;
    const shown = parentElement.checkVisibility() && !parentElement.closest(".chutes-hidden");
    const text = textContent.trim();
    if (shown && text) found.push([contrast(parentElement), text.slice(0, 40)]);
  }
  return found;
}"""

#: Returns the boxes of a part in which something is wider than they are, or that leave it. What
#: ends with an ellipsis is cut on purpose.
_WIDE = """(root) => {
  const edge = root.getBoundingClientRect();
  const cut = (each) => each && each !== root
    && (getComputedStyle(each).textOverflow === "ellipsis" || cut(each.parentElement));
  return [root, ...root.querySelectorAll("*")].filter((each) => {
    if (each.closest(".chutes-log, svg, .chutes-hidden") || !each.checkVisibility()) return false;
    const { left, right } = each.getBoundingClientRect();
    const wide = each.clientWidth > 0 && each.scrollWidth > each.clientWidth;
    return (wide || left < edge.left - 1 || right > edge.right + 1) && !cut(each);
  }).map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 30)}`);
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
            texts = panel.evaluate(_CONTRASTS)
            assert len(texts) > 10
            faint = [each for each in texts if each[0] < LEAST]
            assert not faint, f"{state}, {tab.inner_text()}"


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
            assert not panel.evaluate(_WIDE), f"{state}, {tab.inner_text()}"
        word = panel.locator(".chutes-line .chutes-state")
        assert word.evaluate("each => each.scrollWidth <= each.clientWidth"), state
        cancel = panel.locator(".chutes-cancel")
        expect(cancel).to_be_visible(visible=state not in ENDED)
        if state in STATES[:3]:
            cancel.click(trial=True)  # nothing lies above it
