"""Chromium as people run it: Playwright would start it with storage that is not partitioned."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

from tests.kernel.lab import FLAGS, chromium

PATIENCE = 60.0


@contextlib.contextmanager
def browser() -> Iterator[BrowserContext]:
    """Start it with a profile of its own, and connect to it."""
    profile = tempfile.mkdtemp(prefix="chutes-chromium-", dir="/tmp")
    command = [
        chromium(), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    # Its socket has no room for the path of a test's folder.
    env = {**os.environ, "TMPDIR": profile}
    process = subprocess.Popen(command, env=env, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        port = _port(Path(profile) / "DevToolsActivePort", process)
        with sync_playwright() as playwright:
            found = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
            context = found.contexts[0]
            context.set_default_timeout(PATIENCE * 1000)
            yield context
            found.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(file.read_text().splitlines()[0])
        time.sleep(0.05)
    raise AssertionError("chromium did not start")
