"""What the agent finds out about its own folder, on the oldest and the newest Python."""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from chutes_jupyter.agent import checkup, wire
from tests import interpreters
from tests.agent.rig import agent


@pytest.mark.parametrize("age", ["oldest", "newest"])
def test_a_checkup_and_the_clock(tmp_path: Path, age: str) -> None:
    root = tmp_path / "root"
    with agent(root, str(getattr(interpreters, age)())) as worker:
        found, _ = worker.ask("check")
        assert found["ok"], found
        assert found["path"] == str(root)
        assert (found["write_fault"], found["lock_fault"]) == (None, None)
        facts = os.statvfs(root)
        assert found["total"] == facts.f_blocks * facts.f_frsize
        assert 0 < found["free"] < found["total"]
        ping, _ = worker.ask("ping", b"x" * 100_000)
        assert abs(ping["time"] - time.time()) < 5
    assert [each for each in os.listdir(root) if each.startswith(".check")] == []


def test_bytes_are_sent_as_many_as_asked_for_and_as_a_frame_takes(tmp_path: Path) -> None:
    with agent(tmp_path / "root") as worker:
        for asked, sent in ((300_000, 300_000), (0, 0), (-1, 0), (10**12, wire.MAX_BODY)):
            assert len(worker.ask("noise", size=asked)[1]) == sent
        body = worker.ask("noise", size=300_000)[1]
        assert len(zlib.compress(body)) > len(body)


def test_the_kind_of_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    command = ["df", "--output=fstype", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert checkup.file_system(str(tmp_path)) == told.stdout.split()[-1]
    table = tmp_path / "mounts"
    lines = [
        "1 0 8:1 / / rw - ext4 /dev/a rw",
        "2 1 0:3 / /data rw,x shared:1 - nfs4 server:/export rw",
        r"3 1 0:4 / /data/my\\040disk rw - xfs /dev/b rw".replace("\\\\", "\\"),
    ]
    table.write_text("\n".join(lines) + "\n")
    kinds = {
        path: checkup.file_system(path, str(table))
        for path in ("/", "/database", "/data", "/data/x", "/data/my disk/y")
    }
    assert list(kinds.values()) == ["ext4", "ext4", "nfs4", "nfs4", "xfs"]
    assert checkup.file_system("/", str(tmp_path / "missing")) is None


def test_a_folder_that_is_gone_is_a_write_fault(tmp_path: Path) -> None:
    assert checkup.write_fault(str(tmp_path / "gone")) == "No such file or directory"


def test_a_lock_that_nobody_answers_for_is_given_up(tmp_path: Path) -> None:
    # No patience at all: no child answers so quickly.
    began = time.monotonic()
    assert "no answer within" in (checkup.lock_fault(str(tmp_path), 0.0) or "")
    assert time.monotonic() - began < 5
    assert [each for each in os.listdir(tmp_path) if each.startswith(".check")] == []
