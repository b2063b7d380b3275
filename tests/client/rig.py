"""Jobs from source text: what a cell would submit, without a notebook."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker
from chutes_jupyter.job import Job
from chutes_jupyter.models import JobOptions, JobSpec, new_job_id
from tests.agent.rig import payload

PATIENCE = 40.0


class Submit(Protocol):
    """The fixture `submit`."""

    def __call__(self, worker: Worker | str, source: str, **options: Any) -> Job: ...


def start(
    worker: Worker | str,
    source: str,
    *,
    data: dict[str, Any] | None = None,
    ack: bool = False,
    timeout: int | None = None,
    python: str | None = None,
    node_selector: Any = None,
    **options: Any,
) -> Job:
    """Submit a cell as a job; a timeout may be shorter than the reference allows."""
    body = payload(source, data=data)
    name = worker if isinstance(worker, str) else worker.name
    chosen = JobOptions(worker=name, **{"grace": 0.5, **options})
    object.__setattr__(chosen, "timeout", timeout)
    spec = JobSpec(
        id=new_job_id(),
        name="job",
        options=chosen,
        payload_sha256=hashlib.sha256(body).hexdigest(),
        payload_size=len(body),
        created=time.time(),
        python=python,
    )
    return jobs_module.submit(spec, body, node_selector=node_selector, ack=ack)


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


@contextlib.contextmanager
def process(script: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a process of its own, which is gone afterwards."""
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        running.communicate()
