"""`%load_ext chutes_jupyter` is there at once, and the public names are what they should be."""

from __future__ import annotations

import statistics
import subprocess
import sys

import chutes_jupyter
from chutes_jupyter import errors

LOAD = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", "chutes_jupyter")
print(time.perf_counter() - began)
"""


def test_every_public_name_is_there_and_sorted():
    assert chutes_jupyter.__all__ == sorted(chutes_jupyter.__all__)
    for name in chutes_jupyter.__all__:
        assert getattr(chutes_jupyter, name) is not None, name
        assert name in dir(chutes_jupyter)


def test_every_exception_is_public():
    assert set(errors.__all__) <= set(chutes_jupyter.__all__)
    for name in errors.__all__:
        assert getattr(chutes_jupyter, name) is getattr(errors, name)


def test_other_names_are_refused():
    assert not hasattr(chutes_jupyter, "no_such_name")


def test_importing_brings_nothing_heavy():
    code = "import sys, chutes_jupyter; print(sorted(n for n in sys.modules if '.' not in n))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for name in ("asyncssh", "pydantic", "ipywidgets", "IPython", "argparse", "asyncio"):
        assert f"'{name}'" not in loaded


def test_load_ext_takes_less_than_a_moment():
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    # The promise is 0.3 s. The least of three: the machine may be busy with other tests.
    assert min(times) < 0.3, statistics.median(times)
