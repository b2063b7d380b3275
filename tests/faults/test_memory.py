"""A job that the kernel ended for want of memory says so, with the figures that there are."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent.memory import Memory
from tests.agent.rig import Agent, agent
from tests.agent.test_endings import wait_for_log

MIB = 1024 * 1024


class Kernel:
    """The files in which a kernel tells of control groups and their memory."""

    def __init__(self, folder: Path, own: str, *files: str) -> None:
        self.groups, self.proc = folder / "cgroup", folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/cgroup").write_text(own)
        (self.proc / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
        self.events, self.limit, self.peak = files

    def group(self, path: str, limit: str, peak: int | None = None) -> None:
        folder = self.groups / path
        folder.mkdir(parents=True)
        (folder / self.limit).write_text(f"{limit}\n")
        if peak is not None:
            (folder / self.peak).write_text(f"{peak}\n")
        self.count(path, 2)

    def count(self, path: str, kills: int) -> None:
        (self.groups / path / self.events).write_text(f"oom 9\noom_kill {kills}\n")

    def memory(self) -> Memory:
        return Memory(str(self.groups), str(self.proc))


V2 = ("memory.events", "memory.max", "memory.peak")
V1 = ("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")


def test_version_2_tells_the_smallest_limit_above_the_job(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/slice/job\n", *V2)
    kernel.group("slice/job", "max", 63 * MIB)
    kernel.group("slice2", "max")
    (kernel.groups / "slice" / "memory.max").write_text(f"{64 * MIB}\n")
    (kernel.groups / "slice" / "memory.peak").write_text(f"{int(63.5 * MIB)}\n")
    kernel.count("slice", 7)
    memory = kernel.memory()
    assert memory.shortage() is None
    kernel.count("slice/job", 3)
    assert memory.shortage() == "out of memory: used 63.5 MiB of the limit 64.0 MiB"


def test_version_2_before_there_was_a_peak_tells_the_limit(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/job\n", *V2)
    kernel.group("job", str(3 * 1024 * MIB))
    memory = kernel.memory()
    kernel.count("job", 3)
    assert memory.shortage() == "out of memory: its limit is 3.0 GiB"


def test_version_1_has_files_of_other_names(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "4:cpu,memory:/job\n1:name=systemd:/\n0::/\n", *V1)
    kernel.group("memory/job", str(64 * MIB), 64 * MIB)
    memory = kernel.memory()
    kernel.count("memory/job", 3)
    assert memory.shortage() == "out of memory: used 64.0 MiB of the limit 64.0 MiB"


def test_in_a_container_the_files_are_at_the_root_of_the_mount(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/docker/0123\n", *V2)
    kernel.group("", str(64 * MIB), 64 * MIB)
    memory = kernel.memory()
    kernel.count("", 3)
    assert memory.shortage() == "out of memory: used 64.0 MiB of the limit 64.0 MiB"


def test_without_a_group_the_count_of_the_machine_tells(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0::/\n", *V2)
    memory = kernel.memory()
    assert memory.shortage() is None
    (kernel.proc / "vmstat").write_text("oom_kill 4\n")
    assert memory.shortage() == "out of memory: the worker had none left"


def test_a_system_that_tells_nothing_knows_of_no_shortage(tmp_path: Path) -> None:
    assert Memory(str(tmp_path / "no"), str(tmp_path / "nothing")).shortage() is None


# -- a real job


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


@pytest.fixture
def limit() -> Iterator[Path | None]:
    """A control group with a limit of 96 MiB; None where this machine lets nobody make one."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    tops = [("memory" + path, V1[1]) for _, names, path in own if "memory" in names.split(",")]
    tops += [(path.lstrip("/"), V2[1]) for _, names, path in own if not names]
    for top, file in tops:
        group = Path("/sys/fs/cgroup", top, f"chutes-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(96 * MIB))
        except OSError:  # the memory controller is not handed on
            group.rmdir()
            continue
        yield group
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        until_empty(group)
        return
    yield None


def until_empty(group: Path) -> None:
    """Remove a group once the last process in it has ended."""
    while (group / "cgroup.procs").read_text():
        pass
    group.rmdir()


def test_a_job_over_its_limit_is_failed_with_what_it_used(
    worker: Agent, limit: Path | None
) -> None:
    if limit is not None:
        (limit / "cgroup.procs").write_text(str(worker.process.pid))
    # Where there is no limit to be had, the kill is one of ours: the kernel has no figures.
    over = "x = b'x' * (1 << 30)" if limit else "import os; os.kill(os.getpid(), 9)"
    job = worker.start(f"print('begun', flush=True)\n{over}")
    end = worker.end(job)
    worker.close()
    assert end["state"] == "failed"
    if limit is None:
        assert re.search(
            r"signal 9, SIGKILL \(.*ran out of memory; its own peak was ", end["reason"]
        )
    else:
        shown = (
            r"its process was killed by SIGKILL, out of memory: used 9[56]\.\d MiB of the limit "
            r"96\.0 MiB \(its own peak was [1-9]\d\.\d MiB\)"
        )
        assert re.fullmatch(shown, end["reason"]), end["reason"]


def test_a_kill_by_somebody_is_not_called_a_want_of_memory(worker: Agent) -> None:
    job = worker.start("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(300)")
    wait_for_log(worker, job, b"\n")
    os.kill(int(worker.ask("log", job=job, offset=0, limit=100)[1]), signal.SIGKILL)
    reason = worker.end(job)["reason"]
    assert "ended by signal 9, SIGKILL (somebody killed it, or" in reason
    assert "its own peak was" in reason


def test_memory_that_python_could_not_get_is_an_exception_like_any_other(worker: Agent) -> None:
    job = worker.start(
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "x = b'x' * (1 << 30)"
    )
    end = worker.end(job)
    assert (end["state"], end["error"]["type"]) == ("failed", "MemoryError")
