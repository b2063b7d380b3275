"""A module with jobs in it imports on a worker, where the package is a stand-in."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chutes_jupyter.agent import standin
from tests.interpreters import newest, oldest

MODULE = '''
from chutes_jupyter import Chute, Image, NodeSelector, Port
import chutes_jupyter

image = (
    Image(username="me", name="training", tag="1.0")
    .from_base("parachutes/python:3.12")
    .run_command("pip install torch")
    .apt_install(["git"])
    .with_env("A", "b")
)
chute = Chute(
    username="me",
    name="demo",
    image=image,
    node_selector=NodeSelector(gpu_count=1, min_vram_gb_per_gpu=24),
)

@chute.on_startup()
async def setup(self):
    self.ready = True

@chute.on_startup(priority=10)
def early(self):
    return "early"

@chute.job(ports=[Port(name="web", port=8080, proto="http")], timeout=3600, upload=False, ssh=True)
async def train(self, **job_data):
    return job_data

@chute.job()
def plain(self, **job_data):
    """Doubles."""
    return job_data["x"] * 2

elsewhere = plain.options(worker="gpu1", timeout=60)
'''


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """Return a folder laid out as the agent's code is on a worker, with a person's module."""
    package = tmp_path / "chutes_jupyter"
    package.mkdir()
    shutil.copy(standin.__file__, package / "__init__.py")
    shutil.copytree(Path(standin.__file__).parent, package / "agent")
    (tmp_path / "person.py").write_text(MODULE)
    return tmp_path


def run(folder: Path, code: str, python: Path = Path(sys.executable)) -> str:
    done = subprocess.run(
        [str(python), "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("find", [oldest, newest], ids=["oldest", "newest"])
def test_a_module_with_jobs_imports_and_keeps_what_it_declared(
    worker: Path, find: Callable[[], Path]
) -> None:
    code = (
        "import asyncio, person\n"
        "assert person.plain(None, x=21) == 42\n"
        "assert person.plain.__doc__ == 'Doubles.'\n"
        "assert asyncio.run(person.train(None, a=1)) == {'a': 1}\n"
        "assert person.early(None) == 'early'\n"
        "job = person.train\n"
        "assert (job.name, job.timeout, job.upload, job.ssh) == ('train', 3600, False, True)\n"
        "assert job.ports[0].port == 8080 and job.ports[0].proto == 'http'\n"
        "assert person.chute.name == 'demo' and person.chute.image is person.image\n"
        "assert person.chute.node_selector.min_vram_gb_per_gpu == 24\n"
        "assert person.image.tag == '1.0'\n"
        "assert person.elsewhere(None, x=1) == 2\n"
        "print(job.ports[0])"
    )
    assert run(worker, code, find()) == "Port(name='web', port=8080, proto='http')"


def test_arguments_in_order_are_kept_by_name(worker: Path) -> None:
    code = (
        "from chutes_jupyter import *\n"
        "print(Port('web', 8080, 'http'), NodeSelector(2), Chute('me', 'demo', 'img').image)"
    )
    said = run(worker, code)
    assert said == "Port(name='web', port=8080, proto='http') NodeSelector(gpu_count=2) img"


def test_submitting_from_a_job_says_where_to_do_it(worker: Path) -> None:
    code = (
        "import person\ntry: person.train.submit(a=1)\nexcept RuntimeError as error: print(error)"
    )
    assert "jobs are submitted from the notebook" in run(worker, code)


def test_what_the_stand_in_lacks_is_named(worker: Path) -> None:
    code = (
        "import chutes_jupyter\n"
        "try: chutes_jupyter.attach('train-3f9c2a')\n"
        "except AttributeError as error: print(error)\n"
        "print(hasattr(chutes_jupyter, 'jobs'))"
    )
    said = run(worker, code).splitlines()
    assert said[0].startswith("chutes_jupyter.attach is not there on a worker")
    assert said[1] == "False"


def test_the_agent_is_found_beside_it(worker: Path) -> None:
    code = "from chutes_jupyter.agent import wire; print(wire.PROTOCOL)"
    assert run(worker, code) == "1"


def test_an_image_can_be_copied_and_shown(worker: Path) -> None:
    code = (
        "import copy, pickle; from chutes_jupyter import Image\n"
        "image = Image('me', 'x', tag='1').from_base('y')\n"
        "print(copy.deepcopy(image), pickle.loads(pickle.dumps(image)).tag)"
    )
    assert run(worker, code) == "Image(name='x', tag='1', username='me') 1"


def test_it_imports_nothing() -> None:
    source = Path(standin.__file__).read_text(encoding="utf-8")
    imports = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source, feature_version=(3, 8)))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert imports == ["__future__", "typing"]


def test_it_loads_no_module_at_all(worker: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import chutes_jupyter\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert run(worker, code) == "__future__ chutes_jupyter"
