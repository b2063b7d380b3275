"""`forward` in a terminal and in a notebook."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from chutes_jupyter.config import Worker
from chutes_jupyter.job import Job
from tests.client.conftest import here, local, own_client, submit
from tests.client.rig import PATIENCE, Submit, until
from tests.client.test_doors import SERVES
from tests.freeport import free_port
from tests.kernel.conftest import notebook
from tests.kernel.notebook import Notebook
from tests.test_cli import Shell, shell
from tests.test_commands import terminal

__all__ = ["here", "local", "notebook", "own_client", "shell", "submit", "terminal"]  # fixtures

pytestmark = pytest.mark.slow


@pytest.fixture
def job(local: Worker, submit: Submit) -> Job:
    number, udp = free_port(), free_port()
    ports = (
        {"name": "web", "port": number, "proto": "http"},
        {"name": "dns", "port": udp, "proto": "udp"},
    )
    return submit(local, SERVES, ports=ports, data={"port": number}, ack=True)


def page(text: str) -> str:
    url = re.search(r"http://\S+", text)
    assert url, text
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        return client.get(url[0]).text


def gone(text: str) -> bool:
    try:
        return page(text) == ""
    except httpx.ConnectError:
        return True


def test_in_a_terminal_it_stays_until_ctrl_c(job: Job, shell: Shell) -> None:
    number = free_port()
    running = shell.start("forward", job.label, "web", str(number), "--bind", "127.0.0.1")
    line = running.stdout.readline()
    assert line.startswith(f"http://127.0.0.1:{number} leads to web of {job.label}.")
    assert page(line) == "page /"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, err) == (130, "")
    assert f"{job.label} goes on" in out
    assert gone(line)
    assert not job.done()


def test_in_a_terminal_it_ends_with_the_job(job: Job, shell: Shell) -> None:
    running = shell.start("forward", job.label, "web", "--bind", "0.0.0.0")
    lines = [running.stdout.readline(), running.stdout.readline()]
    assert "without any login" in lines[1]
    assert page(lines[0]) == "page /"
    job.cancel()
    out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, err) == (0, "")
    assert f"{job.label} cancelled." in out


def test_in_a_terminal_datagrams_pass_and_what_was_dropped_is_told(job: Job, shell: Shell) -> None:
    running = shell.start("forward", job.label, "dns")
    line = running.stdout.readline()
    host, number = re.match(r"udp://([\d.]+):(\d+) leads to dns", line).groups()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(3):
            sock.sendto(b"nobody listens there", (host, int(number)))
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=PATIENCE)
    assert "Datagrams dropped: 3 on the way up, 0 down." in out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["nope"], 2, "has no port of that name; it has: web, dns"),
        (["web", "0"], 2, "from 1 to 65535"),
        (["web", "http"], 2, "from 1 to 65535"),
        (["web", "--bind", "localhost"], 2, "not a name"),
        (["web", "--bind", "192.0.2.1"], 1, "no address of this machine"),
    ],
)
def test_what_can_not_be_is_said_shortly(job: Job, shell: Shell, words, status, says) -> None:
    assert says in shell("forward", job.label, *words, status=status)


def test_in_a_notebook_it_stays_in_the_kernel(notebook: Notebook, tmp_path: Path) -> None:
    number = free_port()
    notebook.run(f"%%chute_job web --port web:{number}/http --run port={number} -o job\n{SERVES}")
    label = notebook.run("print(job.label)").stdout.strip()
    said = notebook.run(f"%chute forward {label} web").stdout
    assert f"leads to web of {label}." in said
    assert f"%chute forward {label} web --close" in said
    assert page(said) == "page /"
    assert notebook.run(f"%chute forward {label} web --close").stdout == (
        "Closed 1 forward of web.\n"
    )
    until(lambda: gone(said), "it is closed")
    notebook.run("job.cancel()\njob.wait()")


def test_a_port_that_was_not_declared_is_opened_by_its_number(
    local: Worker, submit: Submit, shell: Shell
) -> None:
    number = free_port()
    job = submit(local, SERVES, data={"port": number}, ack=True)
    until(lambda: job.undeclared == [number], "it is offered")
    running = shell.start("forward", job.label, str(number))
    line = running.stdout.readline()
    assert re.match(rf"http://\S+ leads to {number} of {job.label}\.", line)
    assert page(line) == "page /"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, err) == (130, "")
    said = shell("forward", job.label, str(free_port()), status=1)
    assert "no process of the job listens there" in said
