"""The pictures of numbers, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow
SHOW = """async (series) => {
  const { chart } = await import("/charts.js");
  document.getElementById("place").append(chart("loss", series));
}"""


def test_steps_that_go_back_stay_in_the_picture(modules: Page):
    # As they do when a job goes on from a checkpoint.
    modules.evaluate(SHOW, [[50, 1.0], [100, 0.5], [75, 0.75], [0, 0.25]])
    line = modules.locator("polyline").get_attribute("points") or ""
    assert line == "120.0,0.0 240.0,53.3 180.0,26.7 0.0,80.0"
    expect(modules.locator(".chutes-steps span")).to_have_text(["step 0", "100"])
