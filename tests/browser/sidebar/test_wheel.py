"""What `pip install` alone gives, in the oldest JupyterLab that is said to work: no node there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.sidebar.stage import REPOSITORY, WAIT, Stage, built
from tests.kernel.lab import browser_page, lab_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: The newest is what all other tests run.
OLDEST_LAB = "jupyterlab==4.2.0"


def ran(*command: str | Path, **more: str) -> str:
    """Run a program where there is no node, and return what it said."""
    env = {**os.environ, "PATH": "/nowhere:/usr/sbin:/sbin", **more}
    done = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a checkout holds, with its front end as it was built."""
    built()
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("chutes_jupyter", "jupyter-config", "labextension"):
        ignored = shutil.ignore_patterns("node_modules", "lib", "__pycache__", ".yarn")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def test_a_job_is_seen_opened_and_cancelled_after_pip_install(
    checkout: Path, tmp_path: Path
) -> None:
    wheels, clean = tmp_path / "wheels", tmp_path / "clean"
    ran(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, checkout)
    (wheel,) = wheels.iterdir()
    ran(sys.executable, "-m", "venv", clean)
    python = clean / "bin" / "python"
    assert shutil.which("node", path=f"{clean / 'bin'}:/nowhere") is None
    # Python compiles what Lab imports; the rest would take longer than all else here.
    ran(python, "-m", "pip", "install", "-q", "--no-compile", wheel, OLDEST_LAB)

    # Both lists come with colours.
    front = ran(python, "-m", "jupyter", "labextension", "list")
    assert "chutes-jupyter v" in front
    assert "OK" in front.partition("chutes-jupyter v")[2].partition("\n")[0]
    server = ran(python, "-m", "jupyter", "server", "extension", "list")
    assert "OK" in server.partition("Validating chutes_jupyter")[2].partition("Validating")[0]

    see_open_and_cancel(tmp_path / "work", str(python))

    ran(python, "-m", "pip", "uninstall", "-q", "-y", "chutes_jupyter")
    left = [
        os.path.join(folder, name)
        for folder, folders, names in os.walk(clean)
        for name in [*folders, *names]
        if "chute" in name
    ]
    assert left == []


def see_open_and_cancel(folder: Path, python: str) -> None:
    """Do in a JupyterLab what a person does first."""
    (folder / "home").mkdir(parents=True)
    with lab_server(folder, python=python) as address, browser_page(width=1300) as page:
        stage = Stage(folder, address, page, python=python)
        page.on("pageerror", stage.complain)
        label = stage.submit("first")
        stage.open()
        stage.show()
        stage.act(label, "Log")
        expect(page.locator(".jp-chutes-log-tab")).to_contain_text("begun", timeout=WAIT)
        stage.cancel(label)
        stage.row(label, "cancelled")
        assert not stage.complaints


def test_a_checkout_without_node_says_what_to_do(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(checkout, bare, ignore=shutil.ignore_patterns("dist"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "out", bare]
    env = {**os.environ, "PATH": "/nowhere"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "takes Node.js 20.19 or newer: install that, or set CHUTES_NO_FRONTEND=1" in said
    ran(*command, CHUTES_NO_FRONTEND="1")
