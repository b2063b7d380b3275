"""The log: whole, in order, byte for byte."""

from __future__ import annotations

import time

from chutes_jupyter.config import Worker
from tests.client.rig import PATIENCE, Submit

MANY = """
import sys
for number in range(job_data["lines"]):
    print(f"line {number} " + "x" * (number % 90))
sys.stdout.flush()
"""


def expected(lines: int) -> str:
    return "".join(f"line {number} " + "x" * (number % 90) + "\n" for number in range(lines))


def test_a_long_log_is_whole_while_it_grows_and_afterwards(worker: Worker, submit: Submit) -> None:
    job = submit(worker, MANY, data={"lines": 200_000})
    assert "".join(job.logs(follow=True)) == expected(200_000)
    assert job.logs() == expected(200_000)
    assert job.logs(tail=2) == "".join(expected(200_000).splitlines(keepends=True)[-2:])
    assert len(list(job.logs(follow=True, tail=3))) == 3


def test_lines_come_when_they_are_written(worker: Worker, submit: Submit) -> None:
    job = submit(
        worker,
        "import time\nfor n in range(4):\n    print(n, time.time(), flush=True)\n"
        "    time.sleep(0.3)",
    )
    late = []
    for line in job.logs(follow=True):
        late.append(time.time() - float(line.split()[1]))
    assert len(late) == 4
    assert sorted(late)[1] < 0.25


def test_any_bytes_and_a_last_line_without_an_end(local: Worker, submit: Submit) -> None:
    job = submit(
        local,
        "import os\nos.write(1, 'grün\\n'.encode() + b'\\xff\\xfe' + 'halb €'.encode()[:-1])",
    )
    job.wait(PATIENCE)
    assert job.logs() == "grün\n\ufffd\ufffdhalb \ufffd"
    assert list(job.logs(follow=True)) == ["grün\n", "\ufffd\ufffdhalb \ufffd"]


def test_a_job_that_said_nothing_has_an_empty_log(local: Worker, submit: Submit) -> None:
    job = submit(local, "return None")
    assert job.result(PATIENCE) is None
    assert job.logs() == ""
    assert list(job.logs(follow=True)) == []


def test_a_job_that_never_started_has_an_empty_log(local: Worker, submit: Submit) -> None:
    job = submit(local, "return None", python="/nowhere/python")
    assert list(job.logs(follow=True)) == []
    assert job.logs() == ""


def test_a_bar_that_redraws_itself_is_one_line(local: Worker, submit: Submit) -> None:
    job = submit(local, "print('first')\nprint('\\r 1 %\\r 2 %\\x0c')\nprint('last', end='')")
    job.wait(PATIENCE)
    bar = "\r 1 %\r 2 %\x0c\n"
    assert job.logs(tail=2) == bar + "last"
    assert list(job.logs(follow=True, tail=2)) == [bar, "last"]
    assert job.logs(tail=9) == "first\n" + bar + "last"
