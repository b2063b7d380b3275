"""A real Jupyter server with the extension, in a process of its own, as a person starts it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PERSONAL
from tests.jupyter import jupyter

PATIENCE = 60.0
BASE_URL = "/user/jo/"


def waits_for(file: Path) -> str:
    """Return lines of a cell that wait until a file is there."""
    return f"import os, time\nwhile not os.path.exists({str(file)!r}):\n    time.sleep(0.02)\n"


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def origin(self) -> str:
        """Its address without its base URL."""
        return self.url.removesuffix(BASE_URL)


@contextlib.contextmanager
def serving(
    folder: Path,
    surroundings: Mapping[str, str],
    *options: str,
    files: Sequence[tuple[str, str]] = (),
) -> Iterator[Server]:
    """Start a server in a folder.

    Parameters
    ----------
    folder : Path
        What it shows, and where its log goes.
    surroundings : mapping of str to str
        Its home, and what else its environment says.
    options : str
        More of its command line.
    files : sequence of (str, str)
        Modules that it can import, by name, with their text.
    """
    modules = folder / "modules"
    modules.mkdir(parents=True)
    for name, text in files:
        (modules / name).write_text(text)
    env = {
        **{name: value for name, value in os.environ.items() if name not in PERSONAL},
        **surroundings,
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": str(modules),
    }
    more = (
        f"--ServerApp.base_url={BASE_URL}",
        # Others' extensions are not what is looked at here, and take long to load.
        "--ServerApp.jpserver_extensions={'jupyterlab': False, 'notebook': False,"
        " 'jupyter_lsp': False, 'notebook_shim': False, 'jupyter_server_terminals': False}",
        "--log-level=DEBUG", *options,
    )  # fmt: skip
    log = folder / "server.log"
    with jupyter("jupyter_server", env, *more, root=folder, log=log) as found:
        yield Server(found.url, found.token, found.process, log)
