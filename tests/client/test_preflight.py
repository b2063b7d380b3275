"""What a worker is asked before a job starts, and what nobody but the job sees."""

from __future__ import annotations

import secrets
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.chute import Chute, JobFunction, cell_job
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import CaptureError, JobFailed
from chutes_jupyter.models import JobOptions
from tests.hostile.test_secrets import holders

MakeJob = Callable[..., JobFunction]


@pytest.fixture
def make_job() -> MakeJob:
    def make(source: str, worker: str, **names: Any) -> JobFunction:
        options = JobOptions(worker=worker, grace=0.5)
        return cell_job(source, "job", options, names, Chute(), "In[1]")

    return make


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is installed here, and nowhere else."""
    folder = tmp_path / "site-packages"
    (folder / "only_here").mkdir(parents=True)
    (folder / "only_here" / "__init__.py").write_text("")
    info = folder / "its_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: its-package\nVersion: 1.0\n")
    (info / "RECORD").write_text("only_here/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(folder))
    return "only_here"


def test_a_module_that_the_worker_lacks_is_said_before_the_start(
    worker: Worker, make_job: MakeJob, only_here: str
) -> None:
    job = make_job("import only_here\nimport pip\nprint('began')", worker.name).submit()
    with pytest.raises(JobFailed) as caught:
        job.result(60)
    text = str(caught.value)
    assert f"{worker.name} lacks what job imports: only_here" in text
    assert "-m pip install its-package" in text
    assert "pip, " not in text
    assert job.started_at is None


def test_what_code_may_do_without_is_not_asked_for(
    local: Worker, make_job: MakeJob, only_here: str
) -> None:
    source = "try:\n    import only_here\nexcept ImportError:\n    return 'without'"
    assert make_job(source, "local").submit().result(60) == "without"


@pytest.mark.parametrize(
    "source",
    [
        "def other():\n    import only_here\nreturn 1",
        "if True:\n    return 1\nelse:\n    import only_here",
        "for _ in []:\n    from only_here import x\nreturn 1",
        "class A:\n    def f(self):\n        import only_here\nreturn 1",
    ],
)
def test_an_import_that_may_never_run_is_told_and_stops_nothing(
    local: Worker, make_job: MakeJob, only_here: str, source: str
) -> None:
    function = make_job(source, "local")
    assert function.check().ok
    assert function.check().perhaps == {"only_here": "its-package"}
    assert "perhaps only_here" in str(function.check())
    job = function.submit()
    assert job.result(60) == 1
    (notice,) = [each for each in job.notices if "only_here" in each]
    assert "if that runs, the job fails there (pip install its-package)" in notice


def test_an_import_that_a_job_function_is_sure_to_run_stops_it(
    local: Worker, tmp_path: Path, only_here: str
) -> None:
    module = tmp_path / "declares.py"
    module.write_text(
        "from chutes_jupyter import Chute\nchute = Chute('me', 'demo', 'x')\n"
        "@chute.job()\nasync def work(self, **job_data):\n    import only_here\n"
    )
    names: dict[str, Any] = {"__name__": "declares", "__file__": str(module)}
    exec(compile(module.read_text(), str(module), "exec"), names)
    assert names["work"].check().missing == {"only_here": "its-package"}


def test_check_asks_the_worker(worker: Worker, make_job: MakeJob, only_here: str) -> None:
    report = make_job("import only_here, json", worker.name).check()
    assert report.missing == {"only_here": "its-package"}
    assert not report.ok
    assert "missing only_here: install its-package" in str(report)


def test_check_says_when_the_worker_can_not_be_asked(make_job: MakeJob, only_here: str) -> None:
    report = make_job("import only_here", "nowhere").check()
    assert "nowhere" in report.unasked
    assert report.ok


def test_a_module_of_this_process_alone_is_not_asked_for(local: Worker, make_job: MakeJob) -> None:
    made = types.ModuleType("made_here")
    sys.modules["made_here"] = made
    try:
        assert make_job("import json\nreturn 1", "local").check().missing == {}
    finally:
        del sys.modules["made_here"]


def test_the_verb_lists_it(local: Worker, make_job: MakeJob) -> None:
    shown: list[str] = []
    function = make_job("return n, TOKEN", "local", n=3, TOKEN="canary-1")
    here = Surroundings(shown.append, prog="%chute", find=lambda name: function)
    execute(["check", "job"], here)
    assert "--secret TOKEN" in "".join(shown)
    shown.clear()
    execute(["check", "job", "--secret", "TOKEN"], here)
    text = "".join(shown)
    assert "  secret  TOKEN\n" in text
    assert "canary" not in text
    job = execute(["run", "job", "--secret", "TOKEN"], here)
    assert job.result(60) == (3, "canary-1")


def test_in_a_terminal_it_fails_where_a_job_would(
    local: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import threading\nfrom chutes_jupyter import Chute\nlock = threading.Lock()\n"
        "chute = Chute('me', 'a', 'b')\n@chute.job()\ndef work(self, **job_data): return lock\n"
    )
    shown: list[str] = []
    with pytest.raises(CaptureError, match="work can't start"):
        execute(["check", f"{script}:work"], Surroundings(shown.append))
    assert "lock is a _thread.lock" in "".join(shown)


@pytest.mark.parametrize("large", [False, True], ids=["small", "staged"])
def test_a_secret_is_nowhere_once_the_job_has_ended(
    worker: Worker, make_job: MakeJob, tmp_path: Path, home: Path, large: bool
) -> None:
    canary = f"canary-{secrets.token_hex(16)}"
    names = {"API_KEY": canary, "rest": b"x" * (2_000_000 if large else 10)}
    function = make_job("return len(API_KEY), len(rest)", worker.name, **names)
    job = function.options(secret=["API_KEY"]).submit()
    assert job.result(60)[0] == len(canary)
    places = [tmp_path, home, Path(worker.dir or tmp_path)]
    assert [name for place in places for name in holders(place, [canary])] == []
    assert canary not in repr(job) + job.logs() + str(function.options(secret=["API_KEY"]).check())
