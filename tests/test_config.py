"""The workers file: what it may say, how it is written, and what its errors name."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
from pathlib import Path

import pytest

from chutes_jupyter.config import (
    FILE_NAME,
    HostAddress,
    Settings,
    Worker,
    Workers,
    config_file,
    known_hosts_file,
    parse_host,
    state_dir,
    validate_env,
)
from chutes_jupyter.errors import ConfigError, UnknownWorker
from chutes_jupyter.files import file_lock, write_private


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "config").mkdir()
    return tmp_path / "config" / FILE_NAME


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gpu1", HostAddress("gpu1")),
        ("my_alias-2.x", HostAddress("my_alias-2.x")),
        ("gpu1.example.org:2222", HostAddress("gpu1.example.org", port=2222)),
        ("me@gpu1", HostAddress("gpu1", "me")),
        ("me@gpu1.example.org:22", HostAddress("gpu1.example.org", "me", 22)),
        ("me@corp.example@gpu1", HostAddress("gpu1", "me@corp.example")),
        ("10.0.0.7:65535", HostAddress("10.0.0.7", port=65535)),
        ("[::1]", HostAddress("::1")),
        ("[2001:db8::1]:22", HostAddress("2001:db8::1", port=22)),
        ("me@[fe80::1%eth0]:22", HostAddress("fe80::1%eth0", "me", 22)),
    ],
)
def test_hosts(text, address):
    assert parse_host(text) == address
    assert Worker("gpu1", text).address == address


EXAMPLE = "gpu1 (an alias of ~/.ssh/config), me@gpu1.example.org:2222 or me@[2001:db8::1]:22"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must be a host"),
        (None, "must be a host"),
        (22, "must be a host"),
        ("-oProxyCommand=x", "'-oProxyCommand=x' is not a host name"),
        ("me@-x", "'-x' is not a host name"),
        ("a b", "'a b' is not a host name"),
        ("gpu1\n", "'gpu1\\n' is not a host name"),
        ("ssh://gpu1", "the port '//gpu1' must be a whole number from 1 to 65535"),
        ("@gpu1", "'' is not a user name"),
        ("-l@gpu1", "'-l' is not a user name"),
        ("me:pw@gpu1", "'me:pw' is not a user name"),
        ("gpu1:", "the port '' must be a whole number from 1 to 65535"),
        ("gpu1:0", "the port '0' must be a whole number from 1 to 65535"),
        ("gpu1:65536", "the port '65536' must be a whole number from 1 to 65535"),
        ("gpu1:2२", "the port '2२' must be a whole number from 1 to 65535"),
        ("::1", "an IPv6 address must stand in brackets"),
        ("[gpu1]:22", "'gpu1' is not an IPv6 address"),
        ("[::1]x", "an IPv6 address must stand in brackets"),
    ],
)
def test_hosts_that_are_none(text, rule):
    with pytest.raises(ConfigError) as caught:
        parse_host(text)
    assert str(caught.value) == f"host={text!r}: {rule}. Write it like {EXAMPLE}"


@pytest.mark.parametrize("name", ["gpu1", "g", "my-gpu", "my_gpu-2"])
def test_worker_names(name):
    assert Worker(name, "h").name == name


@pytest.mark.parametrize("name", ["", "1gpu", "GPU", "gpu 1", "-x", "gpu.1", "gpu\n", None, "ü"])
def test_refused_worker_names(name):
    with pytest.raises(ConfigError, match="must begin with a lowercase letter"):
        Worker(name, "h")


def test_a_transport_is_one_of_two_and_none_for_this_machine(file):
    with pytest.raises(ConfigError, match=r"^transport='ftp': must be asyncssh or openssh"):
        Worker("gpu1", "h", transport="ftp")
    with pytest.raises(ConfigError, match="no SSH leads to it"):
        Worker("local", transport="openssh")
    workers = Workers.load(file)
    workers.add(Worker("gpu1", "h", transport="openssh"))
    assert 'transport = "openssh"' in file.read_text()
    assert Workers.load(file).get("gpu1").transport == "openssh"


def test_only_this_machine_is_trusted_unless_it_is_said(file):
    assert Worker("local").is_trusted
    assert not Worker("gpu1", "h").is_trusted
    with pytest.raises(ConfigError, match=r"^trusted='yes': must be true or false"):
        Worker("gpu1", "h", trusted="yes")
    workers = Workers.load(file)
    workers.add(Worker("gpu1", "h", trusted=True))
    assert "trusted = true" in file.read_text()
    workers.add(Worker("local", trusted=False))
    found = Workers.load(file)
    assert found.get("gpu1").is_trusted
    assert not found.get("local").is_trusted
    assert found.names() == ["local", "gpu1"]


def test_environments_are_checked_by_key_and_keep_their_values_to_themselves():
    assert validate_env({"A_1": "", "_b": "x=y"}) == {"A_1": "", "_b": "x=y"}
    for key in ("", "1A", "A-B", "A B", "A=B", "Ä", 1):
        with pytest.raises(ConfigError, match=r"^env key="):
            validate_env({key: "x"})
    with pytest.raises(ConfigError, match=r"^env\.TOKEN: must be a text") as caught:
        validate_env({"TOKEN": ["hunter2"]})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Worker("gpu1", "h", env={"TOKEN": "hunter2"}))
    with pytest.raises(ConfigError, match=r"^env=\['A'\]: must be a table"):
        validate_env(["A"])


@pytest.mark.parametrize(
    ("values", "key"),
    [({"python": ""}, "python"), ({"python": "a\nb"}, "python"), ({"dir": "x"}, "dir"),
     ({"dir": "../x"}, "dir"), ({"dir": 3}, "dir")],
)  # fmt: skip
def test_paths_of_a_worker(values, key):
    with pytest.raises(ConfigError, match=f"^{key}="):
        Worker("gpu1", "h", **values)


def test_good_paths_of_a_worker():
    Worker("gpu1", "h", python="~/x/bin/python", dir="/scratch/x")
    Worker("gpu1", "h", python="python3.12", dir="~/x y")


def test_local_always_exists_and_stays(file):
    workers = Workers.load()
    assert workers.names() == ["local"]
    assert workers.get("local") == Worker("local")
    assert workers.get("local").address is None
    assert not file.exists()
    with pytest.raises(ConfigError, match="can't be removed"):
        workers.remove("local")
    workers.add(Worker("local", python="/opt/python", env={"A": "b"}))
    assert Workers.load().get("local") == Worker("local", python="/opt/python", env={"A": "b"})
    with pytest.raises(ConfigError, match="'local' is this machine and has no host"):
        Worker("local", "gpu1")


def test_add_get_and_remove(file):
    gpu = Worker("gpu1", "me@h:22", "/opt/python", {"A": "x y", "B": '"\\\n'}, "/scratch")
    workers = Workers.load()
    workers.add(gpu)
    workers.add(Worker("gpu2", "other"))
    again = Workers.load()
    assert again.names() == workers.names() == ["local", "gpu1", "gpu2"]
    assert again.get("gpu1") == gpu
    assert [each.name for each in again] == ["local", "gpu1", "gpu2"]
    assert "gpu2" in again
    again.remove("gpu1")
    assert again.names() == Workers.load().names() == ["local", "gpu2"]
    with pytest.raises(UnknownWorker):
        again.remove("gpu1")


def test_changing_a_worker_drops_what_it_no_longer_says(file):
    workers = Workers.load()
    workers.add(Worker("gpu1", "h", "/p", {"A": "1", "B": "2"}, "/d"))
    workers.add(Worker("gpu1", "h2", env={"B": "3", "C": "4"}))
    assert Workers.load().get("gpu1") == Worker("gpu1", "h2", env={"B": "3", "C": "4"})
    workers.add(Worker("gpu1", "h2"))
    assert Workers.load().get("gpu1") == Worker("gpu1", "h2")


COMMENTED = """\
# my workers
[settings]
outputs = "out"  # beside the notebook

# the fast one
[workers.gpu1]
host = "h1" # office
env = { A = "1" }
"""


def test_comments_and_order_stay(file):
    file.write_text(COMMENTED)
    Workers.load().add(Worker("gpu2", "h2"))
    text = file.read_text()
    assert text.startswith(COMMENTED.rstrip())
    Workers.load().add(Worker("gpu1", "h1", env={"A": "2"}))
    text = file.read_text()
    for comment in ("# my workers", "# beside the notebook", "# the fast one", "# office"):
        assert comment in text
    Workers.load().remove("gpu2")
    assert file.read_text().rstrip() == COMMENTED.replace('A = "1"', 'A = "2"').rstrip()


def test_the_file_is_private_and_put_in_place_whole(file):
    file.write_text(COMMENTED)
    file.chmod(0o644)
    Workers.load().add(Worker("gpu2", "h2", env={"TOKEN": "secret"}))
    assert mode(file) == 0o600
    assert {path.name for path in file.parent.iterdir()} == {file.name, "chutes_workers.lock"}


def test_a_failed_write_leaves_the_old_file(file, monkeypatch):
    write_private(file, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_private(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_linked_file_stays_a_link(file, tmp_path):
    real = tmp_path / "dotfiles.toml"
    real.write_text(COMMENTED)
    file.symlink_to(real)
    Workers.load().add(Worker("gpu2", "h2"))
    assert file.is_symlink()
    assert "gpu2" in real.read_text()


def test_unknown_workers_are_answered_with_help(file):
    Workers.load().add(Worker("gpu1", "h"))
    with pytest.raises(UnknownWorker) as caught:
        Workers.load().get("gpu2")
    assert str(caught.value) == (
        "There is no worker 'gpu2'; there are: local, gpu1. Did you mean 'gpu1'?"
        " Add it with: jupyter chute worker add gpu2 HOST"
    )
    with pytest.raises(UnknownWorker) as caught:
        Workers.load().get("A B; rm")
    assert str(caught.value) == (
        "There is no worker 'A B; rm'; there are: local, gpu1."
        " Add it with: jupyter chute worker add NAME HOST"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[workers.gpu1\n", "not valid TOML: .*line 1"),
        ('[workers.a]\nhost="h"\n[workers.a]\nhost="i"\n', "not valid TOML"),
        ("\n\nx = = 3\n", "not valid TOML: .*line 3"),
        ('host = "h"\n', "host: no such key; there are settings, workers"),
        ("workers = 3\n", r"workers: must be a table\. Write it like \[workers\]"),
        ("[workers]\ngpu1 = 'h'\n", r"workers\.gpu1: must be a table"),
        ("[workers.gpu1]\n", r"workers\.gpu1: host=None: must be a host"),
        ("[workers.gpu1]\nhost = 3\n", r"workers\.gpu1: host=3: must be a host"),
        ("[workers.gpu1]\nhost = 'a b'\n", r"workers\.gpu1: host='a b': 'a b' is not a host name"),
        ("[workers.GPU]\nhost = 'a'\n", r"workers\.GPU: name='GPU': must begin with"),
        ("[workers.local]\nhost = 'a'\n", r"workers\.local: host='a': the worker 'local' is this"),
        ("[workers.gpu1]\nhost = 'a'\npyhton = 'p'\n",
         r"workers\.gpu1\.pyhton: no such key; there are dir, env, host, python"),
        ("[workers.gpu1]\nhost = 'a'\nenv = { '1' = 'x' }\n", r"workers\.gpu1: env key='1': must"),
        ("[workers.gpu1]\nhost = 'a'\nenv.A = 1\n", r"workers\.gpu1: env\.A: must be a text"),
        ("[settings]\noutput = 'x'\n", r"settings\.output: no such key"),
    ],
)  # fmt: skip
def test_errors_name_the_file_the_place_and_the_rule(file, text, said):
    file.write_text(text)
    for use in (
        lambda: (Workers.load(), Settings.load()),
        lambda: (Workers(file, {}).add(Worker("gpu9", "h")), Settings.load()),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            use()
        assert str(caught.value).startswith(f"{file}: ")
    if "settings" not in text:
        assert file.read_text() == text


def test_a_file_that_is_no_text(file):
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read"):
        Workers.load()


def test_settings(file, tmp_path):
    assert Settings.load() == Settings("chute_outputs", 10.0)
    assert Settings().mirror_limit == 10_000_000_000
    assert Settings().outputs_dir(tmp_path) == tmp_path / "chute_outputs"
    file.write_text('[settings]\noutputs = "/data/out"\nmirror_limit_gb = 0.5\n')
    assert Settings.load() == Settings("/data/out", 0.5)
    assert Settings.load().outputs_dir(tmp_path) == Path("/data/out")
    assert Settings.load().mirror_limit == 500_000_000
    file.write_text("[settings]\nmirror_limit_gb = inf\n")
    assert Settings.load().mirror_limit is None
    assert Settings.load().log_limit_bytes == 1024**3
    assert Settings.load().again_limit == 10**9
    for text, limit in (("0", 0), ("inf", 2**62)):
        file.write_text(f"[settings]\nagain_limit_gb = {text}\n")
        assert Settings.load().again_limit == limit
    for text, limit in (('"2g"', 2 * 1024**3), ("100_000", 100_000), ('"none"', None)):
        file.write_text(f"[settings]\nlog_limit = {text}\n")
        assert Settings.load().log_limit_bytes == limit


@pytest.mark.parametrize(
    "line", ["outputs = ''", "outputs = 3", "mirror_limit_gb = 0", "mirror_limit_gb = true",
             "again_limit_gb = -1", "again_limit_gb = nan", "again_limit_gb = true",
             "mirror_limit_gb = '10'", "mirror_limit_gb = nan", "mirror_limit_gb = -1",
             "log_limit = 1", "log_limit = 'much'", "log_limit = true"],
)  # fmt: skip
def test_wrong_settings(file, line):
    file.write_text(f"[settings]\n{line}\n")
    with pytest.raises(ConfigError, match=f"^{file}: settings: {line.split()[0]}="):
        Settings.load()


def test_our_folders_are_private(file, tmp_path):
    assert config_file() == file
    assert state_dir() == tmp_path / "data" / "chutes_jupyter"
    assert mode(state_dir()) == 0o700
    state_dir().chmod(0o755)
    assert mode(state_dir()) == 0o700
    assert known_hosts_file() == state_dir() / "known_hosts"


def _add(number: int) -> None:
    Workers.load().add(Worker(f"gpu{number}", f"h{number}"))


def test_processes_that_add_at_once_lose_nothing(file):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add, args=(number,)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert set(Workers.load().names()) == {"local", *(f"gpu{number}" for number in range(6))}


def test_a_lock_that_another_holds_is_waited_for_and_then_named(tmp_path):
    path = tmp_path / "x.lock"
    said = "another process holds this lock"
    with file_lock(path), pytest.raises(ConfigError, match=said), file_lock(path, timeout=0.05):
        pass
    with file_lock(path, timeout=0.05):
        pass


def test_reading_workers_does_not_load_the_writer(file):
    code = (
        "import sys; from chutes_jupyter.config import Workers; Workers.load();"
        "sys.exit(int('tomlkit' in sys.modules or 'asyncssh' in sys.modules))"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
