"""Who may come in: one-time tickets, keys, and what a browser says of where a request is from.

It knows nothing of apps. Every check refuses what it does not know.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tornado.httputil import HTTPHeaders

#: A ticket is for the browser that has just asked for it, in seconds.
TICKET_LIFE = 60.0
#: So many are kept; the oldest go first.
_TICKETS = 1000
_PAGES = frozenset({"document", "iframe", "frame"})
_OWN = frozenset({"none", "same-origin"})


@dataclass(frozen=True)
class _Ticket:
    host: str
    until: float


class Tickets:
    """One-time tickets, each for one host.

    Parameters
    ----------
    clock : callable
        Tells the time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tickets: OrderedDict[str, _Ticket] = OrderedDict()

    def mint(self, host: str) -> str:
        """Return a new ticket for a host."""
        ticket = secrets.token_urlsafe(32)
        self._tickets[ticket] = _Ticket(host, self._clock() + TICKET_LIFE)
        while len(self._tickets) > _TICKETS:
            self._tickets.popitem(last=False)
        return ticket

    def redeem(self, ticket: str, host: str) -> bool:
        """Whether a ticket is good for a host; it is good only once, also where it is not."""
        found = self._tickets.pop(ticket, None)
        if found is None or self._clock() > found.until:
            return False
        return compare_digest(found.host.encode(), host.encode())

    def forget(self, host: str) -> None:
        """Take back every ticket of a host."""
        for ticket in [each for each, found in self._tickets.items() if found.host == host]:
            del self._tickets[ticket]


def new_key() -> str:
    """Return a new key."""
    return secrets.token_urlsafe(32)


def is_page(method: str, headers: HTTPHeaders) -> bool:
    """Whether a browser goes to a page to show it."""
    if method not in ("GET", "HEAD"):
        return False
    mode = headers.get("Sec-Fetch-Mode")
    if mode is None:  # a browser that does not tell
        return "text/html" in headers.get("Accept", "")
    return mode == "navigate" and headers.get("Sec-Fetch-Dest") in _PAGES


def has_key(key: str, shown: Sequence[str]) -> bool:
    """Whether a tab's key is among those that came with a request."""
    return any(compare_digest(each.encode(), key.encode()) for each in shown)


def why_not(
    headers: HTTPHeaders, *, own: str, key: str, shown: Sequence[str], websocket: bool
) -> str:
    """Return why a request to a tab's host may not come in, or "".

    Also a page that another site goes to is refused, in a frame or not: the one that enters is
    of our own, and goes on to the app from there.

    Parameters
    ----------
    headers : HTTPHeaders
        Of the request.
    own : str
        The tab's origin.
    key : str
        The tab's key.
    shown : sequence of str
        The keys that came with the request.
    websocket : bool
        Whether it asks for a websocket: browsers let every page ask for one, and say its origin.
    """
    if not has_key(key, shown):
        return "the browser has no key to it"
    origins = headers.get_list("Origin")
    if any(origin != own for origin in origins) or (websocket and not origins):
        return "another page asked for it"
    if any(site not in _OWN for site in headers.get_list("Sec-Fetch-Site")):
        return "another site asked for it"
    return ""


def why_no_path(method: str, headers: HTTPHeaders, *, websocket: bool) -> str:
    """Return why a request to a sandboxed path may not come in, or "".

    A page in the sandbox has no origin, and says so; nobody else has reason to ask, but the
    browser for the page itself. Jupyter's own pages have none: what the job serves must not run
    in them.
    """
    origins = headers.get_list("Origin")
    if any(origin != "null" for origin in origins) or (websocket and not origins):
        return "another page asked for it"
    if "same-origin" in headers.get_list("Sec-Fetch-Site") and not is_page(method, headers):
        return "a page of Jupyter asked for it"
    return ""
