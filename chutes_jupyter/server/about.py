"""The server extension about itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from chutes_jupyter.server import openapi
from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler
from chutes_jupyter.server.shapes.base import About

if TYPE_CHECKING:
    from chutes_jupyter.server.shapes.base import Answer


class AboutHandler(Handler):
    """What answers here."""

    path = "/about"

    @operation(answer=About)
    async def get(self) -> About:
        """Tell the version; a front end sees by it whether the extension is there at all."""
        return About(
            version=version("chutes_jupyter"),
            api=openapi.VERSION,
            tabs=self.service.tabs is not None,
        )


class OpenApiHandler(Handler):
    """The description of this API."""

    path = "/openapi.json"

    @operation()
    async def get(self) -> Answer | None:
        """Return this description."""
        self.finish(openapi.FILE.read_text(encoding="utf-8"))
        return None


HANDLERS: tuple[type[Handler], ...] = (AboutHandler, OpenApiHandler)
