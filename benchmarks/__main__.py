"""Run the cases over a real sshd on this machine, and print what came of it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import measure
from .peers import OpenSSH

ROUNDS = 5
FOLDER = Path(__file__).resolve().parents[1] / ".bench"


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        help="start, log, log_blocks, log_program, output, reattach, jobs_10000, load_ext, "
        "panel_lines, panel_frame, panels_10, panels_10_frame; all by default",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS} by default")
    return parser.parse_args()


@contextmanager
def own_settings(folder: Path) -> Iterator[None]:
    """Keep the person's workers, jobs and folder out of this, and go to `folder`."""
    before = Path.cwd()
    for name in ("CONFIG", "DATA", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = str(folder / name.lower())
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> int:
    """Run them, and return 1 if a limit was missed."""
    options = parse()
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="run-") as name,
        tempfile.TemporaryDirectory(prefix="cm-") as control,  # a socket's path is short
        own_settings(Path(name)),
    ):
        return report(options, Path(name), Path(control))


def report(options: argparse.Namespace, folder: Path, control: Path) -> int:
    """Time each case and print its line."""
    from . import panels
    from .cases import cases
    from .rig import worker_over_sshd

    print(f"Python {platform.python_version()} at {sys.executable}, {os.cpu_count()} cores")
    missed = 0
    with (
        worker_over_sshd(folder) as (worker, host, ssh_options),
        OpenSSH(host, ssh_options, control / "s") as ssh,
    ):
        every = {**cases(worker, ssh, folder), **panels.cases(worker, folder)}
        for short in options.cases or every:
            case = every[short]
            ours, peer = measure.run(case, options.rounds)
            words, kept = measure.verdict(case, ours, peer)
            missed += not kept
            against = f"; peer {peer}" if peer.seconds else ""
            print(f"{case.name}\n    ours {ours}{against}\n    {words}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
