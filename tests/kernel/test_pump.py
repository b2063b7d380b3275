"""Clicks that arrive while a cell waits, from a front end without subshells: a plain client."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from chutes_jupyter.kernel import pump
from tests.kernel.notebook import PATIENCE, Notebook

pytestmark = pytest.mark.slow
JOB = "%%chute_job train\nprint('begun', flush=True)\nawait self.cancel_event.wait()"


def panel_of(notebook: Notebook, name: str) -> str:
    """Show a job as VS Code would, and return the id of its panel's comm."""
    shown = notebook.run(f"__vsc_ipynb_file__ = '/x.ipynb'\n{name}").shown[0]
    return str(shown["application/vnd.jupyter.widget-view+json"]["model_id"])


def click(notebook: Notebook, comm: str, **message: object) -> None:
    """Send what a panel's front end sends."""
    content = {"comm_id": comm, "data": {"method": "custom", "content": message}}
    notebook.client.shell_channel.send(notebook.client.session.msg("comm_msg", content))


def test_a_cancel_arrives_during_result_and_cells_after_it_run_in_order(notebook: Notebook):
    notebook.run(JOB)
    comm = panel_of(notebook, "(job := train.submit())")
    waits = notebook.start(
        "print('waits', flush=True)\n"
        "try:\n    job.result()\nexcept Exception as error:\n    print(type(error).__name__)"
    )
    waits.until("waits")
    # These lie before the click, and must neither be lost nor change places.
    later = [notebook.start(f"order = [*globals().get('order', []), {n}]") for n in range(5)]
    click(notebook, comm, do="cancel", id=1)
    assert "JobCancelled" in waits.wait().stdout
    last = notebook.run("print(order)")
    assert last.stdout == "[0, 1, 2, 3, 4]\n"
    assert len(later) == 5


def test_a_cancel_arrives_during_wait_which_prints_the_log(notebook: Notebook):
    notebook.run(JOB)
    notebook.run("__vsc_ipynb_file__ = '/x.ipynb'")
    waits = notebook.start("%chute run train --wait")
    waits.until("begun")
    model = waits.outcome.shown[0]["application/vnd.jupyter.widget-view+json"]["model_id"]
    click(notebook, model, do="cancel", id=1)
    outcome = waits.wait()
    assert outcome.error_type == "JobCancelled"


def test_a_cell_that_comes_as_another_wait_ends_overtakes_none(notebook: Notebook):
    notebook.run(JOB)
    panel_of(notebook, "(job := train.submit())")
    notebook.run(
        "import time\nfrom chutes_jupyter.kernel import pump\n"
        "stream = pump.of(get_ipython().kernel)._stream\norder = []\n"
        "def wait():\n"
        "    try:\n        job.result(timeout=0.3)\n    except TimeoutError:\n        pass\n"
        "def comes(word):\n"
        "    print(word, flush=True)\n"
        "    while not stream.socket.poll(0):\n        time.sleep(0.01)"
    )
    # The first is held; the loop is asked to read the second, which the next wait holds, too;
    # what it finds when it reads is the third.
    waits = notebook.start(
        "comes('first')\nwait()\ncomes('second')\nstream._rebuild_io_state()\nwait()\n"
        "comes('third')"
    )
    for number, word in enumerate(("first", "second", "third")):
        waits.until(word)
        notebook.start(f"order.append({number})")
    waits.wait()
    assert notebook.run("print(order)").stdout == "[0, 1, 2]\n"
    notebook.run("job.cancel()")


def test_an_interrupt_ends_the_wait_and_the_held_cells_run(notebook: Notebook):
    notebook.run(JOB)
    panel_of(notebook, "(job := train.submit())")
    waits = notebook.start("print('waits', flush=True)\njob.result()")
    waits.until("waits")
    notebook.manager.interrupt_kernel()
    outcome = waits.wait()
    assert outcome.error_type == "KeyboardInterrupt"
    assert notebook.run("print(job.done())").stdout == "False\n"
    notebook.run("job.cancel()")


def test_no_interrupt_loses_a_cell_that_is_in_the_pumps_hand(notebook: Notebook):
    notebook.run(JOB)
    panel_of(notebook, "(job := train.submit())")
    notebook.run(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.interrupting import Interrupter\n"
        "interrupter = Interrupter(within='look', depth=3)"
    )
    met = 0
    while True:
        waits = notebook.start("interrupter.run(lambda: job.result(timeout=3))")
        later = [notebook.start(f"order = {n}") for n in range(2)]
        outcome = waits.wait()
        for cell in later:
            cell.wait()  # it runs, or is given up since the one before it failed
        where = notebook.run("print(interrupter.where)").stdout.strip()
        if not where:
            break
        assert outcome.error_type == "KeyboardInterrupt", where
        met += 1
    assert met > 20
    notebook.run("job.cancel()")


def test_a_second_interrupt_cancels_the_job_that_a_cell_waited_for(notebook: Notebook):
    notebook.run(JOB)
    waits = notebook.start("job = None\n%chute run train --wait")
    waits.until("begun")
    notebook.manager.interrupt_kernel()
    outcome = waits.wait()
    label = re.search(r"(train-\w+) goes on\.", outcome.stdout)
    assert label, outcome
    assert "Interrupt again within 5 s to cancel it." in outcome.stdout
    notebook.manager.interrupt_kernel()
    deadline = time.monotonic() + PATIENCE
    code = f"import chutes_jupyter\nprint(chutes_jupyter.attach('{label[1]}').state)"
    while (state := notebook.run(code).stdout.strip()) != "cancelled":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


def test_one_interrupt_leaves_the_job_running(notebook: Notebook):
    notebook.run(JOB)
    waits = notebook.start("%chute run train --wait")
    waits.until("begun")
    notebook.manager.interrupt_kernel()
    outcome = waits.wait()
    label = re.search(r"(train-\w+) goes on\.", outcome.stdout)
    assert label
    # A cell is interrupted as any other, also shortly after.
    runs = notebook.start("print('runs', flush=True)\nimport time\ntime.sleep(60)")
    runs.until("runs")
    notebook.manager.interrupt_kernel()
    assert runs.wait().error_type == "KeyboardInterrupt"
    found = notebook.run(f"import chutes_jupyter as c\nj = c.attach('{label[1]}')\nprint(j.state)")
    assert found.stdout == "running\n"
    notebook.run("j.cancel()")


class Bare:
    """A kernel of which nothing is known."""


def test_a_kernel_with_other_insides_is_left_alone():
    assert pump.of(Bare()) is None
    with pump.pumping(Bare()) as look:
        assert look is None
