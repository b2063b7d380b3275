"""How jobs look in the sidebar: how far they are, what they use, in every state and width."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.sidebar.stage import WAIT, Stage, until
from tests.kernel.eyes import faint, too_wide
from tests.nvml import Cards, build

pytestmark = pytest.mark.slow

_ON_GPU = """
import os
with open(os.environ["FAKE_NVML"], "w") as state:
    state.write(f"GPU-00000000-1234-5678-9abc-def012345678 81920 60000 0 {os.getpid()} 21000\\n")
"""
_BUSY = f"""{_ON_GPU}
self.progress(12, 30, unit="epochs")
await self.cancel_event.wait()
"""
#: One that has run for a while.
_SLOW = f"""{_ON_GPU}
from tqdm import tqdm
bar = tqdm(total=30, unit="epochs", mininterval=0)
bar.start_t = bar.last_print_t = bar.start_t - 400
bar.update(12)
await self.cancel_event.wait()
"""
#: A job in each state, on a worker that is not asked.
_EVERY_STATE = """
import time
from chutes_jupyter.store import JobRecord, Store
from chutes_jupyter.models import TERMINAL
now = time.time()
states = ["pending", "starting", "running", "cancelling", "collecting", *sorted(TERMINAL)]
for number, state in enumerate(states):
    Store.open().add(JobRecord(
        id=f"{number + 1:032x}", name=f"st{number}", worker="elsewhere", state=state, event=5,
        created=now - 60, started=now - 50, ended=now - 10 if state in TERMINAL else None,
        confirmed=now - 300,
    ))
"""
_NO_STATE = """
from chutes_jupyter.store import Store
Store.open().remove(f"{number + 1:032x}" for number in range(10))
"""


@pytest.fixture(scope="module", autouse=True)
def cards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cards]:
    """A machine with a GPU, for the server that is started after this."""
    folder = tmp_path_factory.mktemp("gpu")
    found = Cards(folder, build(folder / "nvml"), 1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


def test_a_row_tells_how_far_a_job_is_and_how_busy_its_gpu(stage: Stage) -> None:
    label = stage.submit("train", _BUSY, "ssh=True")
    stage.show()
    row = stage.row(label, "40 %")
    bar = row.locator(".jp-chutes-bar > span")
    # A row that was just drawn anew has no width for once.
    part = "each => each.offsetWidth / each.parentElement.offsetWidth"
    until(lambda: bar.evaluate(part) == pytest.approx(0.4, abs=0.05), "the bar is 40 % full")
    spark = row.locator(".jp-chutes-spark")
    expect(spark).to_have_attribute("title", "GPU: 40 %", timeout=WAIT)
    # Its line grows.
    points = re.compile(r"^\S+( \S+){2,}$")
    expect(spark.locator("polyline")).to_have_attribute("points", points, timeout=WAIT)
    detail = stage.choose(label)
    progress = detail.get_by_role("progressbar", name="Progress")
    expect(progress).to_have_attribute("aria-valuenow", "40")
    expect(detail).to_contain_text("12 / 30 epochs")
    # SSH has a button; nothing listens at its port.
    expect(detail.get_by_role("button", name="Terminal")).to_be_visible()
    expect(detail.locator(".jp-chutes-port")).to_have_count(0)
    local = stage.page.locator('[data-worker="local"]')
    expect(local).to_contain_text("59 of 80 GiB free", timeout=WAIT)
    stage.command("cancel", label)
    stage.row(label, "cancelled")
    expect(row.locator(".jp-chutes-spark")).to_have_count(0)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_text_can_be_read_and_no_state_needs_its_colour(stage: Stage, theme: str) -> None:
    label = stage.submit("train", _BUSY)
    stage.run("-c", _EVERY_STATE)
    stage.page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    light = "true" if "Light" in theme else "false"
    body = stage.page.locator("body")
    expect(body).to_have_attribute("data-jp-theme-light", light, timeout=WAIT)
    stage.show()
    stage.row(label, "40 %")
    stage.row("st9-", "timed out")
    stage.choose(label)
    assert not faint(stage.show())
    signs = stage.rows.filter(has_text="st").locator(".jp-chutes-sign").all_inner_texts()
    assert len(set(signs)) == 10
    words = stage.rows.filter(has_text="st").locator(".jp-chutes-state").all_inner_texts()
    assert len(set(words)) == 10
    stage.run("-c", _NO_STATE)
    stage.command("cancel", label)


@pytest.mark.parametrize("width", [230, 600])
def test_it_fits_wherever_its_edge_is(stage: Stage, width: int) -> None:
    label = stage.submit("a_rather_long_name_of_a_job", _SLOW, "ssh=True")
    stage.command("worker", "add", "gpu1", "somebody@gpu1.a-long-name.example", "--no-connect")
    sidebar = stage.show()
    stage.row(label, "40 %")
    detail = stage.choose(label)
    expect(detail).to_contain_text("min left", timeout=WAIT)
    stage.widen(width)
    expect(sidebar.locator('[data-worker="gpu1"]')).to_be_visible(timeout=WAIT)
    box = sidebar.bounding_box()
    assert box
    assert box["width"] == pytest.approx(width, abs=25)
    assert not too_wide(sidebar)
    left = detail.locator(".jp-chutes-left")
    assert left.evaluate("each => each.scrollWidth <= each.clientWidth")  # not cut short
    expect(sidebar.get_by_role("button", name="Cancel", exact=True)).to_be_in_viewport()
    stage.command("worker", "remove", "gpu1")
    stage.command("cancel", label)
