"""Which modules an interpreter of this worker has, found without importing any of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Dict, List, Sequence, Set

_NAME = re.compile(r"[^\W\d]\w{0,200}\Z")
#: So many names may be asked for at once.
_MOST = 1000
_PATIENCE = 60.0
# The folder that the question is asked in says nothing about jobs.
_ASK = """
import sys
sys.path[:] = [place for place in sys.path if place]
import json
from importlib.util import find_spec
def has(name):
    try:
        return find_spec(name) is not None
    except Exception:
        return False
print()
print(json.dumps([name for name in json.load(sys.stdin) if not has(name)]))
"""


class Installed:
    """Remembers what interpreters have; what one lacks may be installed any time."""

    def __init__(self) -> None:
        self._had: Dict[str, Set[str]] = {}

    def missing(self, executable: str, env: Dict[str, str], names: Sequence[str]) -> List[str]:
        """Return which top-level modules an interpreter does not have.

        Raises
        ------
        ValueError
            If something is no name of a module, or the interpreter did not answer.
        """
        if len(names) > _MOST or not all(isinstance(n, str) and _NAME.match(n) for n in names):
            raise ValueError("not names of modules")
        had = self._had.setdefault(json.dumps([executable, env], sort_keys=True), set())
        asked = [name for name in names if name not in had]
        if not asked:
            return []
        try:
            done = subprocess.run(
                [executable, "-c", _ASK],
                env=dict(os.environ, **env),
                input=json.dumps(asked).encode("ascii"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE,
                check=True,
            )
            lacking = set(json.loads(done.stdout.decode().strip().splitlines()[-1]))
        except (OSError, subprocess.SubprocessError, IndexError) as error:
            raise ValueError("%s did not answer: %s" % (executable, error)) from error
        had.update(name for name in asked if name not in lacking)
        return [name for name in asked if name in lacking]
