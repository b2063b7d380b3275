"""The tabs that are open, by the secret names that they are found under."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chutes_jupyter.server.tabs.gate import new_key

if TYPE_CHECKING:
    from chutes_jupyter.server.tabs.backend import Backend
    from chutes_jupyter.server.tabs.where import Kind

#: So many names of tabs that are over are remembered, to say so.
_GONE = 10_000


@dataclass(eq=False)
class Tab:
    """One port of a job under one name.

    Parameters
    ----------
    kind : {"origin", "domain", "path"}
        Where it is.
    name : str
        The host, without a port; or the path, without a slash at its end.
    backend : Backend
        What answers.
    scheme : str
        How browsers reach it; what the request says counts for paths.
    """

    kind: Kind
    name: str
    backend: Backend
    scheme: str = "http"
    key: str = field(default_factory=new_key, repr=False)
    #: The origins of Jupyter from which it was opened: their pages may frame it.
    openers: set[str] = field(default_factory=set)


class Labels:
    """Every tab by its name; a name is random and never used again."""

    def __init__(self) -> None:
        self._tabs: dict[str, Tab] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def find(self, name: str) -> Tab | None:
        """Return the tab of a host or path."""
        return self._tabs.get(name)

    def is_gone(self, name: str) -> bool:
        """Whether there was such a tab, and its job is over."""
        return name in self._gone

    def of(self, backend: Backend) -> list[Tab]:
        """Return the tabs of a port."""
        return [tab for tab in self._tabs.values() if tab.backend is backend]

    def host(self, backend: Backend, kind: Kind, domain: str, scheme: str) -> Tab:
        """Return the tab of a port that has a host of its own below a domain."""
        for tab in self.of(backend):
            if tab.kind == kind and tab.scheme == scheme and tab.name.endswith(f".{domain}"):
                return tab
        return self._add(Tab(kind, f"{secrets.token_hex(16)}.{domain}", backend, scheme))

    def path(self, backend: Backend) -> Tab:
        """Return the tab of a port that is a path."""
        found = self._tabs.get(backend.prefix)
        return found or self._add(Tab("path", backend.prefix, backend))

    def _add(self, tab: Tab) -> Tab:
        self._tabs[tab.name] = tab
        return tab

    def revoke(self, backend: Backend) -> list[Tab]:
        """Take every name of a port back, for ever, and return whose they were."""
        revoked = self.of(backend)
        for tab in revoked:
            del self._tabs[tab.name]
            self._gone[tab.name] = None
        while len(self._gone) > _GONE:
            self._gone.popitem(last=False)
        return revoked
