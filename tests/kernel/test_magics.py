"""The magics in a real kernel, with jobs on the local worker."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.notebook import Notebook

pytestmark = pytest.mark.slow


def test_a_cell_is_registered_and_run_by_name(notebook: Notebook, tmp_path: Path):
    notebook.run("import math\nscale = 3\ndef twice(x):\n    return 2 * x")
    outcome = notebook.run(
        "%%chute_job train --timeout 1h\n"
        "for epoch in range(job_data['epochs']):\n"
        "    print('epoch', epoch)\n"
        "open(job_data['output_dir'] + '/out.txt', 'w').write('here')\n"
        "return {'value': twice(scale) + math.floor(0.5), 'cfg': job_data['cfg']}"
    )
    assert (outcome.stdout, outcome.shown) == ("", [])
    assert "train" in notebook.run("train").value
    outcome = notebook.run("n = 4\njob = %chute run train epochs={n - 2} cfg={'a': [n]}")
    assert outcome.shown == []
    result = notebook.run("print(job.logs(follow=False) and '')\njob.result()")
    assert ast.literal_eval(result.value) == {"value": 6, "cfg": {"a": [4]}}
    assert notebook.run("print(job.logs(), end='')").stdout == "epoch 0\nepoch 1\n"
    written = list(tmp_path.glob("chute_outputs/*/out.txt"))
    assert [path.read_text() for path in written] == ["here"]


def test_a_cell_that_is_the_function_itself(notebook: Notebook):
    notebook.run(
        "%%chute_job add\n"
        "import operator\n"
        "def add(self, **job_data):\n"
        "    return operator.add(job_data['a'], job_data['b'])"
    )
    outcome = notebook.run("job = %chute run add a=1 b=2\njob.result()")
    assert outcome.value == "3"


def test_run_and_out(notebook: Notebook):
    outcome = notebook.run("%%chute_job train --run epochs=3 -o job\nreturn job_data['epochs']")
    assert re.search(r"train-[0-9a-f]{6}", outcome.value)
    assert "application/vnd.jupyter.widget-view+json" not in outcome.shown[-1]
    assert notebook.run("job.result()").value == "3"


def test_wait_prints_the_log_live(notebook: Notebook, tmp_path: Path):
    flag = tmp_path / "go"
    running = notebook.start(
        "%%chute_job train --run --wait -o job\n"
        "import os, sys, time\n"
        "print('first')\n"
        "print('to stderr', file=sys.stderr)\n"
        f"while not os.path.exists({str(flag)!r}):\n"
        "    time.sleep(0.05)\n"
        "print('second')\n"
        "return 7"
    )
    running.until("first\n")
    assert "second" not in running.outcome.stdout
    flag.touch()
    outcome = notebook.finish(running)
    assert "second\n" in outcome.stdout
    assert "to stderr" in outcome.stdout
    assert notebook.run("job.value").value == "7"


def test_wait_raises_when_the_job_fails_at_the_cell_s_own_line(notebook: Notebook):
    outcome = notebook.run(
        "%%chute_job train --run --wait\nprint('so far')\nx = 1\nraise KeyError('gone')",
        fails=True,
    )
    assert "so far\n" in outcome.stdout
    assert outcome.error_type == "JobFailed"
    assert "KeyError: 'gone'" in outcome.error
    number = notebook.run("len(In) - 2").value
    error = re.sub(r"\x1b\[[\d;]+m", "", outcome.error)
    assert f"Cell In[{number}], line 4, in train(self, **job_data)" in error
    assert "----> 4 raise KeyError('gone')" in error
    assert "chutes_jupyter/" not in error
    assert error.splitlines()[-1].startswith("The frames are the worker's")
    assert len(error.splitlines()) < 16
    caught = notebook.run("try:\n    train.submit().result(timeout=60)\nexcept KeyError as e: pass")
    assert caught.status == "ok"


def test_an_interrupted_wait_says_that_the_job_goes_on(notebook: Notebook):
    running = notebook.start(
        "%%chute_job train --run --wait -o job\n"
        "print('started', flush=True)\n"
        "await self.cancel_event.wait()\n"
        "return 'stopped'"
    )
    running.until("started\n")
    notebook.manager.interrupt_kernel()
    outcome = notebook.finish(running, fails=True)
    assert outcome.error_type == "KeyboardInterrupt"
    assert len(outcome.error.splitlines()) == 1
    said = re.search(r"goes on\. Cancel it with: (%chute cancel (train-\w+))", outcome.stdout)
    assert said is not None
    assert notebook.run("job.state").value == "'running'"
    notebook.run(said[1])
    assert notebook.run("job.wait(timeout=30)\nprint(job.state)").stdout == "cancelled\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --port web:80/http", "a whole number from 8002 to 65535"),
        ("train --timeout 5", "86400"),
        ("train --prot web:8080/http", "--prot"),
        ("train --run cfg=hello", "a text needs quotes"),
        ("train --run x=$nowhere", "no variable 'nowhere'"),
        ("train --worker nowhere --run", "nowhere"),
    ],
)
def test_a_wrong_option_fails_in_the_rule_s_words(notebook: Notebook, line: str, says: str):
    outcome = notebook.run(f"%%chute_job {line}\nreturn 1", fails=True)
    assert says in outcome.error
    assert "Traceback" not in outcome.error
    assert len(outcome.error.splitlines()) <= 8
    assert notebook.run("%chute jobs").stdout == "No jobs.\n"


def test_our_errors_show_the_persons_lines_and_not_ours(notebook: Notebook):
    notebook.run("%%chute_job train\nreturn 1")
    outcome = notebook.run("def go():\n    return train.options(timeout=1)\n\ngo()", fails=True)
    assert outcome.error_type == "SpecError"
    assert "return train.options(timeout=1)" in outcome.error
    assert "chutes_jupyter/" not in outcome.error


def test_a_syntax_error_points_at_the_cell_s_line(notebook: Notebook):
    outcome = notebook.run("%%chute_job train\nx = 1\ny = = 2", fails=True)
    assert re.search(r'File "In\[\d+\]", line 3\n +y = = 2\n', outcome.error)
    assert outcome.error.rstrip().endswith("SyntaxError: invalid syntax")
    assert "chutes_jupyter/" not in outcome.error


def test_startup_hooks_run_first_and_are_replaced_when_their_cell_runs_again(notebook: Notebook):
    notebook.run("%%chute_startup --priority 20\nself.seen = self.seen + ['b']", cell_id="one")
    notebook.run("%%chute_startup --priority 10\nself.seen = ['x']", cell_id="two")
    notebook.run("%%chute_startup --priority 10\nself.seen = ['a']", cell_id="two")
    notebook.run("%%chute_startup last --priority 30\nself.seen.append('x')")
    notebook.run("%%chute_startup last --priority 30\nself.seen.append('c')")
    notebook.run("%%chute_job train\nreturn self.seen")
    outcome = notebook.run("job = %chute run train\njob.result()")
    assert ast.literal_eval(outcome.value) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "code",
    [
        "%%chute_job --help\npass",
        "%chute_job --help",
        "%%chute_startup --help\npass",
        "%chute",
        "%chute --help",
        "%chute run --help",
        "%chute worker add --help",
    ],
)
def test_help_is_printed(notebook: Notebook, code: str):
    outcome = notebook.run(code)
    assert "usage: %" in outcome.stdout
    assert outcome.stderr == ""


def test_what_a_notebook_has_goes_along_and_is_listed(notebook: Notebook, tmp_path: Path):
    (tmp_path / "helpers.py").write_text("def add(a, b):\n    return a + b\n")
    notebook.run(
        "import helpers, functools\nHF_TOKEN = 'canary-123'\n"
        "class Layer:\n    def __init__(self, n): self.n = n\n"
        "layers = [Layer(1), Layer(2)]\n"
        "def counter():\n    n = 0\n    def count():\n        nonlocal n\n"
        "        n += 1\n        return n\n    return count\ncount = counter(); count()\n"
        "add = functools.partial(helpers.add, 10)"
    )
    notebook.run(
        "%%chute_job train --secret HF_TOKEN\n"
        "return [x.n for x in layers], count(), add(1), helpers.add(1, 2), HF_TOKEN"
    )
    listed = notebook.run("%chute check train").stdout
    assert "  module  helpers.py  " in listed
    assert "  pickle  layers  " in listed
    assert "  secret  HF_TOKEN\n" in listed
    assert "canary" not in listed
    outcome = notebook.run("job = %chute run train\njob.result()")
    assert ast.literal_eval(outcome.value) == ([1, 2], 2, 11, 3, "canary-123")


def test_run_names_the_job_functions_that_there_are(notebook: Notebook):
    notebook.run("%%chute_job train\nreturn 1")
    outcome = notebook.run("%chute run trian", fails=True)
    assert "'trian' is no job function of this notebook; there are: train" in outcome.error


def test_a_job_is_its_record_where_nobody_looks(notebook: Notebook):
    notebook.run("%%chute_job train --run -o job\nprint('<b>said</b>')\nreturn 'given'")
    notebook.run("job.wait(timeout=30)")
    outcome = notebook.run("job")
    assert set(outcome.shown[0]) == {"text/plain", "text/html"}
    assert "succeeded" in outcome.value
    assert "&lt;b&gt;said&lt;/b&gt;" in outcome.shown[0]["text/html"]
    assert "given" in outcome.shown[0]["text/html"]


def test_a_job_tells_which_cell_submitted_it(notebook: Notebook):
    notebook.run("import chutes_jupyter\nfrom chutes_jupyter.current import current_client")
    notebook.run("%%chute_job train\nreturn 1", cell_id="defines")
    notebook.run("by_call = train.submit(ack=True)", cell_id="calls")
    notebook.run("by_line = %chute run train", cell_id="lines")
    notebook.run("nobody = train.submit()")
    asked = "[each.cell for each in current_client().store.list()]"
    told = ast.literal_eval(notebook.run(asked).value)
    assert told == [None, "lines", "calls"]
    # And so does the worker, to a machine that knows nothing of it.
    notebook.run(
        "nobody.wait(); by_line.wait()\n"
        "client = current_client()\n"
        "client.store.remove([by_call.id, by_line.id, nobody.id])\n"
        "chutes_jupyter.jobs(refresh=True)"
    )
    assert set(ast.literal_eval(notebook.run(asked).value)) == {None, "lines", "calls"}


def test_a_job_is_run_again_by_a_line(notebook: Notebook):
    notebook.run("%%chute_job train --run n=2 -o job\nreturn job_data['n'] * 21")
    notebook.run("job.wait(timeout=30)\ndel train")
    label = ast.literal_eval(notebook.run("job.label").value)
    outcome = notebook.run(f"new = %chute again {label}\nnew.result(), new.id == job.id")
    assert outcome.value == "(42, False)"
    waited = notebook.run(f"%chute again {label} --wait")
    assert "It returned 42" in waited.stdout


def test_unload_takes_the_magics_out_and_load_brings_them_back(notebook: Notebook):
    notebook.run("%unload_ext chutes_jupyter")
    assert "not found" in notebook.run("%chute jobs", fails=False).stderr.lower()
    notebook.run("%load_ext chutes_jupyter")
    assert notebook.run("%chute jobs").stdout == "No jobs.\n"


def test_load_ext_brings_nothing_heavy(notebook: Notebook):
    outcome = notebook.run(
        "import sys\n"
        "print([name for name in ('asyncssh', 'pydantic', 'httpx', 'ipywidgets', 'anywidget',\n"
        "                         'numpy', 'tomlkit', 'cryptography') if name in sys.modules])"
    )
    assert outcome.stdout == "[]\n"


def test_a_front_end_that_shows_widgets_gets_the_panel_and_its_record(notebook: Notebook):
    notebook.run("%%chute_job train --run -o job\nreturn 1")
    outcome = notebook.run("__vsc_ipynb_file__ = '/x.ipynb'\njob")
    panel, record = outcome.shown
    assert "application/vnd.jupyter.widget-view+json" in panel
    assert re.match(r"train-\w{6} on local", record["text/plain"])
    assert "text/html" in record
    # The cell that waits shows it once, although it also returns the job.
    outcome = notebook.run("%chute run train --wait")
    assert len(outcome.shown) == 2


def test_a_terminal_gets_text_even_where_a_notebook_s_environment_is_inherited(
    home: Path, tmp_path: Path
):
    code = (
        "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "from chutes_jupyter.kernel.display import panels_work\n"
        "print(panels_work(Shell.instance()))"
    )
    env = {**os.environ, "JPY_SESSION_NAME": "/x.ipynb"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("False\n", 0)


def test_the_line_magic_says_that_it_wants_a_cell(notebook: Notebook):
    outcome = notebook.run("%chute_job train", fails=True)
    assert outcome.error_type == "UsageError"
    assert "%%chute_job" in outcome.error
