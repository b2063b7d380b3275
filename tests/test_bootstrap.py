import pytest

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.transports import transport_for

pytestmark = pytest.mark.anyio


async def test_starts(any_worker):
    c = await transport_for(any_worker).connect()
    for i in range(2):
        p = await start_agent(c, any_worker)
        p.write_eof()
        assert await p.read(10) == b""
        assert await p.wait() == 0
    await c.aclose()
