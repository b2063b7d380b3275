"""Outputs: what a job leaves is what is here, while it runs and at the end."""

from __future__ import annotations

import os
from pathlib import Path

from chutes_jupyter.config import Settings, Worker
from chutes_jupyter.job import Job
from tests.client.rig import PATIENCE, Submit, until

OVER_OPENSSH = True


def files_here(job: Job) -> dict[str, bytes]:
    return {
        path.relative_to(job.output_dir).as_posix(): path.read_bytes()
        for path in job.output_dir.rglob("*")
        if path.is_file()
    }


TRICKY = r"""
import os, socket
out = job_data["output_dir"]
os.chdir(out)
names = ["with space", "-dash", "new\nline", "tab\tand'quote\"", "grün €", ".hidden", "..dots",
         "a\\b", "x" * 255, "%41", "$HOME", "deep/er/and/deeper.txt", "CON", "end. "]
for name in names:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write(name)
open("empty", "w").close()
os.symlink("with space", "inside")
os.symlink("/etc/passwd", "outside")
os.symlink("..", "up")
os.symlink("deep", "folder")
os.symlink("nothing", "dangling")
os.mkfifo("fifo")
sock = socket.socket(socket.AF_UNIX); sock.bind("socket")
open(b"not\xffutf8", "w").write("x")
os.mkdir("emptyfolder")
return names
"""


def test_tricky_names_come_whole_or_are_reported(worker: Worker, submit: Submit) -> None:
    job = submit(worker, TRICKY)
    names = job.result(PATIENCE)
    expected = {name: name.encode() for name in names}
    expected |= {"empty": b"", "inside": b"with space"}
    assert files_here(job) == expected
    assert not any(path.is_symlink() for path in job.output_dir.rglob("*"))
    notices = "\n".join(job.notices)
    for name, why in {
        "outside": "leaves",
        "up": "leaves",
        "folder": "link to a folder",
        "dangling": "link to nothing",
        "fifo": "a fifo",
        "socket": "a socket",
    }.items():
        assert f"output {name!r} was not brought: " in notices
        assert why in notices
    assert "not UTF-8" in notices
    outside = {path.name for path in job.output_dir.parent.iterdir()}
    assert outside == {".chute", job.output_dir.name}


CHANGES = """
import os, time
out = job_data["output_dir"]
def write(name, text):
    with open(os.path.join(out, name), "w") as file:
        file.write(text)
write("kept", "first")
write("removed", "soon gone")
write("becomes_folder", "a file")
os.mkdir(out + "/becomes_file"); write("becomes_file/inner", "x")
while not os.path.exists(job_data["gate"]):
    time.sleep(0.05)
write("kept", "other")
os.remove(out + "/removed")
os.remove(out + "/becomes_folder"); os.mkdir(out + "/becomes_folder")
write("becomes_folder/inner", "y")
os.remove(out + "/becomes_file/inner"); os.rmdir(out + "/becomes_file")
write("becomes_file", "a file")
"""


def test_files_come_while_the_job_runs_and_follow_its_changes(
    worker: Worker, submit: Submit, tmp_path: Path
) -> None:
    gate = Path("/tmp") / f"gate-{os.getpid()}-{tmp_path.name}-{worker.name}"
    job = submit(worker, CHANGES, data={"gate": str(gate)})
    try:
        first = ("kept", "removed", "becomes_folder", "becomes_file/inner")
        until(lambda: all((job.output_dir / name).is_file() for name in first), "quiet files come")
        assert not job.done()
        (job.output_dir / "notes.txt").write_text("the person's own")
        gate.touch()
        job.result(PATIENCE)
    finally:
        gate.unlink(missing_ok=True)
    assert files_here(job) == {
        "kept": b"other",
        "becomes_folder/inner": b"y",
        "becomes_file": b"a file",
        "notes.txt": b"the person's own",
    }


def test_a_big_file_and_many_small_ones(worker: Worker, submit: Submit) -> None:
    job = submit(
        worker,
        "import os\nout = job_data['output_dir']\n"
        "open(out + '/big', 'wb').write(os.urandom(1 << 20) * 40)\n"
        "for n in range(500): open(f'{out}/{n}', 'w').write(str(n))\n"
        "import hashlib; return hashlib.sha256(open(out + '/big', 'rb').read()).hexdigest()",
    )
    digest = job.result(PATIENCE)
    listed = {file.path: file for file in job.files}
    assert len(listed) == 501
    assert listed["big"].sha256 == digest
    assert {file.state for file in listed.values()} == {"here"}
    assert all((job.output_dir / str(n)).read_text() == str(n) for n in range(500))


def test_past_the_limit_it_stops_and_goes_on_when_told(
    local: Worker, submit: Submit, home: Path
) -> None:
    from chutes_jupyter.config import config_file

    with config_file().open("a") as file:
        file.write("[settings]\nmirror_limit_gb = 0.001\noutputs = 'brought'\n")
    assert Settings.load().mirror_limit == 1_000_000
    job = submit(
        local,
        "out = job_data['output_dir']\nopen(out + '/big', 'wb').write(bytes(2_000_000))\n"
        "open(out + '/small', 'w').write('fits')\nreturn 'value'",
    )
    assert job.result(PATIENCE) == "value"
    assert job.mirror.state == "stopped"
    assert "mirror_limit_gb" in str(job.mirror.reason)
    assert files_here(job) == {"small": b"fits"}
    assert job.output_dir.parent.name == "brought"
    job.mirror.resume()
    job.wait(PATIENCE)
    assert job.mirror.state == "complete"
    assert files_here(job) == {"small": b"fits", "big": bytes(2_000_000)}


def test_what_the_person_deleted_is_not_brought_again_unless_asked(
    local: Worker, submit: Submit
) -> None:
    from chutes_jupyter import job as jobs_module

    job = submit(local, "open(job_data['output_dir'] + '/model', 'w').write('weights')")
    job.wait(PATIENCE)
    (job.output_dir / "model").unlink()
    jobs_module.close_client()
    again = jobs_module.attach(job.id)
    again.wait(PATIENCE)
    assert not (again.output_dir / "model").exists()
    assert [file.state for file in again.files] == ["worker"]
    again.mirror.resume()
    again.wait(PATIENCE)
    assert (again.output_dir / "model").read_text() == "weights"


def test_a_folder_of_another_job_is_left_alone(local: Worker, submit: Submit, here: Path) -> None:
    job = submit(local, "import time; time.sleep(0.5)\nopen(job_data['output_dir'] + '/a', 'w')")
    taken = here / "chute_outputs" / job.label
    taken.mkdir(parents=True)
    (taken / "other").write_text("another job's")
    job.wait(PATIENCE)
    assert job.output_dir.name == f"job-{job.id[:12]}"
    assert [path.name for path in taken.iterdir()] == ["other"]
