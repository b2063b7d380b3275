"""Ports through the API: how they are, a forward of one, and a tab for one."""

from __future__ import annotations

import httpx
import pytest

from chutes_jupyter.models import Port
from chutes_jupyter.server.client import Api, ApiProblem
from tests.client.rig import Submit, until
from tests.freeport import free_port
from tests.server.rig import Server

PATIENCE = 60.0
WEB = """
import functools, http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the job")
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", job_data["port"]), Page).serve_forever()
"""


def test_a_port_is_listed_forwarded_and_opened_in_a_tab(
    server: Server, api: Api, submit: Submit
) -> None:
    number = free_port()
    job = submit("local", WEB, data={"port": number}, ports=[Port("web", number, "http")])
    ready = until(
        lambda: next((p for p in api.ports(job.id).ports if p.ready), None), "it answers", PATIENCE
    )
    assert (ready.name, ready.port, ready.proto, ready.over) == ("web", number, "http", False)
    assert ready.tab
    assert ready.forward is not None
    assert httpx.get(ready.forward.url, trust_env=False).text == "from the job"
    assert api.job(job.id).ready_ports == ["web"]

    local = free_port()
    opened = api.forward(job.id, "web", port=local, bind="127.0.0.1")
    assert (opened.address, opened.port, opened.warning) == ("127.0.0.1", local, "")
    assert httpx.get(opened.url, trust_env=False).text == "from the job"
    assert [each.port for each in api.ports(job.id).ports[0].forwards] == [local]
    with pytest.raises(ApiProblem, match="forward_failed") as caught:
        api.forward(job.id, "web", port=local, bind="127.0.0.1")
    assert caught.value.status == 409
    assert api.close_forwards(job.id, "web") == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(opened.url, trust_env=False)

    tab = api.tab(job.id, "web", server.origin.replace("127.0.0.1", "localhost"))
    assert tab.kind in ("origin", "path")
    assert tab.url.startswith("http://")
    assert server.token not in tab.url
    assert tab.url not in server.log.read_text()

    api.cancel(job.id)
    until(lambda: not api.job(job.id).live, "it ends", PATIENCE)
    over = api.ports(job.id).ports[0]
    assert (over.over, over.ready, over.forward) == (True, False, None)
    with pytest.raises(ApiProblem, match="forward_failed"):
        api.forward(job.id, "web")
    with pytest.raises(ApiProblem, match="forward_failed"):
        api.tab(job.id, "web", server.origin)


def test_only_what_a_job_declares_is_reached(server: Server, api: Api, submit: Submit) -> None:
    job = submit("local", "import time\ntime.sleep(600)", ack=True)
    for call in (
        lambda: api.tab(job.id, "web", server.origin),
        lambda: api.forward(job.id, "web"),
        lambda: api.close_forwards(job.id, "web"),
    ):
        with pytest.raises(ApiProblem, match="port_not_found") as caught:
            call()
        assert caught.value.status == 404
    assert api.ports(job.id).ports == []


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"port": 0}, "invalid_request"),
        ({"port": 70_000}, "invalid_request"),
        ({"bind": "localhost"}, "spec_error"),
        ({"bind": "not an address"}, "spec_error"),
        ({"host": "127.0.0.1"}, "invalid_request"),
    ],
)
def test_a_wrong_place_is_refused(
    api: Api, submit: Submit, where: dict[str, object], code: str
) -> None:
    job = submit("local", "return 1", ports=[Port("web", free_port(), "http")])
    with pytest.raises(ApiProblem, match=code) as caught:
        api.forward(job.id, "web", **where)
    assert caught.value.status == 400


def test_a_job_without_a_door_says_so(api: Api, submit: Submit) -> None:
    job = submit("local", "import time\ntime.sleep(600)", ack=True)
    with pytest.raises(ApiProblem, match="door_shut") as caught:
        api.ssh(job.id)
    assert caught.value.status == 409


def test_the_command_into_a_job_opens_it(api: Api, submit: Submit) -> None:
    import subprocess

    job = submit("local", "import time\ntime.sleep(600)", ssh=True, ack=True)
    until(lambda: api.job(job.id).state == "running", "it runs", PATIENCE)
    door = api.ssh(job.id)
    done = subprocess.run(
        [*door.words, "echo", "inside"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "inside", done.stderr
    assert door.command.startswith("ssh -F ")


def test_a_port_that_was_not_declared_is_offered_and_shown(
    server: Server, api: Api, submit: Submit
) -> None:
    number, other = free_port(), free_port()
    job = submit("local", WEB, data={"port": number})
    until(lambda: api.ports(job.id).undeclared, "it is offered", PATIENCE)
    (offered,) = api.job(job.id).undeclared
    assert (offered.port, offered.address) == (number, "loopback")
    assert api.ports(job.id).ports == []
    with pytest.raises(ApiProblem, match="port_not_found"):
        api.tab(job.id, str(number), server.origin)  # nobody has asked for it
    for wrong, status, code in (
        (other, 409, "forward_failed"),
        (80, 400, "spec_error"),
        ("web", 404, "port_not_found"),
        ("9" * 30, 404, "port_not_found"),
    ):
        with pytest.raises(ApiProblem, match=code) as caught:
            api.show_port(job.id, wrong)  # type: ignore[arg-type]
        assert caught.value.status == status

    shown = api.show_port(job.id, number)
    assert (shown.name, shown.port, shown.proto, shown.tab) == (str(number), number, "http", True)
    assert api.show_port(job.id, number).name == shown.name
    ready = until(
        lambda: next((p for p in api.ports(job.id).ports if p.ready), None), "it answers", PATIENCE
    )
    assert api.ports(job.id).undeclared == api.job(job.id).undeclared == []
    assert ready.forward is not None
    assert httpx.get(ready.forward.url, trust_env=False).text == "from the job"
    tab = api.tab(job.id, ready.name, server.origin.replace("127.0.0.1", "localhost"))
    assert tab.url.startswith("http://")
    path = api.tab(job.id, ready.name, server.origin, "path")
    assert httpx.get(path.url, trust_env=False).text == "from the job"
    assert any("those of the ports that it declares" in note for note in path.notes)

    api.cancel(job.id)
    until(lambda: not api.job(job.id).live, "it ends", PATIENCE)
    (over,) = api.ports(job.id).ports
    assert (over.over, over.ready, over.forward) == (True, False, None)
    with pytest.raises(ApiProblem, match="forward_failed"):
        api.tab(job.id, ready.name, server.origin)
