"""The table of jobs in a browser, with many of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.kernel.modules import module_page

pytestmark = pytest.mark.slow

_TABLE = """async (count) => {
  const { render } = await import("/jobs.js");
  const states = ["running", "succeeded", "failed", "timed_out"];
  const rows = [];
  for (let i = 0; i < count; i += 1) {
    rows.push({ id: String(i), label: `job-${String(i).padStart(4, "0")}`, state: states[i % 4],
      reason: i === 7 ? "<i>out of memory</i>" : null, worker: `gpu${i % 3}`, created: 1000 + i,
      started: 1000 + i, elapsed: i, notebook: i % 2 ? "a.ipynb" : "b.ipynb", confirmed_ago: 1 });
  }
  const model = { get: () => rows, on: () => {}, send: () => {} };
  render({ model, el: document.getElementById("place") });
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    with module_page() as found:
        found.evaluate(_TABLE, 1000)
        yield found


def test_a_thousand_rows_are_sorted_filtered_and_few_of_them_in_the_page(page: Page):
    rows = page.locator(".chutes-job")
    assert rows.count() < 40
    # The newest first; a column is sorted by a click, and the other way by another.
    expect(page.locator(".chutes-job", has_text="job-0999")).to_be_in_viewport()
    cut = "each => each.some((state) => state.scrollWidth > state.clientWidth)"
    assert not page.locator(".chutes-job .chutes-state").evaluate_all(cut)
    by_job = page.get_by_role("button", name="Sort by job")
    by_job.click()
    expect(page.get_by_role("columnheader", name="Job")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator(".chutes-job", has_text="job-0000")).to_be_in_viewport()
    page.locator(".chutes-jobs-list").evaluate("list => { list.scrollTop = 28 * 500; }")
    expect(page.locator(".chutes-job", has_text="job-0503")).to_be_in_viewport()
    assert rows.count() < 40
    page.get_by_label("Worker", exact=True).select_option("gpu1")
    page.get_by_label("State", exact=True).select_option("timed_out")
    expect(page.get_by_role("status")).to_have_text("83 of 1,000 jobs")
    page.get_by_role("searchbox").fill("memory")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("timed out")
    expect(page.locator(".chutes-job i")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel job-0007")).to_have_count(0)
