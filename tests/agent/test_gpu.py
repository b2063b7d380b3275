"""What the worker says of itself, asked of a simulated NVML library and of the real machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent import gpu

REPOSITORY = Path(__file__).resolve().parents[2]

# A driver in a few lines: what each call answers is read from the environment.
NVML = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int number(const char *name, int other) {
    const char *text = getenv(name);
    return text ? atoi(text) : other;
}
int nvmlInit_v2(void) { return number("FAKE_INIT", 0); }
int nvmlShutdown(void) { puts("shut down"); fflush(stdout); return 0; }
#ifndef OLD
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = number("FAKE_COUNT", 2);
    return number("FAKE_COUNT_ANSWER", 0);
}
#endif
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(0x7f0000000000ULL + index);  /* a handle is a pointer, and a wide one */
    return (int)index == number("FAKE_LOST", -1) ? 15 : 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    if (((unsigned long long)handle >> 32) != 0x7f00) return 2;
    snprintf(name, length, "FAKE GPU (simulated) %d", (int)((unsigned long long)handle & 0xff));
    return number("FAKE_NAME", 0);
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    memory[0] = 24ULL * 1024 * 1024 * 1024;
    memory[1] = 1; memory[2] = 2;
    return number("FAKE_MEMORY", 0);
}
"""


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a simulated driver library."""
    return build(tmp_path_factory.mktemp("nvml"))


def build(folder: Path, *options: str) -> Path:
    source = folder / "nvml.c"
    source.write_text(NVML)
    library = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", *options, "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return folder


def ask(folder: Path, **environment: object) -> tuple[Any, bool]:
    """Return what a process that finds this library says, and whether it shut it down."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json; from chutes_jupyter.agent import gpu; print(json.dumps(gpu.list_gpus()))",
        ],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(folder),
            **{name: str(value) for name, value in environment.items()},
        },
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]), "shut down" in lines


def fake(number: int, memory_mib: int | None = 24576) -> dict[str, object]:
    return {"name": f"FAKE GPU (simulated) {number}", "memory_mib": memory_mib}


def test_gpus_are_listed_by_name_and_memory(nvml: Path) -> None:
    assert ask(nvml) == ([fake(0), fake(1)], True)


def test_many_gpus_are_all_listed(nvml: Path) -> None:
    assert ask(nvml, FAKE_COUNT=8)[0] == [fake(number) for number in range(8)]


def test_no_gpu_is_an_empty_list(nvml: Path) -> None:
    assert ask(nvml, FAKE_COUNT=0) == ([], True)


def test_without_the_driver_loaded_there_are_none_to_use(nvml: Path) -> None:
    assert ask(nvml, FAKE_INIT=9) == ([], False)


def test_a_driver_that_can_not_count_lists_none(nvml: Path) -> None:
    assert ask(nvml, FAKE_COUNT_ANSWER=999) == ([], True)


def test_a_lost_gpu_is_left_out_and_the_others_are_not(nvml: Path) -> None:
    assert ask(nvml, FAKE_COUNT=3, FAKE_LOST=1) == ([fake(0), fake(2)], True)


@pytest.mark.parametrize("call", ["FAKE_NAME", "FAKE_MEMORY"])
def test_a_gpu_that_does_not_answer_is_left_out(nvml: Path, call: str) -> None:
    assert ask(nvml, **{call: 15}) == ([], True)


def test_a_gpu_that_shares_the_hosts_memory_has_that(nvml: Path) -> None:
    assert ask(nvml, FAKE_MEMORY=3)[0] == [fake(0, gpu.memory_mib()), fake(1, gpu.memory_mib())]


def test_without_the_library_nothing_can_be_said(tmp_path: Path) -> None:
    # The folder's library is found first, and it is none: also where there is a real one.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    assert ask(tmp_path) == (None, False)


def test_a_library_that_lacks_a_function_can_not_say(tmp_path: Path) -> None:
    assert ask(build(tmp_path, "-DOLD")) == (None, True)


def test_the_host_tells_its_processors_memory_and_system() -> None:
    facts = gpu.host_facts()
    assert facts["cpus"] == len(os.sched_getaffinity(0))
    assert facts["platform"] == sys.platform
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    assert 0 < facts["memory_mib"] <= total + 1


def test_a_process_bound_to_one_processor_has_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from chutes_jupyter.agent import gpu; print(gpu.cpu_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("max", "whole"), (str(512 * 1024 * 1024), 512), (str(2**63), "whole")]
)
def test_the_memory_is_no_more_than_the_control_group_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | str
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(text + "\n")
    monkeypatch.setattr(gpu, "MEMORY_LIMITS", (str(tmp_path / "none"), str(limit)))
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)
    assert gpu.memory_mib() == (whole if expected == "whole" else expected)
