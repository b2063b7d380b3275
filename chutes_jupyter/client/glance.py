"""A short look at several workers at once, for lists: who is slow or out of reach is left out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.gpupages import GpuPage
from chutes_jupyter.replies import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.config import Worker

#: How long a list waits for what one of its workers has, in seconds.
_PATIENCE = 5.0


async def gpu_pages(client: JobClient, workers: Sequence[Worker]) -> dict[str, GpuPage | str]:
    """Return what each worker says of its GPUs, by its name, or why it said nothing."""
    answers = await asyncio.gather(*(_gpu_page(client, each) for each in workers))
    return {each.name: answer for each, answer in zip(workers, answers, strict=True)}


async def _gpu_page(client: JobClient, worker: Worker) -> GpuPage | str:
    control, _ = client.way_to(worker.name)
    try:
        async with asyncio.timeout(_PATIENCE):
            reply = await control.request("gpus", env=dict(worker.env))
        return parse(GpuPage, reply.header)
    except TimeoutError:
        return "no answer"
    except ChuteError as error:
        return str(error).splitlines()[0]
