"""Jobs through the API: the list, one, its log and events, its end, and its cancelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from chutes_jupyter import portal
from chutes_jupyter.client import kept
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import JobNotFound
from chutes_jupyter.server import cases
from chutes_jupyter.server.client import Api, ApiProblem
from chutes_jupyter.store import JobRecord
from tests.client.rig import Submit, until
from tests.server.rig import waits_for

PATIENCE = 60.0


def test_a_job_is_seen_whole_and_cancelled_without_a_kernel(api: Api, submit: Submit) -> None:
    job = submit("local", "import time\nprint('on')\ntime.sleep(600)")
    until(lambda: api.job(job.id).state == "running", "it runs", PATIENCE)
    found = api.job(job.label)
    assert (found.id, found.label, found.worker, found.live) == (job.id, job.label, "local", True)
    assert found.confirmed is not None
    assert found.trouble is None
    assert found.elapsed is not None
    assert [each.id for each in api.jobs(state="live").jobs] == [job.id]

    answer = api.cancel(job.id)
    assert answer.told
    until(lambda: api.job(job.id).state == "cancelled", "it ends", PATIENCE)
    assert api.cancel(job.id).told  # any number of times
    result = api.result(job.id)
    assert (result.state, result.live, result.text) == ("cancelled", False, None)


def test_a_job_runs_again_and_where_that_can_t_be_it_says_why(api: Api, submit: Submit) -> None:
    job = submit("local", "return job_data['n'] + 1", data={"n": 41})
    job.wait(PATIENCE)
    again = api.again(job.label)
    assert (again.name, again.live) == (job.name, True)
    assert again.id != job.id
    until(lambda: api.job(again.id).state == "succeeded", "it runs again", PATIENCE)
    assert api.result(again.id).text == "42"
    kept.forget([job.id])
    with pytest.raises(ApiProblem, match="not_kept") as caught:
        api.again(job.id)
    assert caught.value.status == 409
    assert "Run it from where it was written" in caught.value.problem.message
    with pytest.raises(ApiProblem, match="job_not_found"):
        api.again("nobody-000000")


def test_log_and_events_are_read_by_offset(api: Api, submit: Submit) -> None:
    job = submit("local", "for n in range(200):\n    print('zeile', n, 'ä€😀')\nreturn 7")
    job.wait(PATIENCE)
    whole = "".join(f"zeile {n} ä€😀\n" for n in range(200))
    text, offset, end = "", 0, False
    while not end:
        # A limit that cuts characters in two again and again.
        piece = api.log(job.id, offset=offset, limit=37)
        assert piece.offset == offset
        text, offset, end = text + piece.text, piece.next, piece.end
    assert text == whole
    assert offset == piece.size == len(whole.encode())
    assert api.log(job.id, lines=2).text == "zeile 198 ä€😀\nzeile 199 ä€😀\n"
    tail = api.log(job.id, tail=5)
    assert tail.text in whole
    assert tail.end

    first = api.events(job.id, limit=2)
    assert [event.n for event in first.events] == [1, 2]
    assert first.more
    rest = api.events(job.id, after=first.next)
    assert rest.events[0].n == 3
    assert rest.terminal
    assert not rest.more
    assert rest.state == "succeeded"
    assert api.result(job.id).text == "7"


def test_a_failure_comes_with_its_traceback(api: Api, submit: Submit) -> None:
    job = submit("local", "def inner():\n    raise ValueError('no such thing')\ninner()")
    job.wait(PATIENCE)
    result = api.result(job.id)
    assert result.state == "failed"
    assert result.error is not None
    assert result.error.type == "ValueError"
    assert "no such thing" in result.error.message
    assert "inner()" in result.error.traceback
    assert result.text is None


def test_a_long_poll_brings_what_comes_and_ends_with_its_wait(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit("local", f"{waits_for(go)}print('x')")
    until(lambda: api.job(job.id).state == "running", "it runs", PATIENCE)
    assert api.log(job.id, wait=0.2).text == ""
    go.touch()
    assert api.log(job.id, wait=25).text == "x\n"


def test_lists_are_filtered_and_paged(api: Api, submit: Submit) -> None:
    made = [submit("local", "return 1", ack=True) for _ in range(5)]
    for job in made:
        job.wait(PATIENCE, outputs=False)
    ids = [job.id for job in reversed(made)]
    until(
        lambda: {each.state for each in api.jobs().jobs if each.id in ids} == {"succeeded"},
        "all are listed as ended",
        PATIENCE,
    )
    everything = api.jobs()
    assert [each.id for each in everything.jobs][:5] == ids  # the newest first
    first, second = api.jobs(limit=2), api.jobs(limit=2, offset=2)
    assert [each.id for each in (*first.jobs, *second.jobs)] == ids[:4]
    assert first.total == everything.total >= 5
    assert {each.value: each.count for each in first.workers}["local"] >= 5
    assert sum(each.count for each in first.states) == first.total
    assert api.jobs(state="live").total == 0
    assert api.jobs(state="succeeded,running").total >= 5
    assert [each.id for each in api.jobs(text=made[0].label.upper()).jobs] == [made[0].id]
    assert api.jobs(worker="elsewhere").jobs == []


@pytest.mark.parametrize("job", ["nothing-like-it", "0" * 32])
def test_a_job_that_is_none_is_said(api: Api, job: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        api.job(job)
    assert caught.value.status == 404
    assert caught.value.problem.code == "job_not_found"
    assert job in caught.value.problem.message


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 5000}, {"offset": -1}, {"wat": 1}, {"refresh": "perhaps"}]
)
def test_a_wrong_request_is_refused_with_what_is_wrong(api: Api, query: dict) -> None:
    with pytest.raises(ApiProblem) as caught:
        api.jobs(**query)
    assert (caught.value.status, caught.value.problem.code) == (400, "invalid_request")
    assert next(iter(query)) in caught.value.problem.message


def test_what_has_ended_is_removed_and_what_lives_is_kept(api: Api, submit: Submit) -> None:
    over, alive = submit("local", "return 1"), submit("local", "import time\ntime.sleep(600)")
    over.wait(PATIENCE)
    until(lambda: api.job(alive.id).state == "running", "it runs", PATIENCE)
    kept = api.remove(alive.id)
    assert [each.id for each in kept.kept] == [alive.id]
    dry = api.clean(jobs=[over.id], dry=True)
    assert dry.removed == [over.id]
    assert api.job(over.id).state == "succeeded"
    assert api.remove(over.id).removed == [over.id]
    with pytest.raises(ApiProblem, match="job_not_found"):
        api.job(over.id)


def test_a_piece_of_a_log_says_which_stream_wrote_what(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = [tmp_path / str(number) for number in range(2)]
    job = submit(
        "local",
        "import sys\n"
        "print('öut', flush=True)\n"
        f"{waits_for(go[0])}"
        "print('err', file=sys.stderr, flush=True)\n"
        f"{waits_for(go[1])}"
        "print('more', flush=True)\n",
    )
    for file, size in zip(go, (5, 9), strict=True):
        until(lambda size=size: api.log(job.id).size == size, "it printed so much", PATIENCE)
        file.touch()
    job.wait(PATIENCE)
    piece = api.log(job.id)
    assert piece.text == "öut\nerr\nmore\n"
    assert piece.runs == [(0, 1), (5, 2), (9, 1)]
    assert api.log(job.id, offset=6, limit=4).runs == [(0, 2), (3, 1)]
    assert api.log(job.id, offset=9).runs == []
    with api.stream(f"/jobs/{job.id}/log/live", offset=5) as events:
        first = next(events)
    assert first.data == {
        "text": "err\nmore\n",
        "offset": 5,
        "next": 14,
        "runs": [[0, 2], [4, 1]],
    }


def test_what_a_job_tells_of_itself_is_in_its_list_and_whole_by_itself(
    api: Api, submit: Submit, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit(
        "local",
        "self.progress(3, 4, unit='epoch', loss=0.5)\n"
        "self.metric('loss', 0.5)\nself.metric('loss', float('nan'))\n"
        "display('<b>bold</b>')\n"
        f"{waits_for(go)}"
        "self.progress(4, 4, unit='epoch')\n",
    )
    with api.stream("/events") as events:
        next(events)
        for event in events:
            if event.name == "job" and event.data["id"] == job.id and event.data["progress"]:
                break
        assert event.data["progress"]["done"] == 3
        assert event.data["progress"]["total"] == 4
        assert event.data["progress"]["unit"] == "epoch"
        found = until(
            lambda: next((r for r in [api.readings(job.id)] if r.usage and r.shown), None),
            "it is read",
            PATIENCE,
        )
        assert found.confirmed
        assert [value for _, value in found.metrics["loss"]] == [0.5, 0.5, None]
        assert found.displays == []
        assert found.usage[-1].memory_mib
        (shown,) = api.readings(job.id, displays=True).displays
        assert "bold" in shown.data["text/plain"]
        go.touch()
        for event in events:
            if event.name == "job" and (event.data["progress"] or {}).get("done") == 4:
                break
    until(lambda: api.jobs(text=job.id).jobs[0].progress.done == 4, "the list has it", PATIENCE)


def test_progress_is_news_of_the_list(api: Api, submit: Submit, tmp_path: Path) -> None:
    steps = [tmp_path / str(number) for number in range(3)]
    cell = "".join(f"{waits_for(file)}self.progress({n}, 9)\n" for n, file in enumerate(steps, 1))
    with api.stream("/events") as events:
        job = submit("local", cell + waits_for(tmp_path / "end"))
        for number, file in enumerate(steps, 1):
            file.touch()
            for event in events:
                said = event.data.get("progress") if event.data.get("id") == job.id else None
                if said and said["done"] == number:
                    break
    (tmp_path / "end").touch()
    job.wait(PATIENCE)


def test_the_workers_are_not_asked_each_time_for_a_job_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = current_client()
    asked: list[bool] = []

    async def discover(*, whole: bool = False) -> list[str]:
        asked.append(whole)
        return []

    monkeypatch.setattr(client, "discover", discover)
    monkeypatch.setattr(cases, "_asked", -1e9)
    for _ in range(5):
        with pytest.raises(JobNotFound):
            portal.call(cases.open_case, client, "nobody-knows-it", None)
    assert asked == [True]


def test_thousands_of_jobs_are_listed_at_once(api: Api) -> None:
    store = current_client().store
    many = [
        JobRecord(
            id=f"{number:032x}",
            name=f"many{number % 7}",
            worker="local",
            state="succeeded",
            event=4,
            created=float(number),
            started=float(number),
            ended=float(number + 1),
            notebook=f"/home/me/{number % 3}.ipynb",
        )
        for number in range(1, 3001)
    ]
    store.merge(many)
    try:
        page = api.jobs(name="many3", limit=100, offset=100)
        assert page.total == sum(each.name == "many3" for each in many) > 400
        assert len(page.jobs) == 100
        assert api.jobs(text="2.ipynb many5").total == 143
        ids = {each.id for each in api.jobs(notebook="/home/me/1.ipynb", limit=1000).jobs}
        assert ids == {each.id for each in many if each.notebook == "/home/me/1.ipynb"}
    finally:
        store.remove([each.id for each in many])
    until(lambda: api.jobs(name="many3").total == 0, "they are gone", PATIENCE)
