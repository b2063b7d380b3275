"""The way to a worker ends when it is closed, whatever it was doing."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from chutes_jupyter.client.hub import JobClient
from chutes_jupyter.client.session import Session
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import ChuteError, ConnectionLost, UnknownWorker
from chutes_jupyter.store import Store
from tests.client.rig import PATIENCE

pytestmark = pytest.mark.anyio


async def gone(pid: int) -> bool:
    """Whether a process ends in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


# Steps of the loop: where in its work a connection that is made anew is met by the end.
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 12, 20])
async def test_no_serve_is_left_where_the_end_meets_a_connection_that_is_made_anew(
    steps: int, tmp_path: Path
) -> None:
    session = Session(Worker("local", dir=str(tmp_path / "worker")))
    await session.request("ping")
    assert session.hello
    pid = session.hello.pid
    link = await session.link()
    link._fail(ConnectionLost("cut"))
    asking = asyncio.ensure_future(session.request("ping"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await session.aclose()
    with contextlib.suppress(asyncio.CancelledError, ChuteError):
        await asking
    assert await gone(pid)


@pytest.mark.parametrize("bulk", [False, True])
async def test_where_one_way_gets_through_the_other_is_tried_without_waiting(
    bulk: bool, tmp_path: Path
) -> None:
    client = JobClient(Store(tmp_path / "store"))
    try:
        ways = client._session(Worker("local", dir=str(tmp_path / "worker")))
        first, second = ways[::-1] if bulk else ways
        # As a long outage leaves it.
        second._failures, second._next_try = 12, asyncio.get_running_loop().time() + 3600
        waiting = asyncio.create_task(second.patient_link(lambda reason: None))
        await asyncio.sleep(0)
        await first.request("ping")
        async with asyncio.timeout(PATIENCE):
            assert not (await waiting).closed
    finally:
        await client.aclose()


async def test_a_closed_way_is_not_opened_again_by_who_asks_on(tmp_path: Path) -> None:
    session = Session(Worker("local", dir=str(tmp_path / "worker")))
    await session.request("ping")
    asking = asyncio.ensure_future(session.persist("ping", trouble=lambda reason: None))
    await session.aclose()
    with contextlib.suppress(ConnectionLost):
        await asking
    with pytest.raises(ConnectionLost, match="was closed here"):
        await session.request("ping")
    with pytest.raises(ConnectionLost, match="was closed here"):
        await session.persist("ping", trouble=lambda reason: None)
    assert session.hello is None


async def test_the_way_to_a_worker_that_was_removed_is_one_and_ends_with_the_client(
    home: Path, tmp_path: Path
) -> None:
    client = JobClient(Store(tmp_path / "store"))
    try:
        control, bulk = client.way_to("old1")
        assert client.way_to("old1") == (control, bulk)
        with pytest.raises(UnknownWorker, match="old1"):
            await control.request("ping")
    finally:
        await client.aclose()
    for way in (control, bulk):
        with pytest.raises(ConnectionLost, match="was closed here"):
            await way.request("ping")
