"""Leads requests to tabs before Jupyter sees them, to applications that know nothing of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tornado.routing import AnyMatches, Matcher, Rule
from tornado.web import Application

from chutes_jupyter.server.tabs.handlers import OriginHandler, PathHandler
from chutes_jupyter.server.tabs.where import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Collection

    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

_log = logging.getLogger(__name__)


class Hosts(Matcher):
    """Every host below localhost and the domain of tabs, at any depth: none of them is Jupyter's.

    Parameters
    ----------
    domain : str
        The domain, which is none of Jupyter's either; or "".
    jupyters : collection of str
        Names that were given to Jupyter itself.
    """

    def __init__(self, domain: str, jupyters: Collection[str]) -> None:
        self._domain, self._jupyters = domain, frozenset(jupyters)
        self._ends = tuple(f".{each}" for each in (LOCALHOST, domain) if each)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what the handler is called with, or None where the host is another."""
        name = request.host_name.rstrip(".")
        ours = name.endswith(self._ends) or (name == self._domain != "")
        return {} if ours and name not in self._jupyters else None


class Below(Matcher):
    """Every path below one.

    Parameters
    ----------
    place : str
        The path, with a slash at its end.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what the handler is called with, or None where the path is another."""
        return {} if request.path.startswith(self._place) else None


def add_routes(
    jupyter: Application,
    domain: str,
    jupyters: Collection[str],
    shared: dict[str, Any],
) -> None:
    """Put the tabs before everything that Jupyter answers.

    Parameters
    ----------
    jupyter : Application
        Jupyter's own.
    domain : str
        The domain for tabs, or "".
    jupyters : collection of str
        Names of hosts that are Jupyter's own.
    shared : dict
        What handlers are made with; ``place`` is the path below which tabs are.
    """
    # Jupyter's host rules match everything, so that only what stands before them has a say.
    jupyter.default_router.rules[:0] = [
        Rule(Hosts(domain, jupyters), _application(OriginHandler, shared)),
        Rule(Below(shared["place"]), _application(PathHandler, shared)),
    ]


def _application(handler: type[RequestHandler], shared: dict[str, Any]) -> Application:
    # None of Jupyter's settings: no secret of its cookies, no login, nothing to render.
    return Application([Rule(AnyMatches(), handler, shared)], log_function=_log_request)


def _log_request(handler: RequestHandler) -> None:
    """Log a request without its address: that is a secret, or holds one."""
    _log.debug("a tab answered %s with %d", handler.request.method, handler.get_status())
