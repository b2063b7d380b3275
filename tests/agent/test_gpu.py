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
from tests.nvml import build

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a simulated driver library."""
    return build(tmp_path_factory.mktemp("nvml"))


def ask(folder: Path, call: str = "list_gpus()", **environment: object) -> tuple[Any, bool]:
    """Return what a process that finds this library says, and whether it shut it down."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; from chutes_jupyter.agent import gpu\nprint(json.dumps(gpu.{call}))",
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


def fake(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": "FAKE GPU (simulated)",
        "memory_mib": 24576,
        "free_mib": 24000,
        "uuid": f"GPU-{number:08x}",
        "index": number,
        "mig": False,
        "processes": [],
        **changes,
    }


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
    own = {"memory_mib": gpu.memory_mib(), "free_mib": None}
    assert ask(nvml, FAKE_MEMORY=3)[0] == [fake(0, **own), fake(1, **own)]


def test_without_the_library_nothing_can_be_said(tmp_path: Path) -> None:
    # The folder's library is found first, and it is none: also where there is a real one.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    assert ask(tmp_path) == (None, False)


def test_a_library_that_lacks_a_function_can_not_say(tmp_path: Path) -> None:
    assert ask(build(tmp_path, "-DOLD")) == (None, True)


@pytest.mark.parametrize("options", [(), ("-DFIRST",)], ids=["newest", "first"])
def test_the_processes_of_a_gpu_are_told(tmp_path: Path, options: tuple[str, ...]) -> None:
    state = tmp_path / "state"
    many = " ".join(f"{pid} 3" for pid in range(1000, 1300))
    state.write_text(f"GPU-a 1000 900 0 17 60 18 0\nGPU-b 1000 900 1\nGPU-c 1000 100 0 {many}\n")
    first, second, third = ask(build(tmp_path / "nvml", *options), FAKE_NVML=state)[0]
    assert first["processes"] == [{"pid": 17, "used_mib": 60}, {"pid": 18, "used_mib": None}]
    assert (first["mig"], second["mig"], second["processes"]) == (False, True, [])
    assert third["processes"] == [{"pid": pid, "used_mib": 3} for pid in range(1000, 1300)]


def test_a_library_that_lacks_newer_functions_tells_the_rest(tmp_path: Path) -> None:
    assert ask(build(tmp_path, "-DBARE"))[0] == [fake(0, uuid=None), fake(1, uuid=None)]


def test_a_gpu_that_can_not_be_split_is_whole(nvml: Path) -> None:
    assert ask(nvml, FAKE_MIG=3)[0] == [fake(0), fake(1)]


def test_a_process_of_its_own_asks_the_driver(nvml: Path) -> None:
    assert ask(nvml, "ask()") == ([fake(0), fake(1)], False)
    assert ask(nvml, "ask(1)", FAKE_INIT=9) == ([], False)


@pytest.mark.parametrize(
    ("fault", "words"), [("FAKE_HANG", "did not answer within 1 s"), ("FAKE_CRASH", "crashed")]
)
def test_a_driver_that_hangs_or_crashes_takes_nobody_with_it(
    nvml: Path, fault: str, words: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        ask(nvml, "ask(1)", **{fault: 1})
    assert words in caught.value.stderr


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
