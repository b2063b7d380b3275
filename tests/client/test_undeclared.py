"""Ports that a job listens on without having declared them, over every way to reach a worker."""

from __future__ import annotations

import socket
from functools import partial

import httpx
import pytest

from chutes_jupyter import portal
from chutes_jupyter.config import Worker
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ForwardFailed, SpecError
from chutes_jupyter.job import Job
from chutes_jupyter.store import Store
from tests.client.rig import PATIENCE, Submit, until
from tests.freeport import free_port

OVER_OPENSSH = True

#: Serves until somebody asks for /end.
SERVES = """
import http.server, threading
over = threading.Event()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("from the job " + self.path).encode())
        if self.path == "/end":
            over.set()
server = http.server.ThreadingHTTPServer((job_data["host"], job_data["port"]), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not self.cancel_event.is_set() and not over.wait(0.05):
    pass
server.shutdown()
server.server_close()
self.cancel_event.wait_blocking()
"""


def serve(submit: Submit, worker: Worker, host: str = "127.0.0.1") -> tuple[Job, int]:
    number = free_port()
    return submit(worker, SERVES, data={"host": host, "port": number}), number


def get(address: str | None) -> str:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.get(str(address)).text


def test_a_port_is_offered_and_shown(worker: Worker, submit: Submit) -> None:
    job, number = serve(submit, worker)
    until(lambda: job.undeclared == [number], "it is offered")
    assert job.ports == {}
    with pytest.raises(KeyError, match=rf"listens there: job.show_port\({number}\)"):
        job.ports[str(number)]
    port = job.show_port(number)
    assert (port.name, port.port, port.proto) == (str(number), number, "http")
    port.wait_ready(PATIENCE)
    assert get(f"{port.url}/deep") == "from the job /deep"
    assert list(job.ports) == [str(number)]
    assert job.undeclared == []
    with port.forward() as more:
        assert get(more.url) == "from the job /"
    assert job.show_port(number).url == port.url
    job.cancel()
    job.wait(PATIENCE)
    assert port.url is None
    assert job.undeclared == []
    with pytest.raises(ForwardFailed, match="has ended"):
        job.show_port(free_port())
    assert "Traceback" not in "".join(job.logs())


def test_what_changes_no_state_makes_no_newer_record(worker: Worker, submit: Submit) -> None:
    """Whoever follows a job and whoever lists it must agree on what is newer."""
    job, number = serve(submit, worker)
    until(lambda: job.undeclared == [number], "it is offered")
    client = current_client()
    assert job._live.seen > job._live.event
    Store.open().remove([job.id])  # as another machine, which has only the list
    portal.call(partial(client.discover, whole=True))
    listed = Store.open().get(job.id)
    assert (listed.state, listed.event) == ("running", job._live.event)
    job.cancel()
    job.wait(PATIENCE)
    portal.call(partial(client.discover, whole=True))
    assert Store.open().get(job.id).event == job._live.event


def test_nobody_elses_port_is_shown(worker: Worker, submit: Submit) -> None:
    job, number = serve(submit, worker, "127.0.0.2")
    until(lambda: job.undeclared == [number], "it is offered")
    with (
        socket.create_server(("127.0.0.1", number)) as same,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        with pytest.raises(ForwardFailed, match="no process of the job listens there"):
            job.show_port(other.getsockname()[1])
        assert get(job.show_port(number).url) == "from the job /"
        for server in (same, other):
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()
    for wrong in (22, 2202, 70_000, True):
        with pytest.raises(SpecError, match="from 1024 to 65535"):
            job.show_port(wrong)


def test_who_takes_the_port_over_is_not_reached(local: Worker, submit: Submit) -> None:
    job, number = serve(submit, local)
    until(lambda: job.undeclared == [number], "it is offered")
    port = job.show_port(number)
    assert get(port.url) == "from the job /"
    assert get(f"{port.url}/end") == "from the job /end"
    until(lambda: _binds(number), "the job lets go of it")
    with socket.create_server(("127.0.0.1", number)) as other:
        with pytest.raises(httpx.TransportError):
            get(port.url_now)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


def _binds(number: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True
