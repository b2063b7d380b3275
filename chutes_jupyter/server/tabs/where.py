"""Where a tab can be: an origin of its own beside Jupyter's, on another domain, or a path."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from chutes_jupyter.errors import ConfigError, UsageError

Kind = Literal["origin", "domain", "path"]

LOCALHOST = "localhost"
_NAME = re.compile(r"(?=.{1,200}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")


@dataclass(frozen=True)
class Seen:
    """The Jupyter server as the browser sees it.

    Parameters
    ----------
    scheme, name : str
        Of its address.
    port : int or None
        Where it is not the scheme's own.
    """

    scheme: str
    name: str
    port: int | None

    @classmethod
    def parse(cls, origin: object) -> Seen:
        """Return the parts of ``http://localhost:8888``.

        Raises
        ------
        UsageError
            If it is no origin of a page.
        """
        try:
            if not isinstance(origin, str) or len(origin) > 300:
                raise ValueError
            parts = urlsplit(origin)
            name, port = (parts.hostname or "").rstrip("."), parts.port
            whole = cls(parts.scheme, name, port)
            if parts.scheme not in ("http", "https") or not name or whole.origin != origin.lower():
                raise ValueError
        except ValueError:
            raise UsageError(
                f"{origin!r} is no origin of a page: it is what the browser calls "
                "window.location.origin, like http://localhost:8888."
            ) from None
        return whole

    @property
    def netloc(self) -> str:
        """Name and port."""
        return self.beside(f"[{self.name}]" if ":" in self.name else self.name)

    @property
    def origin(self) -> str:
        """The whole."""
        return f"{self.scheme}://{self.netloc}"

    def beside(self, name: str) -> str:
        """Return another name with the same port."""
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether a browser finds names below localhost where it found this.

        Not for ``[::1]``: no page can say that it lets itself be framed from there.
        """
        return self.name in (LOCALHOST, "127.0.0.1") or self.name.endswith(f".{LOCALHOST}")


def check_domain(domain: str) -> str:
    """Return the domain for tabs as it is written in addresses.

    Raises
    ------
    ConfigError
        If it is no domain that names can be put before.
    """
    cleaned = domain.strip().lower().strip(".")
    if not cleaned:
        return ""
    if not _NAME.fullmatch(cleaned) or re.fullmatch(r"[0-9.]+", cleaned):
        raise ConfigError(
            f"ChutesTabs.port_domain={domain!r}: must be a domain whose every name leads to this "
            "server, without scheme and port, like ports.example.net."
        )
    return cleaned


def shares(domain: str, name: str) -> bool:
    """Whether pages below a domain might set cookies for Jupyter's name, or the other way round.

    What people can register has two labels or more, so that names which differ within the last
    two belong to different people for sure. Names like ``a.ac.uk`` and ``b.ac.uk`` are taken for
    one, too: which endings are public changes, and a mistake would give the login away.
    """
    return domain.split(".")[-2:] == name.lower().split(".")[-2:]


def choose(seen: Seen, domain: str, asked: Kind | None) -> tuple[Kind, str]:
    """Return which kind of tab a browser gets, and why no better one.

    Parameters
    ----------
    seen : Seen
        The Jupyter server as the browser sees it.
    domain : str
        The domain for tabs, or "".
    asked : str, optional
        The kind that was asked for: ``path`` after the browser did not find the other.

    Raises
    ------
    UsageError
        If a kind was asked for that can't be had.
    """
    kind, why = _best(seen, domain)
    if asked is None or asked == kind:
        return kind, why
    if asked == "path":
        return "path", "The browser did not find the tab's own host."
    raise UsageError(f"A tab of the kind {asked!r} can't be had here, but {kind!r} can. {why}")


def _best(seen: Seen, domain: str) -> tuple[Kind, str]:
    if domain:
        if _is_address(seen.name) or not shares(domain, seen.name):
            return "domain", ""
        return "path", (
            f"ChutesTabs.port_domain={domain} shares its registered domain with {seen.name}: "
            "a page of a job could set cookies for Jupyter there. It must be another one."
        )
    if seen.is_local:
        return "origin", ""
    return "path", (
        f"Tabs have no host of their own at {seen.name}: that needs ChutesTabs.port_domain."
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
