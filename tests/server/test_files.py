"""Outputs through the API: listed, looked at, saved in part and whole, brought here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chutes_jupyter.config import config_file
from chutes_jupyter.job import Job
from chutes_jupyter.server.client import Api, ApiProblem
from chutes_jupyter.server.openapi import BASE
from tests.client.rig import Submit, until
from tests.server.rig import Server, waits_for

PATIENCE = 60.0
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Ti", "tle"]},
        {
            "cell_type": "code",
            "source": "1 + 1",
            "outputs": [
                {"output_type": "stream", "text": ["a\n", "b\n"]},
                {
                    "output_type": "display_data",
                    "data": {"text/html": "<script>", "text/plain": "2"},
                },
                {"output_type": "error", "ename": "ValueError", "evalue": "no"},
            ],
        },
    ]
}
FILES: dict[str, bytes] = {
    "page.html": b"<script>alert(1)</script>",
    "pic.png": PNG,
    "pic.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
    "data/table.csv": b"a;b\n1;2\n3;4\n",
    "data/t.tsv": b"a\tb\n1,5\t2\n",
    "doc.json": b'{"b": [1, 2]}',
    "broken.json": b'{"b": [1, 2',
    "nb.ipynb": json.dumps(NOTEBOOK).encode(),
    "noise.bin": bytes(range(256)) * 10,
    "latin.txt": "größer".encode("latin-1") * 20,
    "empty.txt": b"",
    "big.txt": b"0123456789abcdef" * 50_000,
    "sound.wav": b"RIFFxxxx",
    'we ird "ü\n#?%2f.txt': b"odd",
}


@pytest.fixture(scope="module")
def cell(place: Path) -> str:
    """Lines that write all of them."""
    source = place / "files.json"
    source.write_text(json.dumps({name: data.hex() for name, data in FILES.items()}))
    return (
        "import json, os\n"
        f"for name, data in json.load(open({str(source)!r})).items():\n"
        "    path = os.path.join(job_data['output_dir'], name)\n"
        "    os.makedirs(os.path.dirname(path), exist_ok=True)\n"
        "    open(path, 'wb').write(bytes.fromhex(data))\n"
    )


def saved(server: Server, job: str, path: str, method: str = "GET", **headers: str):
    return httpx.request(
        method,
        f"{server.url.rstrip('/')}{BASE}/jobs/{job}/files/content",
        params={"path": path},
        headers={"Authorization": f"token {server.token}", **headers},
        trust_env=False,
        timeout=60,
    )


def written(api: Api, job: Job, count: int) -> None:
    until(lambda: api.files(job.id).total == count, "all files are listed", PATIENCE)


@pytest.fixture
def nothing_is_brought() -> Iterator[None]:
    """A limit of outputs under which nothing comes here by itself."""
    file = config_file()
    before = file.read_text()
    file.write_text("[settings]\nmirror_limit_gb = 1e-9\n\n" + before)
    yield
    file.write_text(before)


def test_files_are_looked_at_while_the_job_runs_and_none_is_here(
    nothing_is_brought: None, server: Server, api: Api, submit: Submit, cell: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit("local", cell + waits_for(go))
    written(api, job, len(FILES))
    listed = api.files(job.id)
    assert [each.path for each in listed.files] == sorted(FILES)
    assert {each.path: each.size for each in listed.files} == {k: len(v) for k, v in FILES.items()}
    assert {each.state for each in listed.files if each.size > 1} == {"worker"}
    assert listed.confirmed
    assert not listed.final
    assert [each.path for each in api.files(job.id, text="DATA/", limit=1, offset=1).files] == [
        "data/table.csv"
    ]

    look = {path: api.preview(job.id, path) for path in FILES}
    assert {each.source for each in look.values() if each.size} == {"worker"}
    assert {path: each.kind for path, each in look.items()} == {
        "page.html": "text",
        "pic.png": "image",
        "pic.svg": "text",
        "data/table.csv": "table",
        "data/t.tsv": "table",
        "doc.json": "json",
        "broken.json": "text",
        "nb.ipynb": "notebook",
        "noise.bin": "binary",
        "latin.txt": "text",
        "empty.txt": "empty",
        "big.txt": "text",
        "sound.wav": "audio",
        'we ird "ü\n#?%2f.txt': "text",
    }
    assert look["page.html"].text == "<script>alert(1)</script>"
    assert look["data/table.csv"].table == [["a", "b"], ["1", "2"], ["3", "4"]]
    assert look["data/t.tsv"].table == [["a", "b"], ["1,5", "2"]]
    assert look["doc.json"].text == '{\n  "b": [\n    1,\n    2\n  ]\n}'
    first, second = look["nb.ipynb"].notebook or []
    assert (first.kind, first.source) == ("markdown", "# Title")
    assert second.outputs == ["a\nb\n", "[text/html]\n2", "ValueError: no"]
    big = look["big.txt"]
    assert big.cut
    assert len(big.text or "") == 256 * 1024
    assert api.preview(job.id, "data/table.csv", rows=1).cut

    for path, data in FILES.items():
        assert saved(server, job.id, path).content == data
    part = saved(server, job.id, "big.txt", Range="bytes=799990-")
    assert (part.status_code, part.content) == (206, FILES["big.txt"][-10:])
    go.touch()
    job.wait(PATIENCE)
    assert job.mirror.state == "stopped"
    # Whoever asks for all of it knows how much that is.
    assert api.fetch(job.id).files == []
    until(lambda: api.files(job.id).here == len(FILES), "all are here", PATIENCE)
    for path, data in FILES.items():
        assert (job.output_dir / path).read_bytes() == data


def test_a_file_is_saved_whole_in_part_and_never_as_a_page(
    server: Server, api: Api, submit: Submit, cell: str
) -> None:
    job = submit("local", cell)
    job.wait(PATIENCE)
    assert {each.state for each in api.files(job.id).files} == {"here"}
    big = FILES["big.txt"]
    whole = saved(server, job.id, "big.txt")
    assert whole.content == big
    assert whole.headers["Content-Length"] == str(len(big))
    assert whole.headers["Accept-Ranges"] == "bytes"
    mark = whole.headers["ETag"]
    for text, begin, end in (
        ("0-9", 0, 10),
        ("799990-", 799_990, 800_000),
        ("-5", 799_995, 800_000),
    ):
        part = saved(server, job.id, "big.txt", Range=f"bytes={text}")
        assert part.status_code == 206
        assert part.content == big[begin:end]
        assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(big)}"
    assert saved(server, job.id, "big.txt", Range="bytes=5-900000").content == big[5:]
    beyond = saved(server, job.id, "big.txt", Range="bytes=800000-")
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == "bytes */800000"
    assert saved(server, job.id, "big.txt", Range="bytes=0-1,5-6").content == big
    changed = saved(server, job.id, "big.txt", **{"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, big)
    assert saved(server, job.id, "big.txt", **{"If-None-Match": mark}).status_code == 304
    head = saved(server, job.id, "big.txt", "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(big))
    assert saved(server, job.id, "empty.txt").content == b""

    for path in FILES:
        answer = saved(server, job.id, path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
        assert "script" not in answer.headers["Content-Security-Policy"]
        shown = path in ("pic.png", "sound.wav")
        disposition = answer.headers.get("Content-Disposition", "")
        assert disposition.startswith("" if shown else "attachment")
        assert bool(disposition) != shown
        kinds = {"pic.png": "image/png", "sound.wav": "audio/wav"}
        assert answer.headers["Content-Type"] == kinds.get(path, "application/octet-stream")
    where = api.preview(job.id, "pic.png").content
    assert where is not None
    picture = httpx.get(
        server.url + where, headers={"Authorization": f"token {server.token}"}, trust_env=False
    )
    assert picture.content == PNG
    again = httpx.get(
        f"{server.url}{where}&download=true",
        headers={"Authorization": f"token {server.token}"},
        trust_env=False,
    )
    assert again.headers["Content-Disposition"].startswith("attachment")


ELSEWHERE = ("../../etc/passwd", "/etc/passwd", "a/../../b", "./x", "a//b", "nul\0", "..", "none")


def test_no_path_leads_elsewhere(server: Server, api: Api, one_file: Job) -> None:
    for path in ELSEWHERE:
        leads_nowhere(server, api, one_file, path)


def leads_nowhere(server: Server, api: Api, one_file: Job, path: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        api.preview(one_file.id, path)
    assert caught.value.status in (404, 409)
    (brought,) = api.fetch(one_file.id, path).files
    assert brought.problem is not None
    assert not brought.here
    answer = saved(server, one_file.id, path)
    assert answer.status_code in (404, 409)
    assert "root:" not in answer.text


@pytest.fixture
def one_file(submit: Submit) -> Job:
    job = submit("local", "open(job_data['output_dir'] + '/a.txt', 'w').write('a')")
    job.wait(PATIENCE)
    return job


def test_a_link_that_took_the_place_of_a_file_is_not_followed(
    server: Server, one_file: Job, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    file = one_file.output_dir / "a.txt"
    file.unlink()
    file.symlink_to(secret)
    answer = saved(server, one_file.id, "a.txt")
    assert "hunter2" not in answer.text
    file.unlink()


def test_one_file_is_brought_now_and_again_at_the_end(
    server: Server, api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    # It is written all the time, so that it is never quiet: no mirror brings it by itself.
    job = submit(
        "local",
        "import os, time\n"
        "path = job_data['output_dir'] + '/log.txt'\n"
        f"n = 0\nwhile not os.path.exists({str(go)!r}):\n"
        "    n += 1\n    open(path, 'a').write(f'{n}\\n')\n    time.sleep(0.05)\n"
        "open(path, 'a').write('the end\\n')\n",
    )
    until(lambda: api.files(job.id).total == 1, "it is listed", PATIENCE)
    found = api.fetch(job.id, "log.txt", "not-there.txt")
    brought, missing = found.files
    assert (brought.path, brought.here, brought.problem) == ("log.txt", True, None)
    assert missing.problem is not None
    assert missing.problem.code == "request_refused"
    text = (job.output_dir / "log.txt").read_text()
    assert text.startswith("1\n2\n")
    assert len(text) == brought.size
    assert "the end" not in text
    # The listing may be older than that: what is here is the newest, then.
    assert len(saved(server, job.id, "log.txt").content) >= brought.size
    item = api.files(job.id).files[0]
    assert item.state in ("here", "arriving")
    # What is here is old by now: a look at it is one at the worker's.
    until(lambda: api.preview(job.id, "log.txt").source == "worker", "it is outdated", PATIENCE)
    assert saved(server, job.id, "log.txt").text.startswith(text)
    go.touch()
    job.wait(PATIENCE)
    assert (job.output_dir / "log.txt").read_text().endswith("the end\n")
    assert sorted(each.name for each in job.output_dir.iterdir()) == ["log.txt"]


def test_what_was_brought_and_is_gone_on_the_worker_goes_at_the_end(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit(
        "local",
        "import os\nopen(job_data['output_dir'] + '/a.txt', 'w').write('a')\n"
        f"{waits_for(go)}"
        "os.unlink(job_data['output_dir'] + '/a.txt')\n"
        "open(job_data['output_dir'] + '/b.txt', 'w').write('b')\n",
    )
    until(lambda: api.files(job.id).total == 1, "it is listed", PATIENCE)
    assert api.fetch(job.id, "a.txt").files[0].here
    assert (job.output_dir / "a.txt").exists()
    go.touch()
    job.wait(PATIENCE)
    assert [each.name for each in job.output_dir.iterdir()] == ["b.txt"]
