"""What only a pickle brings comes from a trusted worker, and from no other is it even fetched."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
from collections import ChainMap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chutes_jupyter import trusted
from chutes_jupyter.commands import jobs
from chutes_jupyter.commands.surroundings import Surroundings
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import JobCancelled, JobFailed, ResultError
from chutes_jupyter.job import Job, attach
from chutes_jupyter.kernel.panel import Panel
from chutes_jupyter.own_classes import OwnClasses
from tests.client.rig import PATIENCE, Submit, until

NESTED = """
import re
from collections import ChainMap
return {"a": [1, re.compile("x+")], "b": ChainMap({"c": 2})}
"""
#: It runs a command here as soon as it is unpickled; pickling it runs nothing.
ATTACK = """
class Attack:
    def __reduce__(self):
        return (eval, (f"__import__('pathlib').Path({job_data['mark']!r}).touch()",))
return [Attack()]
"""
#: A Python without cloudpickle.
PLAIN_PYTHON = "/usr/bin/python3"


@pytest.fixture
def stranger(ssh_worker: Worker) -> Worker:
    """A worker that nobody said is trusted."""
    Workers.load().add(ssh_worker)
    return ssh_worker


def refusal(job: Job) -> str:
    with pytest.raises(ResultError) as caught:
        job.result(PATIENCE)
    return str(caught.value)


def test_a_stranger_s_pickle_is_refused_with_type_place_and_ways(
    stranger: Worker, submit: Submit
) -> None:
    job = submit(stranger, NESTED)
    said = refusal(job)
    assert job.state == "succeeded"
    assert 'result["a"][1] is of type re.Pattern, which can\'t travel: ' in said
    assert "lets gpu1 run any code here" in said
    assert "job.result(trust=True)" in said
    assert "worker add gpu1 --trust" in said
    assert job.value is None
    got = job.result(PATIENCE, trust=True)
    assert got == {"a": [1, re.compile("x+")], "b": ChainMap({"c": 2})}
    assert job.value is got
    assert job.result() is got  # it is here by now


def test_a_trusted_worker_s_results_need_no_more_words(stranger: Worker, submit: Submit) -> None:
    job = submit(stranger, NESTED)
    refusal(job)
    Workers.load().add(replace(stranger, trusted=True))
    assert job.value is None
    assert job.result(PATIENCE)["b"] == ChainMap({"c": 2})

    async def awaited() -> Any:
        return await attach(job.id)

    assert asyncio.run(awaited())["a"][1].pattern == "x+"
    Workers.load().remove("gpu1")
    assert "--trust" in refusal(attach(job.id))


def test_this_machine_is_trusted_unless_it_is_said_not_to_be(local: Worker, submit: Submit) -> None:
    job = submit(local, NESTED)
    assert job.result(PATIENCE)["a"][1].pattern == "x+"
    Workers.load().add(replace(local, trusted=False))
    assert "worker add local --trust" in refusal(attach(job.id))


def test_nothing_of_an_attack_is_fetched_or_runs_without_trust(
    stranger: Worker, submit: Submit, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    job = submit(stranger, ATTACK, data={"mark": str(mark)})
    folder = Path(str(stranger.dir)) / "jobs" / job.id
    job.wait(PATIENCE)
    kept = (folder / "result.pickle").read_bytes()
    # Who asks for it fails the test by taking long: nobody reads what is a pipe.
    (folder / "result.pickle").unlink()
    os.mkfifo(folder / "result.pickle")

    async def awaited() -> Any:
        return await job

    assert "of type" in refusal(job)
    with pytest.raises(ResultError, match="only from a worker that you trust"):
        asyncio.run(awaited())
    assert job.value is None
    assert attach(job.id).value is None
    said: list[str] = []
    with pytest.raises(ResultError, match="only from a worker that you trust"):
        jobs._watch(job, Surroundings(said.append))  # `run --wait`
    panel = Panel(attach(job.id))
    panel._follow()
    assert "Only job.result() brings" in panel.widget.job["withheld"]
    assert panel.widget.job["value"] is None
    assert not mark.exists()
    (folder / "result.pickle").unlink()
    (folder / "result.pickle").write_bytes(kept)
    assert job.result(PATIENCE, trust=True) == [None]
    assert mark.exists()  # it would have


def test_what_can_not_even_be_pickled_fails_with_both_reasons(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, "import threading\nreturn {'a': threading.Lock()}")
    with pytest.raises(JobFailed) as caught:
        job.result(PATIENCE, trust=True)
    assert 'result["a"] is of type _thread.lock, which can\'t travel' in str(caught.value)
    assert "can't be pickled either (TypeError: cannot pickle '_thread.lock'" in str(caught.value)
    assert job.value is None


def test_a_lambda_comes_where_jobs_have_cloudpickle(local: Worker, submit: Submit) -> None:
    source = "n = 2\nreturn {'f': lambda x: x * n}"
    assert submit(local, source).result(PATIENCE)["f"](3) == 6
    with pytest.raises(JobFailed, match=r"Can't pickle.*; cloudpickle, which .* is not installed"):
        submit(local, source, python=PLAIN_PYTHON).result(PATIENCE)


def test_a_cancelled_job_s_pickle_needs_trust_too(stranger: Worker, submit: Submit) -> None:
    source = "import re\nprint('go')\nawait self.cancel_event.wait()\nreturn re.compile('x')"
    job = submit(stranger, source, grace=20)
    until(lambda: "go" in job.logs(), "the job runs")
    job.cancel()
    for trust, value in ((False, None), (True, re.compile("x"))):
        with pytest.raises(JobCancelled) as caught:
            job.result(PATIENCE, trust=trust)
        assert caught.value.value == value


# -- Reading -----------------------------------------------------------------------------------


def live(python: str | None = None) -> Any:
    return SimpleNamespace(label="train-3f9c2a", worker="gpu1", python=python)


def read(data: bytes, names: dict[str, Any] | None = None, python: str | None = None) -> Any:
    return trusted.loads(data, live(python), OwnClasses(names or {}))


def test_a_class_of_the_notebook_is_the_one_around_the_function() -> None:
    class Own:
        pass

    Own.__module__, Own.__qualname__ = "__main__", "Own"
    data = b"c__main__\nOwn\n)\x81."
    assert type(read(data, {"Own": Own})) is Own
    with pytest.raises(ResultError, match=r"needs something that is not here \(.*Own"):
        read(data)


def test_what_is_missing_here_is_named() -> None:
    with pytest.raises(ResultError, match="it needs the module not_there, which is not here"):
        read(b"cnot_there.deep\nThing\n.")
    with pytest.raises(ResultError, match=r"unpickling it failed \(ZeroDivisionError: "):
        read(b"cbuiltins\ndivmod\n(I1\nI0\ntR.")
    with pytest.raises(ResultError, match=r"unpickling it failed \(UnpicklingError|EOFError"):
        read(b"\x80\x05")
    with pytest.raises(ResultError, match=r"gpu1 does not have the result of train-3f9c2a"):
        trusted.loads(None, live(), OwnClasses({}))


def test_another_python_is_named_where_it_may_be_why() -> None:
    with pytest.raises(ResultError, match=r"was pickled by Python 3\.8, and this is 3\.\d+"):
        read(b"cnot_there\nThing\n.", python="3.8.1")
    by_value = b"ccloudpickle.cloudpickle\n_make_function\n."
    with pytest.raises(ResultError, match="by value, which only the same Python can read"):
        read(by_value, python="3.8.1")
    assert callable(read(by_value))
    assert read(pickle.dumps(3), python="3.8.1") == 3
