"""Lines that only IPython understands, in cells that run as jobs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.chute import Chute, JobOptions, cell_job
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import JobFailed
from chutes_jupyter.job import Job
from chutes_jupyter.shelllines import translated
from tests.client.rig import PATIENCE

TIMES = r"CPU times: user [\d.]+ \S+, sys: [\d.]+ \S+, total: [\d.]+ \S+\nWall time: [\d.]+ \S+\n"


def run(source: str, **names: Any) -> Job:
    return cell_job(source, "job", JobOptions(), names, Chute(), "In[1]").submit()


def test_time_measures_a_statement_or_the_whole_cell_and_binds_its_names(local: Worker) -> None:
    job = run("%%time\n%time x = slow(2)\nprint('x', x)\nreturn x", slow=abs)
    assert job.result(PATIENCE) == 2
    assert re.fullmatch(f"{TIMES}x 2\n{TIMES}", job.logs())
    failing = run("%%time\n1 / 0")
    with pytest.raises(ZeroDivisionError):
        failing.result(PATIENCE)
    assert failing.logs() == ""


def test_an_error_has_the_line_as_it_was_written(local: Worker) -> None:
    with pytest.raises(JobFailed) as caught:
        run("x = !echo a\nif x:\n    %time int(x[0])\n").result(PATIENCE)
    assert isinstance(caught.value, ValueError)
    frame = caught.value.raised[0].frames[0]
    assert (frame.line, frame.lines[2]) == (4, "    %time int(x[0])")
    assert "__import__" not in caught.value.remote_traceback


def test_pip_is_that_of_the_job_s_interpreter(local: Worker) -> None:
    job = run("%pip --version")
    job.result(PATIENCE)
    assert f"python {sys.version_info[0]}.{sys.version_info[1]}" in job.logs()
    assert sys.prefix in job.logs()


def test_a_command_prints_while_it_runs(local: Worker, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = run("!echo first; while [ ! -e {go} ]; do sleep 0.05; done; echo second", go=str(go))
    lines = job.logs(follow=True, timeout=PATIENCE)
    assert next(lines) == "first\n"
    go.touch()
    assert next(lines) == "second\n"


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\nprint(x)",
        "text = '''\n!ls\n'''",
        "x = = 1",
        "x = (\n!ls\n)",
        "%who",
        "x = 1\n%%time",
        "print?",
        "if x =!3:\n    pass",
        "",
        "\0",
        "if x:\n",
    ],
)
def test_what_is_no_such_line_is_left_as_it_is(source: str) -> None:
    assert translated(source) == source


def test_a_slip_beside_such_a_line_is_what_is_told() -> None:
    with pytest.raises(SyntaxError, match="invalid syntax") as caught:
        run("!ls\nx = = 1")
    assert (caught.value.lineno, caught.value.text) == (3, "x = = 1\n")


@pytest.mark.parametrize(
    "source", ["!ls", "a\n!ls -l \\\n  -a\nb", "  !ls\n  x = !ls", "%time\\\n x\n!ls", "!ls '''"]
)
def test_lines_keep_their_numbers(source: str) -> None:
    assert translated(source).count("\n") == source.count("\n")
