"""What the handlers of the API are: a route, with the way to what all routes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.server.base import ApiHandler
from chutes_jupyter.server.streams import StreamHandler

if TYPE_CHECKING:
    from chutes_jupyter.server.service import Service

#: Where the service lies in the web application's settings.
SETTING = "chutes_jupyter"


class Handler(ApiHandler):
    """A route."""

    @property
    def service(self) -> Service:
        """What all routes share."""
        found: Service = self.settings[SETTING]
        return found


class LiveHandler(StreamHandler, Handler):
    """A route that streams events."""
