"""The tabs of one Jupyter server: opens them, and takes them back when their jobs end."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Unicode
from traitlets.config import LoggingConfigurable

from chutes_jupyter import prefixes
from chutes_jupyter.server.tabs import hints, router, where
from chutes_jupyter.server.tabs.backend import Backend, enter, in_portal
from chutes_jupyter.server.tabs.gate import Tickets
from chutes_jupyter.server.tabs.handlers import ENTER, PROBE
from chutes_jupyter.server.tabs.labels import Labels
from chutes_jupyter.undeclared import UndeclaredPort

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from chutes_jupyter.server.tabs.backend import Bridge
    from chutes_jupyter.server.tabs.labels import Tab

#: The longest path of a unix socket is 104 bytes somewhere, its end included.
_LONGEST_FOLDER = 85


class ChutesTabs(LoggingConfigurable):
    """The pages of jobs, each where it can reach nothing of Jupyter's."""

    port_domain = Unicode(
        "",
        config=True,
        help="A domain whose every name leads to this server over https, for the pages of jobs. "
        "It must not share its registered domain with the server's own name.",
    )

    def __init__(self, serverapp: ServerApp, bridge: Bridge | None = None) -> None:
        super().__init__(parent=serverapp)
        self._bridge: Bridge = bridge or in_portal
        self._base_url = str(serverapp.web_app.settings["base_url"])
        self._domain = where.check_domain(self.port_domain)
        self._labels, self._tickets = Labels(), Tickets()
        self._backends: dict[tuple[str, str], Backend] = {}
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._folder: Path | None = None
        # Kernels and terminals that are started from now on know where their jobs' pages are.
        os.environ[prefixes.BASE_URL] = self._base_url
        router.add_routes(
            serverapp.web_app,
            self._domain,
            serverapp.local_hostnames,
            {
                "place": self._base_url + prefixes.PLACE,
                "labels": self._labels,
                "tickets": self._tickets,
                "is_secret": lambda text: text == getattr(serverapp.identity_provider, "token", ""),
            },
        )

    async def open(
        self, job_id: str, port: str, *, browser_origin: str, kind: where.Kind | None = None
    ) -> dict[str, Any]:
        """Return where a browser finds a port of a job, and what it must know.

        Parameters
        ----------
        job_id, port : str
            The job's id, and the name of a port of the kind http that it declares, or the
            number of one that was shown.
        browser_origin : str
            How the browser calls the Jupyter server: ``window.location.origin``.
        kind : str, optional
            ``path`` after the browser did not find the address of `probe`; otherwise the best
            kind is chosen.

        Returns
        -------
        dict
            ``kind`` is origin, domain or path. ``url`` is good for one page, within a minute
            (a path is good until the job ends); it is a secret, which is not to be kept.
            ``probe`` answers the page of Jupyter with JSON if the browser finds the host; None
            for a path. ``notes`` are sentences for the person.

        Raises
        ------
        ForwardFailed
            If the job declares no such port, or has ended.
        JobNotFound
            If there is no such job.
        UsageError
            If the origin is none, or that kind can't be had.
        """
        seen = where.Seen.parse(browser_origin)
        chosen, why = where.choose(seen, self._domain, kind)
        backend = await self._backend(job_id, port)
        if chosen == "path":
            tab = self._labels.path(backend)
            tab.openers.add(seen.origin)
            url, probe = f"{seen.origin}{backend.prefix}/", None
        else:
            tab = self._host(backend, chosen, seen)
            tab.openers.add(seen.origin)
            host = tab.name if chosen == "domain" else seen.beside(tab.name)
            url = f"{tab.scheme}://{host}{ENTER}{self._tickets.mint(tab.name)}"
            probe = f"{tab.scheme}://{host}{PROBE}"
        return {"kind": chosen, "url": url, "probe": probe, "notes": await self._notes(tab, why)}

    def _host(self, backend: Backend, kind: where.Kind, seen: where.Seen) -> Tab:
        if kind == "domain":
            return self._labels.host(backend, kind, self._domain, "https")
        return self._labels.host(backend, kind, where.LOCALHOST, seen.scheme)

    async def _notes(self, tab: Tab, why: str) -> list[str]:
        if tab.kind != "path":
            return []
        backend = tab.backend
        notes = [
            *([why] if why else []),
            "The page is in a sandbox: it has no cookies, no storage, and opens no windows. "
            f"Without that: jupyter chute forward {backend.label} {backend.port.name}",
        ]
        look = await backend.look() if backend.ready else None
        variable = hints.variable(backend.port.name)
        if isinstance(backend.port, UndeclaredPort):
            notes.append(
                "An app that writes absolute addresses must be told its path, and a job has only "
                "those of the ports that it declares: --port NAME:PORT/http"
            )
        elif look is None or look.app is None:
            notes.append(
                f"An app that writes absolute addresses must be told its path: {variable} in "
                "the job has it."
            )
        else:
            if look.app.lacks:
                notes.append(f"{look.app.name} in a sandbox: {look.app.lacks}.")
            if not look.prefixed:
                notes.append(f"{look.app.name} must be told its path: {look.app.told(variable)}")
        return notes

    # -- ports ------------------------------------------------------------------------

    async def _backend(self, job_id: str, port: str) -> Backend:
        async with self._opening:
            for found in self._backends.values():
                if found.job == job_id and found.port.name == port and not found.over:
                    return found
            loop, folder = asyncio.get_running_loop(), await asyncio.to_thread(self._sockets)
            ends: list[Backend] = []

            def ended() -> None:
                # In the client's thread, where the loop here may have ended, too.
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._end_all, ends)

            opened = await enter(self._bridge, job_id, port, folder, self._base_url, ended)
            ends.append(opened)
            known = self._backends.get((opened.job, port))
            if known is not None and not known.over:
                self._close_later(opened)
                return known
            self._backends[opened.job, port] = opened
            if opened.over:  # before it was known here
                self._end(opened)
            return opened

    def _end_all(self, backends: list[Backend]) -> None:
        for backend in backends:
            self._end(backend)

    def _end(self, backend: Backend) -> None:
        """Take back everything that leads to a port: its job is over."""
        if self._backends.get((backend.job, backend.port.name)) is not backend:
            return
        del self._backends[backend.job, backend.port.name]
        for tab in self._labels.revoke(backend):
            self._tickets.forget(tab.name)
        self._close_later(backend)

    def _close_later(self, backend: Backend) -> None:
        closing = asyncio.ensure_future(backend.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _sockets(self) -> Path:
        """Return the folder of the sockets, made for this person alone (0700)."""
        if self._folder is None:
            folder = tempfile.mkdtemp(prefix="chutes-tabs-")
            if len(folder) > _LONGEST_FOLDER:
                Path(folder).rmdir()
                folder = tempfile.mkdtemp(prefix="chutes-tabs-", dir="/tmp")
            self._folder = Path(folder)
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return self._folder

    async def aclose(self) -> None:
        """Take every tab back."""
        for backend in list(self._backends.values()):
            self._end(backend)
        while self._closing:
            await asyncio.wait(self._closing)
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None
