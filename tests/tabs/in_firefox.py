"""The hostile page in Firefox: it is only told where to go, and the page tells how it went.

``python -m tests.tabs.in_firefox FIREFOX``; each way once as it is, and once with its partitioning
of cookies switched off.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chutes_jupyter.config import Workers
from chutes_jupyter.job import close_client
from tests.client.rig import start
from tests.freeport import free_port
from tests.tabs.full import own_settings
from tests.tabs.jupyter import jupyter_server
from tests.tabs.servers import Served, served
from tests.tabs.test_hostile import WAYS, check, let_loose, open_hostile, reports

QUIET = {
    "app.normandy.enabled": "false",
    "browser.shell.checkDefaultBrowser": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "network.captive-portal-service.enabled": "false",
}
UNPARTITIONED = {"network.cookie.cookieBehavior": "0", "network.cookie.CHIPS.enabled": "false"}


@contextlib.contextmanager
def firefox(program: str, url: str, settings: dict[str, str]) -> Iterator[None]:
    """Show a page in a profile of its own."""
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        lines = [f'user_pref("{name}", {value});\n' for name, value in settings.items()]
        (Path(profile) / "user.js").write_text("".join(lines))
        quiet = subprocess.DEVNULL
        command = [program, "--headless", "--no-remote", "--profile", profile, url]
        process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def main(program: str, folder: Path) -> int:
    """Try every way; an AssertionError says what was wrong."""
    worker = Workers.load().get("local")
    jobs: list[Served] = []

    def serve(source: str, **options: Any) -> Served:
        jobs.append(served(start, source, worker, free_port(), **options))
        return jobs[-1]

    with jupyter_server(folder) as jupyter:
        prey = let_loose(jupyter, serve)
        count = 0
        for settings in (QUIET, {**QUIET, **UNPARTITIONED}):
            for kind, framed in WAYS:
                count += 1
                url = open_hostile(jupyter, prey.hostile, kind, framed=framed)
                with firefox(program, url, settings):
                    check(reports(prey.hostile, count)[-1], kind, framed=framed)
                prey.check(jupyter)
                cookies = "partitioned" if settings is QUIET else "not partitioned"
                where = "in a frame" if framed else "in a window"
                print(f"{kind}, {where}, cookies {cookies}: it gets nothing", flush=True)
        for each in jobs:
            each.job.cancel()
            each.job.wait(60)
    close_client()
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="firefox-home-") as home:
        own_settings(home)
        (Path(home) / "jupyter").mkdir()
        sys.exit(main(sys.argv[1], Path(home) / "jupyter"))
