"""A real Jupyter server with tabs, and how it is asked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.jupyter import PATIENCE, jupyter

REPOSITORY = Path(__file__).resolve().parents[2]
GO = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
GO_ON = {**GO, "Sec-Fetch-Site": "same-origin"}
FETCH = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@dataclass
class Entered:
    """A tab that was entered: its page's requests."""

    client: httpx.Client
    base: str
    headers: dict[str, str]
    url: str
    host: str = ""
    cookie: str = ""

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> httpx.Response:
        said = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.client.request(method, self.base + path, headers=said, content=content)


@dataclass
class Jupyter:
    """The server."""

    port: int
    token: str
    base: str
    log: Path
    root: Path
    #: Its folder for temporary files.
    temporary: Path
    client: httpx.Client = field(repr=False)
    pid: int = 0

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def local(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self, job: str, port: str = "web", **options: Any) -> dict[str, Any]:
        """Open a port of a job in a tab."""
        asked = {"browser_origin": self.origin, **options, "job": job, "port": port}
        found = self.client.post(
            f"{self.local}{self.base}chutes-test/tab",
            json=asked,
            headers={"Authorization": f"token {self.token}"},
        )
        reply: dict[str, Any] = found.json()
        return reply

    def enter(self, url: str) -> Entered:
        """Go to where a tab was opened, as a browser does."""
        parts = urlsplit(url)
        if "/__chutes__/" not in parts.path:
            base = f"{self.local}{parts.path.rstrip('/')}"
            return Entered(self.client, base, {"Origin": "null"}, url)
        reply = self.client.get(self.local + parts.path, headers={"Host": parts.netloc, **GO})
        assert reply.status_code == 200, reply.text
        cookie = reply.headers["Set-Cookie"].split(";")[0]
        headers = {"Host": parts.netloc, "Cookie": cookie, **FETCH}
        return Entered(self.client, self.local, headers, url, parts.netloc, cookie)

    def frame(self, url: str) -> str:
        """Return the address of a page of Jupyter with a tab in it."""
        return f"{self.origin}{self.base}chutes-test/frame?token={self.token}&url={url}"

    def ask(self, method: str, path: str) -> Any:
        """Return what Jupyter's own API says."""
        headers = {"Authorization": f"token {self.token}"}
        url = self.local + self.base.rstrip("/") + path
        reply = self.client.request(method, url, headers=headers)
        return reply.json() if reply.content else None

    def contents(self) -> Any:
        """Return what Jupyter's own API says of its folder."""
        return self.ask("GET", "/api/contents")

    def sockets(self) -> Path:
        """Return the folder of the server's sockets."""
        (found,) = self.temporary.glob("chutes-tabs-*")
        return found


@contextlib.contextmanager
def jupyter_server(
    folder: Path, *, base: str = "/", options: Sequence[str] = ()
) -> Iterator[Jupyter]:
    """Run one in a folder, with this test's home."""
    # A short one, since the paths of sockets are: a test's own folder can be too long.
    with tempfile.TemporaryDirectory(prefix="chutes-test-", dir="/tmp") as temporary:
        with _running(folder, Path(temporary), base, options) as jupyter:
            yield jupyter


#: The real one, and a page for tests that shows tabs.
EXTENSIONS = {"chutes_jupyter.server": True, "tests.tabs.extension": True}


@contextlib.contextmanager
def _running(folder: Path, temporary: Path, base: str, options: Sequence[str]) -> Iterator[Jupyter]:
    root = folder / "root"
    root.mkdir()
    (root / "private.txt").write_text("private")
    env = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(temporary),
    }
    more = (
        "--debug", f"--ServerApp.base_url={base}",
        f"--ServerApp.jpserver_extensions={EXTENSIONS}", *options,
    )  # fmt: skip
    log = folder / "jupyter.log"
    with (
        jupyter("jupyter_server", env, *more, root=root, log=log) as found,
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
    ):
        pid = found.process.pid
        yield Jupyter(found.port, found.token, base, log, root, temporary, client, pid)
