"""Which headers pass, and as what: one set of rules for tabs with an origin, one for paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from chutes_jupyter.server.tabs import pages
from chutes_jupyter.server.tabs.proxy import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tornado.httputil import HTTPHeaders

    from chutes_jupyter.server.tabs.proxy import Headers

#: The key of a tab. The prefix lets no other host and no script set it.
COOKIE = "__Host-chutes-tab"

#: Of one connection, and so never passed on; whoever speaks next says its own.
_HOP = frozenset(
    {
        "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
#: What a browser, or whoever is on the way, says of the way to here.
_OF_THE_WAY = re.compile(r"forwarded|x-forwarded-.*|x-real-ip|x-scheme|via", re.I)
_NOT_UP = frozenset({"host", "cookie", "origin", "referer", "authorization"})
#: What would change more than the page itself: the origin's security, storage or workers.
_NOT_DOWN = frozenset(
    {
        "access-control-allow-credentials", "alt-svc", "clear-site-data", "nel",
        "origin-agent-cluster", "public-key-pins", "referrer-policy", "report-to",
        "reporting-endpoints",
        "service-worker-allowed", "strict-transport-security", "x-content-type-options",
        "x-frame-options",
    }
)  # fmt: skip
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "[::1]"})  # noqa: S104
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOKEN = re.compile(r"(?:token|bearer)\s+(.+)", re.I)


@dataclass(frozen=True)
class Asked:
    """What is known of a request before it is passed on.

    Parameters
    ----------
    target : str
        The path and query for the server.
    host, scheme : str
        As the browser called us.
    port : int
        The server's own port.
    navigation : bool
        Whether the browser wants a page to show.
    """

    target: str
    host: str
    scheme: str
    port: int
    navigation: bool

    @property
    def origin(self) -> str:
        """The origin that the browser sees."""
        return f"{self.scheme}://{self.host}"

    @property
    def upstream(self) -> str:
        """The origin that the server believes to have."""
        return f"http://localhost:{self.port}"

    def is_here(self, scheme: str, netloc: str) -> bool:
        """Whether an address is the server's own, by the name that it or the browser knows."""
        name, _, port = netloc.rpartition(":")
        own = name in _LOCAL_NAMES and port == str(self.port)
        return own or (netloc.lower() == self.host.lower() and scheme in ("", self.scheme))


@dataclass(frozen=True)
class OriginRules:
    """For a tab whose origin is its own: the app is at ``/``, and its cookies are its own.

    Parameters
    ----------
    asked : Asked
        The request.
    is_secret : callable
        Tells whether a text is a secret of the Jupyter server.
    """

    asked: Asked
    is_secret: Callable[[str], bool]

    @property
    def target(self) -> str:
        """The path and query to ask for."""
        return without_token(self.asked.target, self.is_secret)

    def request(self, headers: HTTPHeaders) -> Headers:
        """Return what the server gets: it is asked as if nobody were between."""
        asked = self.asked
        passed = _up(headers)
        if cookies := _cookies(headers, lambda name, _: name != COOKIE):
            passed.append(("Cookie", cookies))
        credentials = headers.get("Authorization", "")
        if credentials and not self._is_jupyters(credentials):
            passed.append(("Authorization", credentials))
        if headers.get("Origin") == asked.origin:
            passed.append(("Origin", asked.upstream))
        referer = headers.get("Referer", "")
        if referer.startswith(f"{asked.origin}/"):
            passed.append(("Referer", asked.upstream + referer[len(asked.origin) :]))
        return [*passed, ("X-Forwarded-Host", asked.host), ("X-Forwarded-Proto", asked.scheme)]

    def _is_jupyters(self, credentials: str) -> bool:
        match = _TOKEN.fullmatch(credentials.strip())
        return credentials.lower().startswith("token") or bool(match and self.is_secret(match[1]))

    def answer(self, status: int, headers: Headers) -> Answer:
        """Return what the browser gets."""
        passed: Headers = []
        for name, value in _down(headers):
            if name.lower() == "set-cookie":
                passed += [(name, each) for each in _own_cookie(value)]
            elif name.lower() == "location" and status in _REDIRECTS:
                target = self._location(value)
                if target is None and self.asked.navigation:
                    return leaving(value)
                passed.append((name, value if target is None else target))
            else:
                passed.append((name, value))
        return Answer(passed)

    def _location(self, value: str) -> str | None:
        """Return a redirect within the app as a path, or None for one that leads elsewhere."""
        scheme, netloc, rest = _parts(value)
        if not scheme and not netloc:
            return rest
        return rest if netloc and self.asked.is_here(scheme, netloc) else None


@dataclass(frozen=True)
class PathRules:
    """For a tab that is a path of the Jupyter server: sandboxed, without cookies.

    Parameters
    ----------
    asked : Asked
        The request.
    prefix : str
        The path of the tab, without a slash at its end.
    strip : bool
        Whether the server is asked without it: it does not know its prefix.
    """

    asked: Asked
    prefix: str
    strip: bool
    is_secret: Callable[[str], bool] = field(default=lambda _: True)

    @property
    def target(self) -> str:
        """The path and query to ask for."""
        return without_token(self.asked.target, self.is_secret)

    def request(self, headers: HTTPHeaders) -> Headers:
        """Return what the server gets; nothing in it is of the Jupyter server."""
        passed = [each for each in _up(headers) if each[0].lower() != "x-xsrftoken"]
        if "Origin" in headers:
            passed.append(("Origin", self.asked.upstream))
        return [
            *passed,
            ("X-Forwarded-Host", self.asked.host),
            ("X-Forwarded-Proto", self.asked.scheme),
            *([("X-Forwarded-Prefix", self.prefix)] if self.strip else []),
        ]

    def answer(self, status: int, headers: Headers) -> Answer:
        """Return what the browser gets."""
        passed: Headers = []
        for name, value in _down(headers):
            lower = name.lower()
            if lower == "location" and status in _REDIRECTS:
                target = self._location(value)
                if target is None:
                    return leaving(value)
                passed.append((name, target))
            elif lower != "set-cookie" and not lower.startswith("access-control-"):
                passed.append((name, value))
        return Answer(passed)

    def _location(self, value: str) -> str | None:
        """Return a redirect as one within the tab, or None for one that leads elsewhere."""
        scheme, netloc, rest = _parts(value)
        if (scheme or netloc) and not (netloc and self.asked.is_here(scheme, netloc)):
            return None
        # Resolved here: a browser would let dots lead out of the tab, encoded ones, too.
        path, mark, query = rest.partition("?")
        path = re.sub("%2e", ".", path, flags=re.IGNORECASE)
        resolved = urljoin(f"http://localhost{self.asked.target}", path + mark + query)
        found = resolved.removeprefix("http://localhost")
        return found if within(found, self.prefix) else self.prefix + found


def within(path: str, prefix: str) -> bool:
    """Whether a path is the prefix, or below it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "?", "#")


def leaving(location: str) -> Answer:
    """Return a page that goes on to another site.

    Not the redirect itself: Jupyter's page opened this one, so that a browser would send
    Jupyter's cookies along if it led there. Where a page of the job leads, it does not.
    """
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
    return Answer(headers, 200, pages.leaving(location))


def without_token(target: str, is_secret: Callable[[str], bool]) -> str:
    """Return a path and query without Jupyter's token."""
    path, mark, query = target.partition("?")
    if not mark or "token=" not in query:
        return target
    kept = [
        each
        for each in query.split("&")
        if not (each.startswith("token=") and is_secret(each.partition("=")[2]))
    ]
    return path + (f"?{'&'.join(kept)}" if kept else "")


def _up(headers: HTTPHeaders) -> Headers:
    named = _named(headers.get_list("Connection"))
    return [
        (name, _as_utf8(value.strip()))
        for name, value in headers.get_all()
        if name.lower() not in _HOP
        and name.lower() not in _NOT_UP
        and name.lower() not in named
        and not _OF_THE_WAY.fullmatch(name)
    ]


def _down(headers: Headers) -> Headers:
    named = _named(value for name, value in headers if name.lower() == "connection")
    kept = []
    for name, value in headers:
        lower = name.lower()
        if lower in _HOP or lower in _NOT_DOWN or lower in named:
            continue
        if lower in ("content-security-policy", "content-security-policy-report-only"):
            value = _without_framing(value)  # noqa: PLW2901
            if not value:
                continue
        kept.append((name, value))
    return kept


def _named(connection: Iterable[str]) -> set[str]:
    """Return the headers that a Connection header calls its own."""
    return {name.strip().lower() for value in connection for name in value.split(",")}


def _as_utf8(value: str) -> str:
    """Return a value so that it goes out as the bytes that came in."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _without_framing(policy: str) -> str:
    """Return a policy without what it says of frames: who may frame a tab, we say."""
    kept = [
        each.strip()
        for each in policy.split(";")
        if each.strip().partition(" ")[0].lower()
        not in ("frame-ancestors", "report-uri", "report-to")
    ]
    return "; ".join(filter(None, kept))


def _cookies(headers: HTTPHeaders, keep: Callable[[str, str], bool]) -> str:
    found = [
        (name.strip(), value.strip())
        for line in headers.get_list("Cookie")
        for name, _, value in (each.partition("=") for each in line.split(";"))
        if name.strip()
    ]
    return "; ".join(f"{name}={value}" for name, value in found if keep(name, value))


def cookie(headers: HTTPHeaders, wanted: str) -> list[str]:
    """Return the values of the cookies of a name."""
    joined = _cookies(headers, lambda name, _: name == wanted)
    return [each.partition("=")[2] for each in joined.split("; ") if each]


def _own_cookie(line: str) -> list[str]:
    """Return an app's cookie as one of the tab's own host, that works in a frame; or nothing."""
    first, *attributes = (part.strip() for part in line.split(";"))
    name = first.partition("=")[0].strip()
    if not name or name.lower() == COOKIE.lower():
        return []
    replaced = ("domain", "samesite", "secure", "partitioned")
    kept = [
        each
        for each in attributes
        if each and each.partition("=")[0].strip().lower() not in replaced
    ]
    return ["; ".join([first, *kept, "Secure", "SameSite=None", "Partitioned"])]


def _parts(location: str) -> tuple[str, str, str]:
    """Return the scheme and host of an address, as browsers read it, and the rest of it."""
    # They take backslashes for slashes, and pass over control characters.
    cleaned = re.sub(r"[\x00-\x20]", "", location).replace("\\", "/")
    try:
        parts = urlsplit(cleaned)
    except ValueError:
        return "invalid", "", ""
    scheme, netloc = parts.scheme.lower(), parts.netloc
    if scheme and not netloc:
        return scheme, "", ""  # https:/path and javascript: alike
    if netloc:
        rest = cleaned.split(netloc, 1)[1]
        return scheme, netloc, rest if rest.startswith("/") else f"/{rest}"
    # Browsers pass over further slashes, and find a host behind them.
    return ("invalid", "", "") if cleaned.startswith("//") else ("", "", cleaned)
