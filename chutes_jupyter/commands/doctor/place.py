"""What there is on a worker: Python, the jobs' interpreter, the folder, locks, GPUs, logout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.commands.doctor.report import Report, milliseconds
from chutes_jupyter.commands.gpus import summary
from chutes_jupyter.commands.tables import size
from chutes_jupyter.errors import AgentFailed, RequestRefused, WorkerError
from chutes_jupyter.gpupages import GpuPage
from chutes_jupyter.link import AgentLink
from chutes_jupyter.replies import Checkup, Hello, Info, parse

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import Connection

#: With less room than this jobs soon fill the disk, in bytes; and so many files.
LITTLE_ROOM = 5 * 10**9
_FEW_FILES = 10_000


async def wake(
    connection: Connection, worker: Worker, report: Report
) -> tuple[AgentLink, Hello] | None:
    """Start the agent, which needs a Python and the folder; None where that fails."""
    began = time.perf_counter()
    link = None
    try:
        link = AgentLink(await start_agent(connection, worker), connection.description)
        hello = parse(Hello, (await link.request("hello")).header)
    except WorkerError as error:
        if link is not None:
            await link.aclose()
        lacks = error.lacks if isinstance(error, AgentFailed) else ""
        figures = {"Python": "none that is new enough", "folder": "can't be written"}
        report.bad(lacks or "agent", figures.get(lacks, "does not start"), str(error))
        return None
    took = milliseconds(time.perf_counter() - began)
    report.good("Python", f"{hello.version} ({hello.python}), the agent was ready in {took}")
    return link, hello


async def look_around(link: AgentLink, hello: Hello, worker: Worker, report: Report) -> None:
    """Ask the agent for everything that jobs need; each step stands for itself."""
    info = await _ask_for_interpreter(link, worker, report)
    try:
        found = parse(Checkup, (await link.request("check")).header)
    except WorkerError as error:
        report.bad("folder", "the agent can't look at it", str(error))
    else:
        _say_folder(found, worker, report)
        _say_locks(found, worker, report)
    if info is None:
        return
    if info.logout is None:
        report.good("logout", "jobs go on")
    else:
        report.odd("logout", "ends jobs", info.logout)
    report.good("machine", f"{hello.host}: {_machine(info)}")
    await _say_gpus(link, worker, report)


async def _ask_for_interpreter(link: AgentLink, worker: Worker, report: Report) -> Info | None:
    """Find the interpreter of the worker's jobs; return what else is known of the machine."""
    try:
        reply = await link.request("info", python=worker.python, env=dict(worker.env))
        info = parse(Info, reply.header)
    except RequestRefused as error:
        command = f"{report.prog} worker add {worker.name} --python PATH"
        report.bad(
            "interpreter",
            f"{worker.python} can't be started",
            f"{error}.\nName the Python of its jobs with\n    {command}",
        )
    except WorkerError as error:
        report.bad("interpreter", "the agent does not say", str(error))
        return None
    else:
        found = info.interpreter
        kind = "Python" if found.implementation == "cpython" else found.implementation
        report.good("interpreter", f"{kind} {found.version} ({found.executable}), for jobs")
        return info
    try:
        return parse(Info, (await link.request("info", python=None, env={})).header)
    except WorkerError:
        return None  # was said


def _say_folder(found: Checkup, worker: Worker, report: Report) -> None:
    kind = f" ({found.kind})" if found.kind else ""
    figure = f"{found.path}{kind}, {size(found.free)} of {size(found.total)} free"
    elsewhere = f"Choose another with\n    {report.prog} worker add {worker.name} --dir PATH"
    if found.write_fault is not None:
        report.bad("folder", f"{found.path}{kind}: {found.write_fault}", elsewhere)
    elif found.free < LITTLE_ROOM:
        advice = f"Outputs may fill that soon. Make room (jupyter chute clean). {elsewhere}"
        report.odd("folder", figure, advice)
    elif found.files_free is not None and found.files_free < _FEW_FILES:
        figure += f", but only for {found.files_free} more files"
        report.odd("folder", figure, f"Remove files there. {elsewhere}")
    else:
        report.good("folder", f"{figure}, writable")


def _say_locks(found: Checkup, worker: Worker, report: Report) -> None:
    if found.write_fault is not None:
        return
    if found.lock_fault is None:
        report.good("locks", "one process at a time, as jobs need it")
        return
    report.bad(
        "locks",
        f"do not work in {found.path}: {found.lock_fault}",
        "Jobs would not know whether another one lives. A network disk needs its lock service "
        "(NFS: rpc.statd, and no nolock among its mount options); or take a disk of the machine "
        f"itself with\n    {report.prog} worker add {worker.name} --dir PATH",
    )


def _machine(info: Info) -> str:
    cpus = f"{info.cpus} CPUs" if info.cpus is not None else "CPUs unknown"
    memory = f"{info.memory_mib / 1024:.1f} GiB" if info.memory_mib is not None else "unknown"
    return f"{cpus}, memory {memory}"


async def _say_gpus(link: AgentLink, worker: Worker, report: Report) -> None:
    try:
        page = parse(GpuPage, (await link.request("gpus", env=dict(worker.env))).header)
    except WorkerError as error:
        report.bad("GPUs", "the driver does not answer", str(error))
        return
    if any(gpu.others for gpu in page.gpus or ()):
        advice = "Processes that are of no job use GPUs. Jobs get these last, and are told."
        report.odd("GPUs", summary(page), advice)
    else:
        report.good("GPUs", summary(page))
