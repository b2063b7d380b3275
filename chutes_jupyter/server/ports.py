"""The ports of a job: how they are, a tab for one, a forward of one."""

from __future__ import annotations

from chutes_jupyter.server import doors
from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler
from chutes_jupyter.server.shapes.ports import (
    ClosedAnswer,
    ForwardRequest,
    ForwardView,
    PortItem,
    PortsAnswer,
    TabAnswer,
    TabRequest,
)


class PortsHandler(Handler):
    """The ports of a job."""

    path = "/jobs/{job}/ports"

    @operation(answer=PortsAnswer)
    async def get(self, job: str) -> PortsAnswer:
        """List the ports of a job, and which of them answer."""
        return await self.service.with_job(job, doors.ports, self.service.tabs is not None)


class ShowHandler(Handler):
    """A port that a job listens on and did not declare."""

    path = "/jobs/{job}/ports/{port}/show"

    @operation(answer=PortItem)
    async def post(self, job: str, port: str) -> PortItem:
        """Make such a port reachable, by its number, as if it were declared as `http`.

        The worker looks whether the job's own processes listen there: now, and for every
        connection. It is shown until the job ends, or this server does.
        """
        return await self.service.with_job(job, doors.show, port, self.service.tabs is not None)


class TabHandler(Handler):
    """A port in a tab of the browser."""

    path = "/jobs/{job}/ports/{port}/tab"

    @operation(body=TabRequest, answer=TabAnswer)
    async def post(self, job: str, port: str, body: TabRequest) -> TabAnswer:
        """Return where to open a port in a tab: a URL for this once, to be opened soon.

        `origin`, `domain`: the app has an origin of its own, and works unmodified; ask `probe`
        first, and for the kind `path` where it does not answer. `path`: it is in a sandbox below
        this server, and `notes` say what does not work there.
        """
        origin = body.browser_origin or self.request.headers.get("Origin", "")
        return await self.service.open_tab(job, port, origin or self.own_origin, body.kind)


class ForwardsHandler(Handler):
    """Forwards of a port on the machine of this server."""

    path = "/jobs/{job}/ports/{port}/forwards"

    @operation(body=ForwardRequest, answer=ForwardView)
    async def post(self, job: str, port: str, body: ForwardRequest) -> ForwardView:
        """Open a port at one more address of this server's machine, until the job ends."""
        return await self.service.with_job(job, doors.forward, port, body)

    @operation(answer=ClosedAnswer)
    async def delete(self, job: str, port: str) -> ClosedAnswer:
        """Close the forwards that were opened so."""
        return await self.service.with_job(job, doors.close, port)


HANDLERS: tuple[type[Handler], ...] = (PortsHandler, ShowHandler, TabHandler, ForwardsHandler)
