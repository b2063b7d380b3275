"""Where the function is, told now and then: SIGKILL gives nobody the time to say it.

That is mostly the system, short of memory. The supervisor keeps the newest word, and a job that
was killed says with it where it was last seen.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from . import faults

#: How soon it is told first, and how often then, in seconds; only where it has changed.
_FIRST, _EVERY = 0.2, 1.0


def tell(say: Callable[[str], None]) -> None:
    """From now on, tell where the function is, in a thread."""

    def watch() -> None:
        own, last, pause = threading.get_ident(), "", _FIRST
        while True:
            time.sleep(pause)
            place, pause = faults.here(own), _EVERY
            if place == last:
                continue
            try:
                say(place)
            except OSError:  # the supervisor is dead
                return
            last = place

    threading.Thread(target=watch, name="chute-place", daemon=True).start()
