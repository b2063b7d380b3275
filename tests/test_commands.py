"""The verbs: how words are read, what is shown, and what is refused before anything starts."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chutes_jupyter.commands import Surroundings, execute, tables
from chutes_jupyter.commands.arguments import build_parser, changed_env, parse, parse_data
from chutes_jupyter.commands.jobs import jobs_table
from chutes_jupyter.commands.scripts import load_function
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import (
    ConfigError,
    JobNotFound,
    UnknownWorker,
    UsageError,
)
from chutes_jupyter.store import JobRecord, Store


class Terminal:
    """Runs verbs as a terminal would, and keeps what they show."""

    def __init__(self, **surroundings):
        self.text = ""
        self.here = Surroundings(self.write, **surroundings)

    def write(self, text):
        self.text += text

    def __call__(self, *words):
        self.text = ""
        execute(words, self.here)
        return self.text


@pytest.fixture
def terminal(home):
    return Terminal()


@pytest.fixture
def magic(home):
    return Terminal(prog="%chute", find=lambda name: None)


# -- help and usage

VERBS = [
    ["run"], ["jobs"], ["logs"], ["cancel"], ["files"], ["ssh"], ["clean"], ["worker"],
    ["worker", "list"],
    ["worker", "add"], ["worker", "login"], ["worker", "test"], ["worker", "remove"],
]  # fmt: skip


@pytest.mark.parametrize("words", [[], *VERBS], ids=" ".join)
@pytest.mark.parametrize("place", ["terminal", "magic"])
def test_every_verb_has_help(request, place, words):
    said = request.getfixturevalue(place)(*words, "--help")
    prog = {"terminal": "jupyter chute", "magic": "%chute"}[place]
    assert said.startswith(" ".join(["usage:", prog, *words]))
    assert said == request.getfixturevalue(place)(*words, "-h")
    assert "None" not in said


def test_the_help_lists_every_verb(terminal):
    said = terminal("--help")
    for verb in ("run", "jobs", "logs", "cancel", "files", "ssh", "clean", "worker"):
        assert f"\n    {verb} " in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["fly"], "invalid choice: 'fly'"),
        (["jobs", "--lve"], "not understood: --lve"),
        (["jobs", "--limi", "3"], "not understood: --limi 3"),
        (["jobs", "extra"], "not understood: extra"),
        (["jobs", "-n", "-1"], "-n"),
        (["jobs", "-n", "x"], "'x': must be a whole number, 0 or more"),
        (["logs"], "the following arguments are required: JOB"),
        (["logs", "a", "b"], "not understood: b"),
        (["logs", "a", "--tail", "1.5"], "'1.5': must be a whole number"),
        (["clean", "--older-than", "7"], "'7': must be a number with m, h or d, like 7d"),
        (["ssh"], "the following arguments are required: JOB"),
        (["cancel"], "the following arguments are required: JOB"),
        (["worker"], "the following arguments are required: VERB"),
        (["worker", "add"], "the following arguments are required: NAME"),
        (["worker", "add", "a", "b", "c"], "not understood: c"),
        (["worker", "add", "a", "b", "--env", "X"], "'X': must be K=V, like HF_HOME=/data/hf"),
        (["worker", "add", "a", "b", "--env", "=X"], "'=X': must be K=V"),
        (["worker", "test", "a", "--accept-key", "MD5:aa"], "must be a fingerprint"),
        (["run"], "the following arguments are required: FILE.py:NAME"),
        (["run", "a.py:f", "--timeout", "5"], "--timeout='5': must be seconds, or a number"),
        (["run", "a.py:f", "a=1", "--wiat"], "not understood: --wiat"),
        (["run", "a.py:f", "--wait", "a=1", "-x"], "not understood: a=1 -x"),
    ],
)
def test_wrong_words_are_refused_with_the_usage(terminal, words, message):
    with pytest.raises(UsageError) as caught:
        terminal(*words)
    said = str(caught.value)
    assert message in said
    assert "\nusage: jupyter chute" in said
    assert said.endswith("--help")
    assert terminal.text == ""


def test_a_wrong_magic_speaks_of_magics(magic):
    with pytest.raises(UsageError, match=r"(?s)usage: %chute .*See %chute jobs --help"):
        magic("jobs", "-n", "x")


def test_job_data_may_stand_between_options(home):
    parser = build_parser("jupyter chute", notebook=False)
    words = ["run", "a.py:f", "x=1", "--wait", "y=2", "--timeout", "1h", "z=-3"]
    found = parse(parser, words)
    assert sorted(found.data) == ["x=1", "y=2", "z=-3"]
    assert (found.wait, found.timeout, found.upload, found.worker) == (True, 3600, None, None)
    assert parse(parser, ["run", "a.py:f"]).timeout is ...
    assert parse(parser, ["run", "a.py:f", "--timeout", "none"]).timeout is None
    assert parse(parser, ["run", "a.py:f", "--no-upload"]).upload is False


# -- key=value


def test_values_are_python_literals():
    words = ["a=1", "b=-2.5", "c='x y'", 'd={"k": [1, (2,)]}', "e=None", "f=True", "g={1, 2}"]
    assert parse_data([*words, "h=b'x'", "_ssh_public_key='k=v'"]) == {
        "a": 1, "b": -2.5, "c": "x y", "d": {"k": [1, (2,)]}, "e": None, "f": True, "g": {1, 2},
        "h": b"x", "_ssh_public_key": "k=v",
    }  # fmt: skip
    assert parse_data([]) == {}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_literal_comes_back(value):
    assert parse_data([f"x={value!r}"]) == {"x": value}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("x=bob", """x=bob: not a Python literal; a text needs quotes of its own inside the"""),
        ("x=", "x=: not a Python literal"),
        ("x=1+", "not a Python literal"),
        ("x=__import__('os')", "not a Python literal"),
        ("x=open('f')", "not a Python literal"),
        ("x={y}", "not a Python literal"),
        ("x=" + "(" * 500, "not a Python literal"),
        ("x", "'x': job data is written key=value, like epochs=3"),
        ("=1", "'=1': job data is written key=value"),
        ("1x=1", "'1x=1': job data is written key=value"),
        ("a-b=1", "'a-b=1': job data is written key=value"),
    ],
)
def test_wrong_job_data(word, message):
    with pytest.raises(UsageError) as caught:
        parse_data([word])
    assert message in str(caught.value)


def test_a_bare_word_is_answered_with_how_to_quote_it():
    with pytest.raises(UsageError) as caught:
        parse_data(["name=it's me"])
    assert str(caught.value).endswith("""Write it like 'name="it'"'"'s me"'""")


def test_a_key_may_be_given_once():
    with pytest.raises(UsageError, match=r"^x: given twice$"):
        parse_data(["x=1", "x=1"])


# -- job functions in files

SCRIPT = """\
import helper_of_the_script
from chutes_jupyter import Chute

chute = Chute(username="me", name="demo")

@chute.job(timeout=60)
async def train(self, **job_data):
    return helper_of_the_script.VALUE

@chute.job()
def serve(self, **job_data):
    return 2

if __name__ == "__main__":
    raise SystemExit("must not run")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "helper_of_the_script.py").write_text("VALUE = 1\n")
    path = tmp_path / "jobs_of_mine.py"
    path.write_text(SCRIPT)
    yield path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_job_function_is_found_in_its_file(script):
    assert load_function(f"{script}:train").name == "train"
    assert load_function(f"{script}:train").timeout == 60
    assert load_function(f"{script}:serve").name == "serve"


def test_a_file_with_one_job_function_needs_no_name(script):
    script.write_text(SCRIPT.replace("@chute.job()", ""))
    assert load_function(str(script)).name == "train"


def test_a_file_may_be_named_like_a_module_of_python(script):
    other = script.with_name("json.py")
    other.write_text(SCRIPT)
    import json

    assert load_function(f"{other}:train").name == "train"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{}:trian", "'trian' in it; there are: serve, train. Did you mean 'train'?"),
        ("{}:chute", "no job function 'chute' in it"),
        ("{}", "which of its job functions? There are: serve, train"),
        ("{}x.py:train", "there is no such file"),
        ("train", "must be FILE.py:NAME, like train.py:train"),
        ("{}:", "must be FILE.py:NAME"),
        ("notebook.ipynb:train", "must be FILE.py:NAME"),
    ],
)  # fmt: skip
def test_job_functions_that_are_not_there(script, target, message):
    with pytest.raises(UsageError) as caught:
        load_function(target.format(script))
    assert message in str(caught.value)


def test_a_file_without_a_job_function(script):
    script.write_text("x = 1\n")
    with pytest.raises(UsageError, match=r"no job function in it\. Write @chute\.job\(\) over one"):
        load_function(f"{script}:train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (\n", "line 2: '(' was never closed"),
        ("x = 1\n\n1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("import missing_module_x\n", "line 1: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
    ],
)
def test_a_file_that_can_not_be_run_names_its_line(script, text, message):
    script.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_function(f"{script}:train")
    assert str(caught.value).startswith(f"{script}, {message}")
    assert "jobs_of_mine" not in sys.modules


# -- tables


def test_tables_are_aligned_and_each_row_is_a_line():
    said = tables.table(("A", "LONG"), [("xx", "1"), ("日本", "2"), ("a\nb\x1b[2J", "")])
    assert said == "A        LONG\nxx       1\n日本     2\na b [2J\n"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1234, "1.2 kB"), (999_949, "999.9 kB"),
     (5_300_000, "5.3 MB"), (10**9, "1.0 GB"), (10**16, "10000.0 TB")],
)  # fmt: skip
def test_sizes(number, text):
    assert tables.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "span", "ago"),
    [(-5, "0s", "0 s ago"), (0.9, "0s", "0 s ago"), (59, "59s", "59 s ago"),
     (60, "1m 00s", "1 min ago"), (3599, "59m 59s", "59 min ago"), (3600, "1h 00m", "1 h ago"),
     (86399, "23h 59m", "23 h ago"), (100_000, "1d 03h", "1 d ago")],
)  # fmt: skip
def test_spans(seconds, span, ago):
    assert tables.span(seconds) == span
    assert tables.ago(seconds) == ago


def test_points_of_time():
    now = time.mktime((2026, 11, 23, 20, 7, 31, 0, 0, -1))
    assert tables.clock(now - 60, now) == "20:06:31"
    assert tables.clock(now - 86400, now) == "Nov 22 20:07"
    assert tables.clock(now - 366 * 86400, now) == "2025-11-22"


NOW = time.mktime((2026, 11, 23, 20, 0, 0, 0, 0, -1))


def shown(**values):
    record = JobRecord("3f9c2a" + "0" * 26, "train", "gpu1", **values)
    head, row = jobs_table([record], NOW).splitlines()
    return head, row


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ({}, "train-3f9c2a  pending, not confirmed  gpu1"),
        ({"state": "running", "event": 2, "started": NOW - 90, "confirmed": NOW - 5},
         "train-3f9c2a  running  gpu1    19:58:30  1m 30s"),
        ({"state": "running", "event": 2, "started": NOW - 600, "confirmed": NOW - 200},
         "train-3f9c2a  running, last confirmed 3 min ago  gpu1    19:50:00  10m 00s"),
        ({"state": "succeeded", "event": 4, "started": NOW - 60, "ended": NOW - 50,
          "confirmed": NOW - 50, "notebook": "/home/me/a b.ipynb"},
         "train-3f9c2a  succeeded  gpu1    19:59:00  10s      a b.ipynb"),
        ({"state": "lost", "event": 2, "started": NOW - 600, "confirmed": NOW - 590},
         "train-3f9c2a  lost   gpu1    19:50:00  10s"),
    ],
)  # fmt: skip
def test_every_state_shown_was_confirmed_or_says_when(values, row):
    head, found = shown(**values)
    assert found == row
    assert head.split() == ["JOB", "STATE", "WORKER", "STARTED", "ELAPSED", "NOTEBOOK"]


def test_the_full_listing_shows_whole_ids_and_reasons():
    record = JobRecord("3f9c2a" + "0" * 26, "train", "gpu1", "failed", 3, reason="port\ntaken")
    text = jobs_table([record], NOW, full=True)
    assert f"train-3f9c2a{'0' * 26}" in text
    assert text.rstrip().endswith("port taken")


# -- workers


def test_workers_are_added_listed_and_removed(terminal):
    said = terminal("worker", "add", "gpu1", "me@h:22", "--python", "/p", "--env", "A=1",
                    "--env", "TOKEN=hunter2", "--dir", "/scratch", "--no-connect")  # fmt: skip
    assert said == "Worker gpu1 added. Try it with: jupyter chute worker test gpu1\n"
    assert Workers.load().get("gpu1") == Worker(
        "gpu1", "me@h:22", "/p", {"A": "1", "TOKEN": "hunter2"}, "/scratch"
    )
    said = terminal("worker", "list", "--cached")
    assert said.splitlines() == [
        "WORKER  HOST          PYTHON  DIR       ENV",
        "local   this machine",
        "gpu1    me@h:22       /p      /scratch  A TOKEN",
    ]
    assert terminal("worker", "remove", "gpu1").startswith("Worker gpu1 removed. Its jobs go on")
    assert Workers.load().names() == ["local"]


def test_adding_again_changes_only_what_is_given(terminal):
    terminal("worker", "add", "gpu1", "h", "--python", "/p", "--env", "A=1", "--env", "B=2",
             "--no-connect")  # fmt: skip
    said = terminal("worker", "add", "gpu1", "h", "--env", "A=", "--env", "C=x=y", "--no-connect")
    assert "gpu1 changed" in said
    assert Workers.load().get("gpu1") == Worker("gpu1", "h", "/p", {"B": "2", "C": "x=y"})
    assert "gpu1 changed" in terminal("worker", "add", "gpu1", "--dir", "~/jobs")
    assert Workers.load().get("gpu1").dir == "~/jobs"
    assert "gpu1 kept" in terminal("worker", "add", "gpu1", "h", "--no-connect")
    with pytest.raises(ConfigError, match=r"There is a worker 'gpu1' already, at h\."):
        terminal("worker", "add", "gpu1", "other")
    assert Workers.load().get("gpu1").host == "h"


def test_a_transport_is_set_shown_and_unset(terminal):
    add = ("worker", "add", "gpu1", "me@gpu1", "--no-connect")
    terminal(*add)
    assert "TRANSPORT" not in terminal("worker", "list", "--cached")
    terminal(*add, "--transport", "openssh")
    head, *rows = terminal("worker", "list", "--cached").splitlines()
    assert head.split()[-1] == "TRANSPORT"
    assert rows[-1].split()[-1] == "openssh"
    terminal(*add, "--python", "/opt/python")
    assert Workers.load().get("gpu1").transport == "openssh"
    terminal(*add, "--transport", "auto")
    assert Workers.load().get("gpu1").transport is None


def test_trust_is_given_shown_kept_and_taken(terminal):
    add = ("worker", "add", "gpu1", "me@gpu1", "--no-connect")
    terminal(*add)
    assert "TRUSTED" not in terminal("worker", "list", "--cached")
    assert "gpu1 changed" in terminal(*add, "--trust")
    head, *rows = terminal("worker", "list", "--cached").splitlines()
    assert head.split()[-2:] == ["ENV", "TRUSTED"]
    assert rows[-1].split()[-1] == "yes"
    terminal(*add, "--python", "/opt/python")
    assert Workers.load().get("gpu1").is_trusted
    terminal(*add, "--no-trust")
    assert not Workers.load().get("gpu1").is_trusted


def test_local_can_be_changed_but_has_no_host(terminal):
    assert "local changed" in terminal("worker", "add", "local", "--env", "A=1")
    assert Workers.load().get("local") == Worker("local", env={"A": "1"})
    with pytest.raises(ConfigError, match="'local' is this machine and has no host"):
        terminal("worker", "add", "local", "h")
    with pytest.raises(ConfigError, match="can't be removed"):
        terminal("worker", "remove", "local")
    key = "SHA256:" + "a" * 43
    with pytest.raises(UsageError, match="has no host key"):
        terminal("worker", "test", "local", "--accept-key", key)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "gpu1"], "worker gpu1: its HOST is missing"),
        (["add", "GPU", "h"], "must begin with a lowercase letter"),
        (["add", "gpu1", "a b"], "'a b' is not a host name"),
        (["add", "gpu1", "h", "--dir", "jobs"], "must be an absolute path"),
        (["add", "gpu1", "h", "--env", "A-B=1"], "env key='A-B'"),
        (["remove", "gpu1"], "There is no worker 'gpu1'"),
        (["test", "gpu1"], "There is no worker 'gpu1'"),
    ],
)
def test_wrong_workers_change_nothing(terminal, words, message):
    with pytest.raises((ConfigError, UsageError), match=message):
        terminal("worker", *words)
    assert Workers.load().names() == ["local"]


def test_a_notebook_has_no_shell_to_take_quotes_off(magic, terminal):
    magic("worker", "add", "gpu1", "h", "--env", "A='x y'", "--env", 'B="z"')
    assert Workers.load().get("gpu1").env == {"A": "x y", "B": "z"}
    terminal("worker", "add", "gpu2", "h", "--env", "A='x'")
    assert Workers.load().get("gpu2").env == {"A": "'x'"}
    assert changed_env({"A": "1"}, [("A", "2"), ("B", "")]) == {"A": "2"}


# -- jobs that are not there


@pytest.mark.parametrize("words", [["logs", "x"], ["files", "x"], ["cancel", "x"]], ids=" ".join)
def test_jobs_that_nobody_knows(terminal, tmp_path, words):
    Workers.load().add(Worker("local", dir=str(tmp_path / "w")))
    with pytest.raises(JobNotFound, match="No job 'x' is known"):
        terminal(*words)


def test_running_on_a_worker_that_is_not_there(terminal, script):
    with pytest.raises(UnknownWorker, match="There is no worker 'gpu9'"):
        terminal("run", f"{script}:train", "--worker", "gpu9")
    assert Store.open().list() == []


def test_job_data_is_read_before_the_file_is_run(terminal, script):
    script.write_text("raise SystemExit('ran')")
    with pytest.raises(UsageError, match="not a Python literal"):
        terminal("run", f"{script}:train", "x=bob")
