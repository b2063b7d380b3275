"""What a machine with an NVIDIA GPU and PyTorch proves: `python -m tests.real_gpu`.

No test collects this: most machines have no GPU, and a simulated driver library stands in for
theirs everywhere else. Here the driver, its processes and the memory of the card are real.
Each check prints what it found; the exit status is the number of those that failed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.job import Job, close_client
from chutes_jupyter.readings import Usage
from tests.client.rig import start, until

MINUTE = 30.0
_jobs: list[Job] = []
#: Takes 2 GiB of the card and keeps it, until the word to stop.
KEEP = """
import os, torch
kept = torch.zeros(2 * 2**30, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
open(os.path.join(job_data["output_dir"], "pid"), "w").write(str(os.getpid()))
print("kept", flush=True)
await self.cancel_event.wait()
return "told"
"""
#: Never awaits, never looks at the event: the card computes all the time.
DEAF = """
import torch
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
print("computes", flush=True)
while True:
    a = (a @ a).clamp(-1, 1)
    torch.cuda.synchronize()
"""
#: Two processes of a job on the card: a data loader's worker, a trainer started by another.
FAMILY = """
import subprocess, sys, torch
code = (
    "import torch, time; kept = torch.zeros(2**30, dtype=torch.uint8, device='cuda');"
    "torch.cuda.synchronize(); print('child', flush=True); time.sleep(3600)"
)
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
kept = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
await self.cancel_event.wait()
"""
VALUES = """
import cupy, jax, torch
model = torch.nn.Linear(4, 2).cuda()
return {
    "seen": (torch.cuda.is_available(), torch.cuda.device_count(), torch.cuda.get_device_name(0)),
    "on the card": torch.arange(6, device="cuda", dtype=torch.float32).reshape(2, 3),
    "half": torch.ones(3, device="cuda", dtype=torch.bfloat16),
    "cupy": cupy.arange(4),
    "jax": jax.numpy.arange(4),
    "weights": {name: each.detach() for name, each in model.state_dict().items()},
}
"""
TOO_MUCH = """
import torch
torch.zeros(2**50, dtype=torch.uint8, device="cuda")
"""
HIDDEN = "import torch; return torch.cuda.is_available(), torch.cuda.device_count()"


def asked() -> list[dict[str, Any]] | None:
    """Ask in a process that no library of a GPU was ever loaded in: it does not survive a fork."""
    code = "import json; from chutes_jupyter.agent import gpu; print(json.dumps(gpu.ask()))"
    told: list[dict[str, Any]] | None = json.loads(
        subprocess.check_output([sys.executable, "-c", code])
    )
    return told


def first_gpu() -> dict[str, Any]:
    gpus = asked()
    assert gpus, f"no GPU here: the driver's library says {gpus}"
    return dict(gpus[0])


def on_card() -> dict[int, int | None]:
    """Return the memory, in MiB, of each process on the first card."""
    return {each["pid"]: each["used_mib"] for each in first_gpu()["processes"]}


def verb(*words: str) -> str:
    text: list[str] = []
    execute(words, Surroundings(text.append))
    return "".join(text)


def submit(source: str, **options: Any) -> Job:
    job = start("local", source, **{"gpus": 1, **options})
    _jobs.append(job)
    return job


def said(job: Job, word: str) -> None:
    until(lambda: job.done() or word in job.logs(), f"{word!r} in the log", MINUTE)
    assert not job.done(), f"{job!r}\n{job.logs()}"


def ended(job: Job, state: str) -> None:
    job.wait(MINUTE)
    assert job.state == state, f"{job!r}\n{job.logs()}"


def pid_of(job: Job) -> int | None:
    file = job.output_dir / "pid"
    return int(file.read_text()) if file.exists() else None


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def the_driver_answers() -> str:
    gpu = first_gpu()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        asked()
        took.append(time.perf_counter() - began)
    assert gpu["uuid"].startswith("GPU-")
    assert 0 < gpu["free_mib"] <= gpu["memory_mib"]
    middle = statistics.median(took) * 1000
    return f"{gpu}; {middle:.0f} ms a question, with the start of Python; at most {max(took):.2f} s"


def a_job_has_the_card_to_itself() -> str:
    gpu = first_gpu()
    job = submit(
        "import os; return os.environ['CUDA_VISIBLE_DEVICES'], os.environ['CUDA_DEVICE_ORDER']"
        " if 'CUDA_DEVICE_ORDER' in os.environ else None"
    )
    seen = job.result(MINUTE)
    assert seen[0] == gpu["uuid"], seen
    return f"{seen}, {job.gpus}"


def values_of_the_card_come_back() -> str:
    value = submit(VALUES).result(2 * MINUTE)
    assert value["seen"][:2] == (True, 1), value["seen"]
    assert value["on the card"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert value["half"].tolist() == [1, 1, 1]
    assert value["on the card"].device.type == "cpu"
    assert value["cupy"].tolist() == value["jax"].tolist() == [0, 1, 2, 3]
    assert sorted(value["weights"]) == ["bias", "weight"]
    return f"{value['seen'][2]}; {value}"


def jobs_stand_in_line() -> str:
    first = submit(KEEP)
    said(first, "kept")
    second = submit(KEEP)
    until(lambda: second.reason == "waiting for 1 GPU, next in line", f"waits: {second!r}", MINUTE)
    pid = until(lambda: pid_of(first), "its process is known", MINUTE)
    shown = verb("worker", "list")
    assert first.label in shown, shown
    used = on_card()
    assert (used.get(pid) or 0) >= 2048, (pid, used)
    first.cancel()
    ended(first, "cancelled")
    said(second, "kept")
    second.cancel()
    ended(second, "cancelled")
    until(lambda: not on_card(), "nobody is on the card", MINUTE)
    return f"on the card {used} (the job is {pid})\n{shown}"


def a_computing_job_is_cancelled() -> str:
    job = submit(DEAF)
    said(job, "computes")
    began = time.monotonic()
    job.cancel()
    ended(job, "cancelled")
    took = time.monotonic() - began
    until(lambda: not on_card(), "nobody is on the card", MINUTE)
    return f"in {took:.1f} s with a grace of 0.5 s"


def a_timeout_frees_the_card_of_all_its_processes() -> str:
    job = submit(FAMILY, timeout=25)
    said(job, "child")
    both = on_card()
    ended(job, "timed_out")
    until(lambda: not on_card(), "nobody is on the card", MINUTE)
    assert len(both) == 2, both
    return f"two processes with {both} MiB, none afterwards"


def a_killed_job_frees_the_card() -> str:
    job = submit(KEEP)
    said(job, "kept")
    (pid,) = on_card()
    os.kill(pid, signal.SIGKILL)
    ended(job, "failed")
    until(lambda: not on_card(), "nobody is on the card", MINUTE)
    return str(job.reason)


def a_killed_supervisor_frees_the_card() -> str:
    job = submit(KEEP)
    said(job, "kept")
    second = submit(HIDDEN)
    (pid,) = on_card()
    os.kill(parent_of(pid), signal.SIGKILL)
    job.wait(MINUTE)
    until(lambda: not on_card(), "nobody is on the card", MINUTE)
    assert second.result(MINUTE) == (True, 1)
    return f"{job.state}: {job.reason}"


def too_much_memory_is_an_error_that_says_so() -> str:
    job = submit(TOO_MUCH)
    ended(job, "failed")
    with pytest.raises(Exception, match="out of memory") as caught:
        job.result(MINUTE)
    return f"{type(caught.value)}: {str(caught.value).splitlines()[0]}"


def no_gpu_means_none() -> str:
    assert submit(HIDDEN, gpus=0).result(MINUTE) == (False, 0)
    assert submit(HIDDEN, gpus=None).result(MINUTE)[0] is True
    return "--gpus 0 hides the card; without --gpus nothing is touched"


def too_many_are_refused() -> str:
    job = submit(HIDDEN, gpus=2)
    ended(job, "failed")
    return str(job.reason)


@contextlib.contextmanager
def somebody_else() -> Iterator[int]:
    """Have 1 GiB of the card in a process that belongs to no job."""
    code = (
        "import torch, sys; kept = torch.zeros(2**30, dtype=torch.uint8, device='cuda');"
        "torch.cuda.synchronize(); print('there', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        yield other.pid
    finally:
        other.kill()
        other.wait()


def others_on_the_card_are_told() -> str:
    with somebody_else() as pid:
        report = verb("worker", "test", "local")
    assert str(pid) in report, report
    return "\n" + report


def what_a_job_uses_is_told_apart() -> str:
    with somebody_else():
        job = submit(DEAF)
        said(job, "computes")

        def busy() -> Usage | None:
            found = [
                each for each in job.usage if each.gpus and (each.gpus[0].utilisation or 0) > 50
            ]
            return found[3] if len(found) > 3 else None

        usage: Usage = until(busy, f"the card is busy: {job.usage}", MINUTE)
        (gpu,) = usage.gpus
        assert gpu.uuid == first_gpu()["uuid"]
        assert gpu.memory_mib is not None
        assert gpu.own_memory_mib is not None
        assert 256 < gpu.own_memory_mib < gpu.memory_mib - 1024, gpu
    apart = [later.at - one.at for one, later in itertools.pairwise(job.usage)]
    return f"{usage}; samples {statistics.median(apart):.2f} s apart"


def clear() -> None:
    """End what a check that failed has left: the next ones need the card."""
    while _jobs:
        job = _jobs.pop()
        if not job.done():
            job.cancel()
            job.wait(MINUTE)


CHECKS: tuple[Callable[[], str], ...] = (
    the_driver_answers,
    a_job_has_the_card_to_itself,
    values_of_the_card_come_back,
    jobs_stand_in_line,
    a_computing_job_is_cancelled,
    a_timeout_frees_the_card_of_all_its_processes,
    a_killed_job_frees_the_card,
    a_killed_supervisor_frees_the_card,
    too_much_memory_is_an_error_that_says_so,
    no_gpu_means_none,
    too_many_are_refused,
    others_on_the_card_are_told,
    what_a_job_uses_is_told_apart,
)


def main(names: list[str]) -> int:
    """Run the checks of these names, or all, in a home of their own; return how many failed."""
    failed = 0
    checks = [check for check in CHECKS if not names or check.__name__ in names]
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, CHUTES_GPU_LOCKS=f"{home}/locks")
        os.mkdir(f"{home}/locks", 0o700)
        os.chdir(home)
        for check in checks:
            began = time.monotonic()
            try:
                told = f"ok      {check.__name__}: {check()}"
            except Exception:  # whatever a check meets is its outcome
                failed += 1
                told = f"FAILED  {check.__name__}:\n{traceback.format_exc()}"
            clear()
            print(f"{told} [{time.monotonic() - began:.1f} s]", flush=True)
        close_client()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
