"""What a panel shows of a job, read from it in one go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.commands import tables
from chutes_jupyter.kernel.logtail import shown
from chutes_jupyter.models import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.job import Job
    from chutes_jupyter.mirror import FileView
    from chutes_jupyter.models import Port


@dataclass(frozen=True)
class PortView:
    """A port, with where it can be opened from here or why it can't."""

    port: Port
    address: str = ""
    notice: str = ""
