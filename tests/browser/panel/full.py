"""How long Cancel takes with every ipykernel, in both front ends, however the kernel is busy.

Run by ``make full``; minutes. Without arguments all versions.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Error

from tests.browser.panel import ipykernels
from tests.browser.panel.cancels import BUSY, FRONT_ENDS, median, serving

_ROUNDS = 3


def main() -> int:
    """Print a table; return 1 where a click did nothing."""
    versions = sys.argv[1:] or list(ipykernels.ALL)
    bad = 0
    print("From the click on Cancel to `cancelled` in the panel, median of", _ROUNDS)
    print("| ipykernel | front end |", " | ".join(BUSY), "|")
    print("|---|---|", "---|" * len(BUSY), sep="")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "home").mkdir()
        with serving(Path(folder), versions) as server:
            for version in versions:
                for front_end in FRONT_ENDS:
                    told = []
                    for busy in BUSY:
                        try:
                            times = [server.time(version, front_end, busy) for _ in range(_ROUNDS)]
                            told.append(median(times))
                        except (AssertionError, Error) as error:
                            told.append(f"failed: {str(error).splitlines()[0]}")
                            bad += version not in ipykernels.STALLING
                    print(f"| {version} | {front_end} |", " | ".join(told), "|", flush=True)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
