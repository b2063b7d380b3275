"""Modules of the person's own project go along as files, to every kind of worker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.chute import Chute, JobFunction, cell_job
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import CaptureError, JobFailed
from chutes_jupyter.models import JobOptions

FILES = {
    "shapes/__init__.py": "from .area import area\nSIDES = 4\n",
    "shapes/area.py": "from . import _numbers\nimport units.metric as metric\n"
    "def area(a):\n    return a * a * metric.SCALE + _numbers.ZERO\n"
    "def wrong():\n    return 1 / _numbers.ZERO  # no\n",
    "shapes/_numbers.py": "ZERO = 0\n",
    "shapes/unused.py": "raise RuntimeError\n",
    "shapes/data.py": "from pathlib import Path\nHERE = Path(__file__).parent\n"
    "def read():\n    return (HERE / 'tables' / 'a.csv').read_text()\n"
    "def run():\n    import subprocess\n"
    "    return subprocess.run([HERE / 'tool.sh'], stdout=-1).stdout.decode()\n",
    "shapes/tables/a.csv": "1,2\n",
    "shapes/tables/b.log": "ignored\n",
    "shapes/tables/keep.log": "kept\n",
    "shapes/.env": "KEY=1\n",
    "shapes/tool.sh": "#!/bin/sh\necho done\n",
    "units/metric.py": "SCALE = 2\n",
    "lone.py": "from pathlib import Path\n"
    "def read():\n    return (Path(__file__).parent / 'lone.txt').read_text()\n",
    "lone.txt": "alone\n",
    "other.txt": "not named\n",
    ".gitignore": "*.log\n!keep.log\n",
    ".git/config": "[core]\n",
    "pyproject.toml": "",
}

MakeJob = Callable[..., JobFunction]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that is on the path of modules and not installed."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "shapes" / "tool.sh").chmod(0o755)
    (folder / "shapes" / "tables" / "same.csv").symlink_to("a.csv")
    (folder / "shapes" / "tables" / "out.csv").symlink_to("/etc/hostname")
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def make_job() -> MakeJob:
    def make(source: str, worker: str = "local", **names: Any) -> JobFunction:
        text = textwrap.dedent(source).lstrip("\n")
        options = JobOptions(worker=worker, grace=0.5)
        return cell_job(text, "job", options, names, Chute(), "In[1]")

    return make


def sent(function: JobFunction) -> dict[str, bool]:
    """Return the files that go along with a job, and which of them may be run."""
    manifest = function._assemble().payload["modules"]
    return {item["path"]: item["exec"] for item in manifest}


def test_modules_are_sent_as_files(project: Path, worker: Worker, make_job: MakeJob) -> None:
    job = make_job(
        """
        import shapes, lone
        from shapes.data import read, run
        return shapes.area(3), shapes.SIDES, read(), run(), lone.read(), shapes.__file__
        """,
        worker.name,
    ).submit()
    *values, file = job.result(60)
    assert values == [18, 4, "1,2\n", "done\n", "alone\n"]
    assert file.endswith(f"/{job.id}/modules/shapes/__init__.py")


def test_only_what_is_needed_goes_along(project: Path, make_job: MakeJob) -> None:
    assert set(sent(make_job("from shapes import area"))) == {
        "shapes/__init__.py",
        "shapes/area.py",
        "shapes/_numbers.py",
        "units/metric.py",
    }
    data = sent(make_job("import shapes.data, lone"))
    assert {path for path in data if not path.endswith(".py")} == {
        "shapes/tables/a.csv",
        "shapes/tables/keep.log",
        "shapes/tables/same.csv",
        "shapes/tool.sh",
        "lone.txt",
    }
    assert [path for path, executable in data.items() if executable] == ["shapes/tool.sh"]


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (["import shapes"], "return shapes"),
        (["from shapes import area"], "return area"),
        (["from shapes.area import area as a"], "return a"),
        (["import shapes\ndef f(): return shapes.area"], "return f"),
        ([], "def f():\n    import shapes\nf()"),
        ([], "import importlib\nimportlib.import_module('shapes')"),
        (["import shapes\nx = [shapes.area]"], "return x"),
    ],
)
def test_however_it_is_imported(
    project: Path, make_job: MakeJob, names: list[str], source: str
) -> None:
    found: dict[str, Any] = {"__name__": "__main__"}
    for text in names:
        path = project / "notebook.py"
        path.write_text(text)
        found["__file__"] = str(path)
        exec(compile(text, str(path), "exec"), found)
    assert "shapes/area.py" in sent(make_job(source, **found))


def test_only_what_changed_is_sent(
    project: Path, local: Worker, make_job: MakeJob, tmp_path: Path
) -> None:
    source = "from shapes import area\nreturn area(1)"
    assert make_job(source).submit().result(60) == 2
    store = tmp_path / "worker" / "modules"
    before = {path.name: path.stat().st_ino for path in store.iterdir()}
    (project / "units" / "metric.py").write_text("SCALE = 30\n")
    assert make_job(source).submit().result(60) == 30
    after = {path.name: path.stat().st_ino for path in store.iterdir()}
    assert len(before) == 4
    assert len(after) == 5
    assert before.items() <= after.items()
    assert {path.stat().st_mode & 0o777 for path in store.iterdir()} == {0o600}


def test_tracebacks_show_their_source(project: Path, local: Worker, make_job: MakeJob) -> None:
    job = make_job("from shapes.area import wrong\nwrong()").submit()
    with pytest.raises(JobFailed) as caught:
        job.result(60)
    text = str(caught.value)
    assert 'modules/shapes/area.py", line 6, in wrong\n    return 1 / _numbers.ZERO  # no' in text


def test_another_job_does_not_see_them(project: Path, local: Worker, make_job: MakeJob) -> None:
    assert make_job("import lone\nreturn 1").submit().result(60) == 1
    job = make_job(
        "try:\n    __import__('lo' + 'ne')\nexcept ImportError as error:\n    return str(error)"
    )
    assert "No module named 'lone'" in job.submit().result(60)


def test_what_is_installed_stays(project: Path, make_job: MakeJob) -> None:
    assembled = make_job("import numpy, json\nimport sklearn.linear_model")._assemble()
    assert assembled.files == {}
    assert assembled.needs.modules == {"numpy", "sklearn"}


def test_an_editable_install_is_the_persons_own(tmp_path: Path, make_job: MakeJob) -> None:
    project, target = tmp_path / "editable", tmp_path / "site-packages"
    (project / "mine").mkdir(parents=True)
    (project / "mine" / "__init__.py").write_text("N = 3\n")
    target.mkdir()
    (target / "mine.pth").write_text(f"{project}\n")
    # What an editable install leaves: a file that names the project's folder.
    code = (
        f"import site; site.addsitedir({str(target)!r})\n"
        "from chutes_jupyter.chute import Chute, cell_job\n"
        "from chutes_jupyter.models import JobOptions\n"
        "job = cell_job('import mine', 'job', JobOptions(), {}, Chute(), 'In[1]')\n"
        "print(*(each['path'] for each in job._assemble().payload['modules']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["mine/__init__.py"]


@pytest.mark.parametrize("name", [b"back\\slash.csv", b"not\xffutf8.csv"])
def test_names_are_checked_here_too(project: Path, make_job: MakeJob, name: bytes) -> None:
    with open(os.path.join(os.fsencode(project / "shapes" / "tables"), name), "w"):
        pass
    with pytest.raises(CaptureError, match="Rename it"):
        make_job("import shapes.data").submit()


def test_too_much_is_refused_with_what_is_largest(
    project: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project / "shapes" / "tables" / "big.csv").open("wb") as file:
        file.truncate(50_000_001)
    with pytest.raises(CaptureError, match=r"50,000,000 bytes .*shapes/tables/big.csv 50,000,001"):
        make_job("import shapes.data").submit()
