"""Children that try to get away from their job; run as a program: KIND FILE.

The file gets the process's number once it is where it wants to be. Its path stays in the
command line, also of what is forked from here, so that a test finds whoever is still alive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

KINDS = (
    "plain",
    "deaf to SIGTERM",
    "session of its own",
    "forked twice",
    "cleared environment",
    "daemon",
    "fork chain",
)


def escape(kind: str) -> None:
    """Get away, in the way of this kind."""
    if kind in ("forked twice", "daemon") and os.fork():
        os._exit(0)
    if kind in ("session of its own", "forked twice", "daemon"):
        os.setsid()
    if kind in ("forked twice", "daemon") and os.fork():
        os._exit(0)
    if kind in ("deaf to SIGTERM", "daemon"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if kind == "daemon":
        os.chdir("/")
        os.closerange(0, 1024)


def main(kind: str, file: str) -> None:
    """Escape, say so, and stay."""
    escape(kind)
    Path(file + ".new").write_text(str(os.getpid()))
    Path(file + ".new").rename(file)
    while kind == "fork chain":
        if os.fork():
            os._exit(0)
        os.utime(file)  # its heartbeat; without the file it ends
        time.sleep(0.003)
    time.sleep(300)


#: A cell that starts them all, and goes on until it is ended.
CELL = f"""
import os, subprocess, sys, time
folder = job_data["folder"]
os.makedirs(folder)
for kind in {KINDS!r}:
    env = {{}} if kind in ("cleared environment", "daemon") else None
    words = [sys.executable, "-I", "-S", {__file__!r}, kind, os.path.join(folder, kind)]
    subprocess.Popen(words, env=env)
while len([name for name in os.listdir(folder) if not name.endswith(".new")]) < {len(KINDS)}:
    time.sleep(0.01)
with open(job_data["output_dir"] + "/early.txt", "w") as file:
    file.write("kept")
print("ready", os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""


def survivors(folder: Path, job: int = 0) -> set[str]:
    """Return which kinds of those in this folder are alive, and whether the job is."""
    found = set(look(folder))
    if job and Path(f"/proc/{job}/cmdline").exists() and Path(f"/proc/{job}/cmdline").read_bytes():
        found.add("job")  # a zombie has no command any more
    if beats(folder / "fork chain"):
        found.add("fork chain")
    return found


def look(folder: Path) -> dict[str, int]:
    """Return those of this folder that are alive; a fork chain is too quick to be seen."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if __file__ in words and Path(words[-2]).parent == folder:
            found[Path(words[-2]).name] = int(entry.name)
    return found


def beats(file: Path) -> bool:
    """Whether the fork chain of this file goes on."""
    if not file.exists():
        return False
    before = file.stat().st_mtime_ns
    time.sleep(0.1)
    return file.stat().st_mtime_ns != before


def end(folder: Path) -> None:
    """Kill whoever is left in this folder."""
    (folder / "fork chain").unlink(missing_ok=True)
    while left := look(folder):
        for pid in left.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
