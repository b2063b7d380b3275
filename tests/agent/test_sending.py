"""A file's hash at the end of its frames: of what was sent, or the supervisor's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from chutes_jupyter.agent import journal, sending

DATA = b"checkpoint" * 1000


@pytest.fixture
def job(tmp_path: Path) -> journal.JobDir:
    (tmp_path / "jobs").mkdir()
    journal.claim(str(tmp_path), {"id": "a" * 32}, b"", None)
    job = journal.JobDir(str(tmp_path), "a" * 32)
    (Path(job.output) / "big").write_bytes(DATA)
    return job


def list_it(job: journal.JobDir, sha256: str | None, *, later: int = 0) -> None:
    status = (Path(job.output) / "big").stat()
    entry = {"path": "big", "size": len(DATA), "mtime_ns": status.st_mtime_ns + later}
    journal.write_json(job.outputs, {"entries": [{**entry, "sha256": sha256}]})


def sent(job: journal.JobDir) -> tuple[bytes, str]:
    with open(Path(job.output) / "big", "rb", buffering=0) as file:
        *frames, (end, _) = sending.send(file, 0, sending.Listed(job, "big"))
    return b"".join(body for _, body in frames), end["sha256"]


def test_the_listing_s_hash_is_taken(job: journal.JobDir) -> None:
    list_it(job, "f" * 64)
    assert sent(job) == (DATA, "f" * 64)


@pytest.mark.parametrize("listing", ["missing", "not hashed yet", "of another version"])
def test_without_one_in_the_listing_the_file_is_hashed(job: journal.JobDir, listing: str) -> None:
    if listing != "missing":
        late = listing == "of another version"
        list_it(job, "f" * 64 if late else None, later=late)
    assert sent(job) == (DATA, hashlib.sha256(DATA).hexdigest())
