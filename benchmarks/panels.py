"""The panel: how soon a long log is seen, how smooth it is, and what ten cost a kernel."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.kernel.lab import browser_page, lab_server, write_notebook
from tests.kernel.lab import open_notebook as open_notebook_in_lab
from tests.kernel.modules import LOG, module_page
from tests.kernel.notebook import Notebook, open_notebook

from .measure import Case

LINES = 100_000
#: Lines a second while frames are counted, in as many messages as a panel gets.
A_SECOND, MESSAGES = 1000, 8
SECONDS = 5
PANELS = 10

_SHOW = """async (lines) => {
  const parts = [];
  for (let i = 0; i < lines; i += 1) parts.push(`line ${i} of a long log, as jobs print them`);
  const text = `${parts.join("\\n")}\\n`;
  const began = performance.now();
  print(text);
  await painted();
  return (performance.now() - began) / 1000;
}"""
_FRAMES = """async (seconds) => {
  let frames = 0;
  let running = true;
  const count = () => { frames += 1; if (running) requestAnimationFrame(count); };
  requestAnimationFrame(count);
  const began = performance.now();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  running = false;
  return (performance.now() - began) / 1000 / frames;
}"""
_POUR = """async ([rate, messages, seconds]) => {
  let frames = 0;
  let running = true;
  const count = () => { frames += 1; if (running) requestAnimationFrame(count); };
  const each = "one more line of a log \\x1b[32mgreen\\x1b[0m\\n".repeat(rate / messages);
  const timer = setInterval(() => print(each), 1000 / messages);
  requestAnimationFrame(count);
  const began = performance.now();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  running = false;
  clearInterval(timer);
  return (performance.now() - began) / 1000 / frames;
}"""


def cases(worker: str, folder: Path) -> dict[str, Case]:
    """Return every case by its short name; `worker` runs the jobs of the ten panels."""
    return {
        "panel_lines": Case(
            f"{LINES:,} lines of a log, to their end on the screen", lines, None, limit=1.0
        ),
        "panel_frame": Case(
            f"a frame while {A_SECOND:,} lines a second are shown (55 a second are 18.2 ms)",
            frame,
            None,
            limit=1 / 55,
        ),
        "panels_10": Case(
            f"a second of the kernel with {PANELS} live panels, each with a log that is followed",
            ten(worker, folder),
            None,
            limit=0.1,
        ),
        "panels_10_frame": Case(
            f"a frame of JupyterLab with {PANELS} live panels, {A_SECOND:,} lines a second in all",
            ten_frames(folder),
            None,
            limit=1 / 55,
        ),
    }


def lines() -> float:
    """Return how long a long log takes to be on the screen."""
    with module_page() as page:
        page.evaluate(LOG)
        return float(page.evaluate(_SHOW, LINES))


def frame() -> float:
    """Return the mean time of a frame while a log of many lines goes on."""
    with module_page() as page:
        page.evaluate(LOG)
        page.evaluate(_SHOW, LINES)
        return float(page.evaluate(_POUR, [A_SECOND, MESSAGES, SECONDS]))


def ten(worker: str, folder: Path) -> Callable[[], float]:
    """Return a measure of the processor's seconds that a kernel needs in one second."""

    def once() -> float:
        with open_notebook(folder) as notebook:
            return spent(notebook, worker)

    return once


def spent(notebook: Notebook, worker: str) -> float:
    """Show ten panels of jobs that print, ask for their logs as views do, and look on."""
    notebook.run(
        f"%%chute_job talks --worker {worker} --timeout 10m\n"
        "import asyncio\n"
        "for number in range(100_000):\n"
        "    print('line', number, 'of a job that has much to say', flush=True)\n"
        "    await asyncio.sleep(0.05)"
    )
    notebook.run("__vsc_ipynb_file__ = '/x.ipynb'")
    shown = notebook.run(
        f"jobs = [talks.submit() for _ in range({PANELS})]\nfor job in jobs:\n    display(job)"
    ).shown
    kind = "application/vnd.jupyter.widget-view+json"
    for each in (bundle[kind]["model_id"] for bundle in shown if kind in bundle):
        for message in ({"do": "ready"}, {"do": "log", "begin": None}):
            content = {
                "comm_id": each,
                "data": {"method": "custom", "content": {**message, "view": "bench"}},
            }
            notebook.client.shell_channel.send(notebook.client.session.msg("comm_msg", content))
    notebook.run("import time\nwhile any(job.started_at is None for job in jobs): time.sleep(0.1)")
    time.sleep(2)
    process = notebook.manager.provisioner.pid  # type: ignore[union-attr]
    before, began = _processor(process), time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        notebook.client.get_iopub_msg(timeout=10)
    took = time.perf_counter() - began
    found = (_processor(process) - before) / took
    notebook.run("for job in jobs: job.cancel(wait=0)\nfor job in jobs: job.wait(60)")
    return found


def ten_frames(folder: Path) -> Callable[[], float]:
    """Return a measure of a frame's mean time in a notebook with ten busy panels."""

    def once() -> float:
        place = Path(tempfile.mkdtemp(dir=folder))
        (place / "home").mkdir()
        write_notebook(
            place / "ten.ipynb",
            [
                "%load_ext chutes_jupyter",
                "%%chute_job talks --timeout 10m\n"
                "import asyncio\n"
                "for number in range(100_000):\n"
                "    print('line', number, 'of a job that has much to say', flush=True)\n"
                f"    await asyncio.sleep({PANELS / A_SECOND})",
                f"jobs = [talks.submit(ack=True) for _ in range({PANELS})]\n"
                "for job in jobs:\n    display(job)",
                "for job in jobs: job.cancel(wait=0)\nfor job in jobs: job.wait(60)",
            ],
        )
        with lab_server(place) as address, browser_page() as page:
            lab = open_notebook_in_lab(page, address, "ten.ipynb")
            for index in range(3):
                lab.run(index)
            expect(lab.panel(2)).to_have_count(PANELS)
            for number in range(PANELS):
                log = lab.panel(2).nth(number)
                expect(log).to_contain_text("of a job that has", timeout=60_000)
            found = float(page.evaluate(_FRAMES, SECONDS))
            lab.run(3)
        return found

    return once


def _processor(process: int) -> float:
    """Return how many seconds of a processor a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
