"""Ports of a job, opened on this machine."""

from __future__ import annotations

import os
import socket
import stat
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import Cookie
from pathlib import Path
from typing import Never

import httpx
import pytest

from chutes_jupyter import portal
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import ForwardFailed, JobFailed, LoginFailed, SpecError, WaitTimeout
from chutes_jupyter.job import Job, current_client
from chutes_jupyter.places import Place
from tests.client.rig import PATIENCE, Submit, until
from tests.conftest import add_to_ssh_config
from tests.faults.kit import Line
from tests.freeport import free_port
from tests.sshd import Sshd
from tests.test_relay import relays, sockets_to

OVER_OPENSSH = True

SERVES = """
import http.server, threading, time
time.sleep(0.7)  # a server that takes its time to start
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("page " + self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", job_data["port"]), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
await self.cancel_event.wait()
"""


def test_the_url_answers_as_soon_as_it_is_given(worker: Worker, submit: Submit) -> None:
    number = free_port()
    ports = ({"name": "web", "port": number, "proto": "http"},)
    job = submit(worker, SERVES, ports=ports, data={"port": number})
    url = job.ports["web"].url
    assert url
    if sys.platform == "linux":
        assert not url.startswith("http://127.0.0.1:")  # no cookie of localhost goes there
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/deep?x=1").text == "page /deep?x=1"
    assert job.ports["web"].ready
    assert url in repr(job.ports["web"])
    job.cancel()
    job.wait(PATIENCE)
    assert job.ports["web"].url is None
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.get(url)


ECHO = """
import socket, time
time.sleep(0.5)
with socket.create_server(("127.0.0.1", job_data["port"])) as server:
    connection, _ = server.accept()  # the first and only one
    with connection:
        connection.sendall(connection.recv(100).upper())
"""


def test_the_first_connection_to_a_tcp_port_is_the_persons(worker: Worker, submit: Submit) -> None:
    number = free_port()
    ports = ({"name": "raw", "port": number, "proto": "tcp"},)
    job = submit(worker, ECHO, ports=ports, data={"port": number})
    address = job.ports["raw"].address
    assert address
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"HELLO"
    job.result(PATIENCE)


def test_a_taken_port_ends_the_job_naming_it(worker: Worker, submit: Submit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        job = submit(worker, "return 1", ports=({"name": "web", "port": number, "proto": "http"},))
        with pytest.raises(JobFailed, match=str(number)):
            job.result(PATIENCE)
    until(job.done, "it has ended")


def test_a_unix_socket_is_this_persons_and_goes_with_the_job(
    local: Worker, submit: Submit, tmp_path: Path
) -> None:
    number = free_port()
    ports = ({"name": "web", "port": number, "proto": "http"},)
    job = submit(local, SERVES, ports=ports, data={"port": number})
    path = tmp_path / "s"
    client = current_client()
    portal.call(client.open_at, job._live, "web", Place(path=path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE) as asking:
        assert asking.get("http://any/deep").text == "page /deep"
        # A program of ours uses it: it is none of those that a person opened.
        assert job.ports["web"].close_forwards() == 0
        assert asking.get("http://any/again").text == "page /again"
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(ForwardFailed, match="taken"):
        portal.call(client.open_at, job._live, "web", Place(path=taken))
    job.cancel()
    job.wait(PATIENCE)
    until(lambda: not path.exists(), "the socket is removed")


# -- forwards that somebody asked for ----------------------------------------------------------


@pytest.fixture
def web(submit: Submit) -> Callable[[Worker], Job]:
    def make(worker: Worker, source: str = SERVES, proto: str = "http") -> Job:
        number = free_port()
        ports = ({"name": "web", "port": number, "proto": proto},)
        return submit(worker, source, ports=ports, data={"port": number})

    return make


def get(address: str | None) -> str:
    assert address
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.get(address).text


def test_several_forwards_live_side_by_side_and_close_on_their_own(worker: Worker, web) -> None:
    job = web(worker)
    port = job.ports["web"]
    number = free_port()
    chosen, other = port.forward(number, bind="127.0.0.1"), port.forward()
    assert chosen.address == ("127.0.0.1", number)
    assert chosen.url == f"http://127.0.0.1:{number}"
    assert chosen.url in repr(chosen)
    port.wait_ready(PATIENCE)
    assert [get(each.url) for each in (port, chosen, other)] == ["page /"] * 3
    chosen.close()
    assert chosen.url is None
    assert "closed" in repr(chosen)
    with pytest.raises(httpx.ConnectError):
        get(f"http://127.0.0.1:{number}")
    with port.forward(number, bind="127.0.0.1") as again:  # free at once
        assert get(again.url) == "page /"
    assert get(other.url) == "page /"
    address = other.url
    job.cancel()
    job.wait(PATIENCE)
    until(lambda: other.url is None, "it closes with the job")
    with pytest.raises(httpx.ConnectError):
        get(address)
    with pytest.raises(ForwardFailed, match="has ended"):
        port.forward()


def test_a_port_of_this_machine_that_is_taken_names_who_has_it(local: Worker, web) -> None:
    port = web(local).ports["web"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(ForwardFailed, match=rf"{number} .* taken by .*pid {os.getpid()}"):
            port.forward(number, bind="127.0.0.1")
    with socket.create_server(("0.0.0.0", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(ForwardFailed, match=f"{number} .*name another port"):
            port.forward(number)


@pytest.mark.parametrize(
    ("port", "bind", "words"),
    [
        (0, None, "from 1 to 65535"),
        (65536, None, "from 1 to 65535"),
        (True, None, "from 1 to 65535"),
        ("9000", None, "from 1 to 65535"),
        (9000.0, None, "from 1 to 65535"),
        (None, "localhost", "not a name"),
        (None, "example.org", "not a name"),
        (None, "", "not a name"),
        (None, "127.0.0.1:80", "not a name"),
        (None, 2130706433, "not a name"),
        (None, "fe80::1%lo", "not a name"),
    ],
)
def test_a_wrong_place_is_refused_with_the_rule(local: Worker, web, port, bind, words) -> None:
    with pytest.raises(SpecError, match=words):
        web(local).ports["web"].forward(port, bind=bind)


def test_an_address_that_is_not_this_machines_says_so(local: Worker, web) -> None:
    with pytest.raises(ForwardFailed, match="no address of this machine"):
        web(local).ports["web"].forward(bind="192.0.2.1")


def test_open_to_others_warns_and_to_this_machine_does_not(local: Worker, web) -> None:
    port = web(local).ports["web"]
    with pytest.warns(UserWarning, match="without any login"):
        opened = port.forward(bind="0.0.0.0")
    assert opened.address is not None
    assert opened.address[0] == "0.0.0.0"
    assert get(opened.url) == "page /"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bind in (None, "127.0.0.1", "::1"):
            assert get(port.forward(bind=bind).url) == "page /"


def test_no_cookie_of_localhost_reaches_a_job(local: Worker, web) -> None:
    source = SERVES.replace('"page " + self.path', 'str(self.headers.get("Cookie"))')
    job = web(local, source)
    with httpx.Client(trust_env=False) as client:
        for host in ("localhost.local", "127.0.0.1"):
            client.cookies.jar.set_cookie(_cookie(host))
        opened = job.ports["web"].forward(bind="127.0.0.1")
        assert "secret" in client.get(f"{opened.url}/").text  # cookies know no ports
        assert client.get(f"{job.ports['web'].url}/").text == "None"


def _cookie(host: str) -> Cookie:
    words = {"version": 0, "name": "token", "value": "secret", "port": None, "path": "/"}
    words |= {"domain": host, "domain_specified": False, "domain_initial_dot": False}
    words |= {"port_specified": False, "path_specified": True, "secure": False, "expires": None}
    return Cookie(**words, discard=True, comment=None, comment_url=None, rest={})


# -- when a port is ready ----------------------------------------------------------------------

SLOW = r"""
import socket, time
server = socket.create_server(("127.0.0.1", job_data["port"]))
begun = time.monotonic()
silent = []
while not silent or time.monotonic() < begun + 1.0:  # it takes some, and answers nothing
    server.settimeout(0.1)
    try:
        silent.append(server.accept()[0])
    except TimeoutError:
        pass
for each in silent:
    each.close()
print("answers", flush=True)
server.settimeout(None)
while True:
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 STATUS Words\r\nContent-Length: 0\r\n\r\n")
    connection.close()
"""


@pytest.mark.parametrize("status", ["404", "500", "302"])
def test_a_web_server_is_ready_when_it_answers_whatever_that_is(local: Worker, web, status) -> None:
    job = web(local, SLOW.replace("STATUS", status))
    port = job.ports["web"]
    port.wait_ready(PATIENCE)
    assert job.logs() == "answers\n"  # taking a connection was not enough
    assert port.ready


NEVER = """
import socket
server = socket.create_server(("127.0.0.1", job_data["port"]))
server.settimeout(0.1)
taken = []
while not self.cancel_event.is_set():
    try:
        taken.append(server.accept()[0])
        print("taken", flush=True)
    except TimeoutError:
        pass
"""


def test_what_takes_connections_and_answers_nothing_is_not_ready(local: Worker, web) -> None:
    job = web(local, NEVER)
    port = job.ports["web"]
    until(lambda: "taken" in job.logs(), "it was asked")
    with pytest.raises(WaitTimeout, match="has not answered"):
        port.wait_ready(1.5)
    assert not port.ready


def test_a_tcp_port_is_asked_only_when_somebody_waits_for_it(worker: Worker, web) -> None:
    count = """
import socket, time
time.sleep(0.5)
with socket.create_server(("127.0.0.1", job_data["port"])) as server:
    for number in (b"0", b"1"):
        connection, _ = server.accept()
        connection.sendall(number)
        connection.close()
"""
    job = web(worker, count, "tcp")
    port = job.ports["web"]
    assert not port.ready
    port.wait_ready(PATIENCE)  # this is the connection number 0
    assert port.ready
    with socket.create_connection(port.address, timeout=PATIENCE) as connection:
        assert connection.recv(10) == b"1"
    job.result(PATIENCE)
    with pytest.raises(ForwardFailed, match="has ended"):
        port.wait_ready(1)


# -- udp ---------------------------------------------------------------------------------------

NAMES = """
import socket
names = {b"a.example": b"10.0.0.1", b"b.example": b"10.0.0.2"}
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", job_data["port"]))
server.settimeout(0.1)
while not self.cancel_event.is_set():
    try:
        question, sender = server.recvfrom(65507)
    except TimeoutError:
        continue
    server.sendto(names.get(question, question), sender)
"""


def resolve(address: tuple[str, int] | None, question: bytes) -> bytes:
    """Ask as a resolver does: again, where no answer comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            sock.sendto(question, address)
            try:
                return sock.recv(65507)
            except TimeoutError:
                continue
    raise AssertionError("no answer")


def test_a_job_answers_datagrams_and_its_port_says_what_was_dropped(worker: Worker, web) -> None:
    port = web(worker, NAMES, "udp").ports["web"]
    assert port.url == "udp://{}:{}".format(*port.address)
    until(lambda: port.ready, "datagrams can pass")
    answers = [resolve(port.address, name) for name in (b"a.example", b"b.example", b"")]
    assert answers == [b"10.0.0.1", b"10.0.0.2", b""]
    # Asked before the job listened, some were refused; that is told. From now on, none are.
    before = port.dropped
    with port.forward() as other:
        big = bytes(range(256)) * 255
        assert resolve(other.address, big) == big
        assert other.address != port.address
    assert port.dropped == before
    port.wait_ready(PATIENCE)


def test_nothing_stays_of_a_udp_port_when_its_job_has_ended(worker: Worker, web) -> None:
    job = web(worker, NAMES, "udp")
    port = job.ports["web"]
    opened = port.forward()
    addresses = [port.address, opened.address]
    for address in addresses:
        assert resolve(address, b"a.example") == b"10.0.0.1"
    assert len(relays(worker)) == 1  # one for all
    assert sockets_to(port.port) == 2  # one for each who asked
    job.cancel()
    job.wait(PATIENCE)
    until(lambda: not relays(worker), "the worker's process is gone")
    assert sockets_to(port.port) == 0
    assert opened.address is None
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(address)  # it is free


def test_dropped_datagrams_are_told_beside_the_port(local: Worker, web) -> None:
    job = web(local, "await self.cancel_event.wait()", "udp")
    port = job.ports["web"]
    assert "dropped" not in repr(port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(4):
            sock.sendto(b"nobody listens", port.address)
    until(lambda: port.dropped == (4, 0), "each is counted")
    until(lambda: port.ready, "the way is there")
    assert "dropped 4 up and 0 down" in repr(port)
    until(lambda: any("datagrams were dropped" in notice for notice in job.notices), "a notice")
    job.cancel()
    job.wait(PATIENCE)
    assert port.url is None
    assert port.dropped == (4, 0)


def test_after_a_cut_datagrams_pass_at_the_same_address(line: Line, web) -> None:
    job = web(line.worker, NAMES, "udp")
    port = job.ports["web"]
    address = port.address
    for _ in range(3):
        assert resolve(address, b"a.example") == b"10.0.0.1"
        line.cut()
    assert resolve(address, b"b.example") == b"10.0.0.2"
    assert port.address == address
    assert port.notice == ""
    end(job)


def end(job: Job) -> None:
    """End a job while its worker can be reached: the line goes before the client does."""
    job.cancel(wait=PATIENCE)
    job.wait(PATIENCE)
    assert job.state == "cancelled"


def test_one_session_more_that_is_refused_is_named_where_nothing_else_helps(
    home: Path, tmp_path: Path, web, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Sshd.start(extra="MaxSessions 1")
    try:
        add_to_ssh_config(home, server, "one1")
        worker = Worker("one1", host="one1", dir=str(tmp_path / "worker"))
        Workers.load().add(worker)
        job = web(worker, NAMES, "udp")
        port = job.ports["web"]
        assert resolve(port.address, b"a.example") == b"10.0.0.1"  # by a connection of its own

        def refuses(worker: Worker) -> Never:
            raise LoginFailed("only one login at a time")

        monkeypatch.setattr("chutes_jupyter.client.tunnels.transport_for", refuses)
        server.drop()
        resolve_once(port.address)
        until(lambda: "MaxSessions" in port.notice, "it is named")
        assert "only one login at a time" in port.notice
        end(job)
    finally:
        server.remove()


def resolve_once(address: tuple[str, int] | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"a.example", address)


# -- broken lines, and servers that forbid -----------------------------------------------------


def test_after_a_cut_the_same_address_works_and_what_was_open_is_reset(line: Line, web) -> None:
    half = """
import socketserver, threading
class Half(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"half")
        self.request.recv(10)
server = socketserver.ThreadingTCPServer(("127.0.0.1", job_data["port"]), Half)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
await self.cancel_event.wait()
"""
    job = web(line.worker, half, "tcp")
    port = job.ports["web"]
    opened = port.forward()
    for _ in range(3):
        address = opened.address
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            assert connection.recv(10) == b"half"
            line.cut()
            with pytest.raises(ConnectionResetError):  # never an end like any other
                connection.recv(10)
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            assert connection.recv(10) == b"half"
        assert opened.address == address
    end(job)


NO_FORWARDING = """
AllowTcpForwarding no
AllowStreamLocalForwarding no
"""


@pytest.mark.parametrize("extra", [NO_FORWARDING, NO_FORWARDING + "MaxSessions 1\n"])
def test_a_server_that_forwards_nothing_is_gone_around(
    home: Path, tmp_path: Path, web, extra: str, dialling: str
) -> None:
    server = Sshd.start(extra=extra)
    try:
        add_to_ssh_config(home, server, "closed1")
        worker = Worker("closed1", host="closed1", dir=str(tmp_path / "worker"), transport=dialling)
        Workers.load().add(worker)
        job = web(worker)
        port = job.ports["web"]
        port.wait_ready(PATIENCE)
        with ThreadPoolExecutor(8) as threads:
            pages = list(threads.map(get, [f"{port.url}/{n}" for n in range(40)]))
        assert pages == [f"page /{n}" for n in range(40)]
        server.drop()
        until(lambda: _answers(port.url), "it comes back by itself")
        job.cancel()
        job.wait(PATIENCE)
    finally:
        server.remove()


def _answers(address: str | None) -> bool:
    try:
        return get(address) == "page /"
    except httpx.HTTPError:
        return False
