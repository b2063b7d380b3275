"""What a person can see of a part of a page: whether its texts stand out, and whether it fits."""

from __future__ import annotations

from playwright.sync_api import Locator

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
    const unseen = parentElement.closest(".chutes-hidden, option, style");
    const shown = parentElement.checkVisibility() && !unseen;
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
    const apart = each.closest(".chutes-log, svg, input, select, .chutes-hidden");
    if (apart || !each.checkVisibility()) return false;
    const { left, right } = each.getBoundingClientRect();
    const wide = each.clientWidth > 0 && each.scrollWidth > each.clientWidth;
    return (wide || left < edge.left - 1 || right > edge.right + 1) && !cut(each);
  }).map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 30)}`);
}"""


def faint(part: Locator) -> list[tuple[float, str]]:
    """Return the texts of a part with too little contrast to what lies behind them."""
    texts = part.evaluate(_CONTRASTS)
    assert len(texts) > 5, "there is nothing to read"
    return [(contrast, text) for contrast, text in texts if contrast < LEAST]


def too_wide(part: Locator) -> list[str]:
    """Return the boxes of a part that something sticks out of, or that stick out of it."""
    found: list[str] = part.evaluate(_WIDE)
    return found
