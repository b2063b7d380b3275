"""Ports of a job, opened on this machine."""

from __future__ import annotations

import socket

import httpx
import pytest

from chutes_jupyter.config import Worker
from chutes_jupyter.errors import JobFailed
from tests.client.rig import PATIENCE, Submit, until

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


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            number: int = probe.getsockname()[1]
            if number >= 8002:
                return number


def test_the_url_answers_as_soon_as_it_is_given(worker: Worker, submit: Submit) -> None:
    number = free_port()
    ports = ({"name": "web", "port": number, "proto": "http"},)
    job = submit(worker, SERVES, ports=ports, data={"port": number})
    url = job.ports["web"].url
    assert url
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


def test_udp_says_that_its_door_comes_later(local: Worker, submit: Submit) -> None:
    ports = ({"name": "game", "port": 9000, "proto": "udp"},)
    job = submit(local, "return 1", ports=ports)
    assert job.ports["game"].url is None
    assert "later version" in job.ports["game"].notice
    job.wait(PATIENCE)


def test_a_taken_port_ends_the_job_naming_it(worker: Worker, submit: Submit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        job = submit(worker, "return 1", ports=({"name": "web", "port": number, "proto": "http"},))
        with pytest.raises(JobFailed, match=str(number)):
            job.result(PATIENCE)
    until(job.done, "it has ended")
