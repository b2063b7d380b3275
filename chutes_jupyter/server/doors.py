"""The ports of a job, as the API shows and opens them; it runs in the background loop."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from chutes_jupyter.models import SSH_PORT
from chutes_jupyter.places import Place
from chutes_jupyter.ports import url
from chutes_jupyter.server.problems import ApiError
from chutes_jupyter.server.shapes.ports import (
    ClosedAnswer,
    ForwardView,
    PortItem,
    PortsAnswer,
    UndeclaredItem,
)

if TYPE_CHECKING:
    from chutes_jupyter.client import Live
    from chutes_jupyter.client.doors import AnyForward, Door
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.shapes.ports import ForwardRequest


#: No number of a port is longer.
_DIGITS = 5
#: How long the worker may take to look who listens, in seconds: a relay is started for it.
_SHOWING = 30.0


async def ports(case: Case, tabs: bool) -> PortsAnswer:
    """List the ports of a job."""
    live = case.live
    doors = [case.client.port_door(live, port.name) for port in live.reachable]
    return PortsAnswer(
        ports=[_item(door, tabs) for door in doors],
        undeclared=offered(live),
        trouble=live.trouble,
    )


async def show(case: Case, number: str, tabs: bool) -> PortItem:
    """Open a port that a job listens on and did not declare."""
    if not (number.isdecimal() and len(number) <= _DIGITS):
        check(case, number)
        return _item(case.client.port_door(case.live, number), tabs)
    name = await case.within(case.client.show_port(case.live, int(number)), _SHOWING)
    return _item(case.client.port_door(case.live, name), tabs)


def offered(live: Live) -> list[UndeclaredItem]:
    """Return what a job listens on and could be shown."""
    return [
        UndeclaredItem(port=each.port, address="any" if each.everywhere else "loopback")
        for each in live.offered
    ]


async def forward(case: Case, name: str, wanted: ForwardRequest) -> ForwardView:
    """Open a port at one more address of this machine."""
    check(case, name)
    place = Place.parse(wanted.port, wanted.bind)
    opened = await case.client.open_at(case.live, name, place)
    found = _forward(opened)
    if found is None:  # it has ended in this very moment
        raise ApiError(HTTPStatus.CONFLICT, "forward_failed", f"{case.live.label} has ended.")
    return found.model_copy(update={"warning": place.warning})


async def close(case: Case, name: str) -> ClosedAnswer:
    """Close what `forward` opened."""
    check(case, name)
    return ClosedAnswer(closed=await case.client.port_door(case.live, name).close_others())


def check(case: Case, name: str) -> None:
    """Refuse a port that the job does not declare.

    Raises
    ------
    ApiError
        If it has none of that name.
    """
    names = [port.name for port in case.live.reachable]
    if name not in names:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            "port_not_found",
            f"{case.live.label} declares no port {name!r}; it has: {', '.join(names) or 'none'}.",
            "Only ports that a job declares can be reached, and those that its processes listen on "
            "once they were shown: see GET /jobs/{job}/ports.",
        )


def _item(door: Door, tabs: bool) -> PortItem:
    port = door.port
    others = [_forward(each) for each in door.others]
    return PortItem(
        name=port.name,
        port=port.port,
        proto=port.proto,
        ready=door.ready and not door.over,
        over=door.over,
        notice=door.notice,
        forward=None if door.over else _forward(door.forward),
        forwards=[each for each in others if each is not None],
        tab=tabs and port.proto == "http" and port.port != SSH_PORT,
    )


def _forward(opened: AnyForward) -> ForwardView | None:
    address = opened.address
    found = url(opened.port.proto, address)
    if address is None or found is None:
        return None
    return ForwardView(url=found, address=address[0], port=address[1])
