"""A job on its first step: its worker's interpreter and environment added, and recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from chutes_jupyter.client import kept
from chutes_jupyter.client.folders import output_folder
from chutes_jupyter.config import Settings, Worker, Workers
from chutes_jupyter.store import JobRecord

if TYPE_CHECKING:
    from chutes_jupyter.client.deliver import Submission
    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.client.live import Live


def admit(submission: Submission) -> tuple[Submission, JobRecord, Worker, Settings]:
    """Return a job with what its worker and the settings add, and its record.

    Raises
    ------
    UnknownWorker
        If no worker has the name that the spec's options give.
    """
    spec = submission.spec
    worker, settings = Workers.load().get(spec.options.worker), Settings.load()
    spec = replace(
        spec,
        python=spec.python or worker.python,
        env={**worker.env, **spec.env},
        default_log_limit=settings.log_limit_bytes,
    )
    record = JobRecord(
        id=spec.id,
        name=spec.name,
        worker=worker.name,
        created=spec.created,
        notebook=spec.notebook,
        cell=spec.cell,
        ports=spec.to_json()["ports"],
        timeout=spec.options.timeout,
        upload=spec.options.upload,
    )
    record = replace(record, output_dir=str(output_folder(record, settings)))
    return replace(submission, spec=spec), record, worker, settings


async def run_again(client: JobClient, record: JobRecord) -> Live:
    """Submit a job once more, as a new one: the same function, options and data.

    Its worker's interpreter and environment are those of today.

    Raises
    ------
    NotKept
        If what it was given is not on this machine.
    UnknownWorker
        If its worker is not there any more.
    """

    def prepare() -> tuple[Submission, JobRecord, Worker, Settings]:
        admitted = admit(kept.load(record))
        client.store.add(admitted[1])
        return admitted

    submission, again, worker, settings = await asyncio.to_thread(prepare)
    return await client.submit(again, submission, worker, settings)
