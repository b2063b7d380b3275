"""Which kind of tab a browser gets, and which path a job is told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chutes_jupyter import prefixes
from chutes_jupyter.config import state_dir
from chutes_jupyter.errors import ConfigError, UsageError
from chutes_jupyter.models import Port
from chutes_jupyter.server.tabs import hints
from chutes_jupyter.server.tabs.where import Seen, check_domain, choose, shares

NET = "ports.example.net"


@pytest.mark.parametrize(
    ("origin", "domain", "kind"),
    [
        ("http://localhost:8888", "", "origin"),
        ("http://127.0.0.1:8888", "", "origin"),
        ("http://lab.localhost:8888", "", "origin"),
        ("http://localhost", "", "origin"),
        ("http://[::1]:8888", "", "path"),
        ("http://gpubox:8888", "", "path"),
        ("http://192.168.1.7:8888", "", "path"),
        ("https://hub.example.org", "", "path"),
        ("https://hub.example.org", NET, "domain"),
        ("https://192.168.1.7", NET, "domain"),
        ("http://localhost:8888", NET, "domain"),
        ("https://hub.example.net", NET, "path"),
        ("https://example.net", NET, "path"),
        ("https://a.ports.example.net", NET, "path"),
        ("https://HUB.EXAMPLE.NET", NET, "path"),
    ],
)
def test_the_best_that_is_safe_is_chosen(origin: str, domain: str, kind: str) -> None:
    assert choose(Seen.parse(origin), domain, None)[0] == kind
    assert choose(Seen.parse(origin), domain, "path")[0] == "path"


def test_what_is_not_safe_is_not_had_by_asking() -> None:
    with pytest.raises(UsageError, match="shares its registered domain"):
        choose(Seen.parse("https://hub.example.net"), NET, "domain")
    with pytest.raises(UsageError, match="port_domain"):
        choose(Seen.parse("https://hub.example.org"), "", "origin")


def test_a_domain_that_may_be_shared_counts_as_shared() -> None:
    assert shares("ports.example.org", "hub.example.org")
    assert shares("a.ac.uk", "b.ac.uk")  # which endings are public is not known here
    assert shares("example.org", "EXAMPLE.org")
    assert not shares("example.net", "example.org")


@pytest.mark.parametrize(
    "domain",
    ["localhost", "https://a.example", "a.example:80", "*.a.example", "1.2.3.4", "a..b", "-"],
)
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(ConfigError, match=r"ports\.example\.net"):
        check_domain(domain)
    assert check_domain(" Ports.Example.NET. ") == NET


# -- the path that a job is told


def test_a_path_is_of_one_job_and_port_and_the_same_in_every_process(home: Path) -> None:
    ports = (Port("web", 8080, "http"), Port("raw", 8081, "tcp"), Port("two", 8082, "http"))
    told = prefixes.of("a" * 32, ports)
    assert list(told) == ["web", "two"]
    assert told == prefixes.of("a" * 32, ports)
    other = prefixes.of("b" * 32, ports)
    paths = [*told.values(), *other.values()]
    assert len(set(paths)) == 4
    for path in paths:
        assert path.startswith("/chutes/tab/")
        assert len(path) == len("/chutes/tab/") + 40
    key = state_dir() / "tabs.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    # Whoever has another key can't tell them.
    key.write_bytes(os.urandom(32))
    assert prefixes.of("a" * 32, ports) != told


def test_a_broken_key_is_made_anew(home: Path) -> None:
    (state_dir() / "tabs.key").write_bytes(b"short")
    first = prefixes.secret("a" * 32, "web")
    assert first == prefixes.secret("a" * 32, "web")
    assert len((state_dir() / "tabs.key").read_bytes()) == 32


@pytest.mark.parametrize(
    ("told", "hub", "base"),
    [
        (None, None, "/"),
        ("/", "/user/jo/", "/"),
        ("/lab/x/", None, "/lab/x/"),
        (None, "/user/jo/", "/user/jo/"),
        (None, "/user/jo", "/user/jo/"),
    ],
)
def test_the_base_url_is_the_servers(
    monkeypatch: pytest.MonkeyPatch, told: str | None, hub: str | None, base: str
) -> None:
    for name, value in ((prefixes.BASE_URL, told), ("JUPYTERHUB_SERVICE_PREFIX", hub)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert prefixes.base_url() == base


def test_known_apps_are_told_how_they_are_told(home: Path) -> None:
    assert hints.recognize("<html><title>TensorBoard<") is hints.APPS[0]
    assert hints.recognize("<html>") is None
    assert {app.name for app in hints.APPS} == {
        "TensorBoard", "Gradio", "Streamlit", "Dash", "Bokeh", "MLflow", "Vite"
    }  # fmt: skip
    for app in hints.APPS:
        assert hints.variable("web") in app.told(hints.variable("web")), app.name
    assert hints.variable("web2") == "CHUTE_PORT_WEB2_PREFIX"
