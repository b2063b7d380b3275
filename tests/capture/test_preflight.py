"""What is listed before a job starts, and which names stay here."""

from __future__ import annotations

import pytest

from chutes_jupyter.credentials import credential
from chutes_jupyter.errors import CaptureError, SpecError
from chutes_jupyter.preflight import Item, Report, lacking, packages_for
from tests.capture.conftest import Notebook, Worker

KEY = "sk-" + "a1B2" * 8
CREDENTIALS = [
    ("API_KEY", "abc"),
    ("apiKey", "abc"),
    ("HF_TOKEN", "abcdefgh"),
    ("db_password", b"abc"),
    ("secret", "abc"),
    ("aws_secret_access_key", "abc"),
    ("x", KEY),
    ("x", "ghp_" + "a" * 36),
    ("x", "hf_" + "a" * 34),
    ("x", "AKIA" + "A" * 16),
    ("x", "-----BEGIN OPENSSH PRIVATE KEY-----\n…"),
    ("x", "postgres://me:pw@host/db"),
    ("cfg", {"a": [1, {"password": "abc"}]}),
    ("cfg", [KEY]),
]
HARMLESS = [
    ("tokens", 5),
    ("token_count", ""),
    ("tokenizer", "bert"),
    ("max_tokens", 100),
    ("monkey", "abc"),
    ("EOS_TOKEN", "<|endoftext|>"),
    ("cfg", {"pad_token": "[PAD]", "sep_token": "a b c d e"}),
    ("keys", ["a"]),
    ("author", "me"),
    ("url", "https://host/path"),
    ("skill", "sk-short"),
    ("cfg", {"tokenizer": "x", "n_tokens": 4}),
    ("passage", "text"),
]


@pytest.mark.parametrize(("name", "value"), CREDENTIALS)
def test_what_looks_like_a_credential(name: str, value: object) -> None:
    assert (credential(value, name) or "").startswith(name)


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_what_does_not(name: str, value: object) -> None:
    assert credential(value, name) is None


def test_the_place_in_a_value_is_said() -> None:
    assert credential({"a": [1, {"password": "x"}]}, "cfg") == 'cfg["a"][1]["password"]'


def test_credentials_are_held_back_unless_named(notebook: Notebook, worker: Worker) -> None:
    notebook.names.update(HF_TOKEN="canary-1", cfg={"url": "u", "password": "canary-2"})
    job = notebook.job("return HF_TOKEN, cfg['password']")
    with pytest.raises(CaptureError) as caught:
        job.payload({})
    text = str(caught.value)
    assert "HF_TOKEN looks like a credential" in text
    assert 'cfg["password"] looks like a credential' in text
    assert "--secret HF_TOKEN" in text
    assert "canary" not in text
    named = job.options(send=["cfg"], secret=["HF_TOKEN"])
    assert worker.run(named.payload({})) == ("canary-1", "canary-2")


def test_credentials_in_closures_and_defaults_are_held_back(
    notebook: Notebook, worker: Worker
) -> None:
    notebook.cell(
        "def make(token):\n    def f(x=1): return token\n    return f\nf = make('canary-1')"
    )
    job = notebook.job("return f()")
    with pytest.raises(CaptureError, match="f's token looks like a credential"):
        job.payload({})
    assert worker.run(job.options(send=["token"]).payload({})) == "canary-1"


def test_a_credential_that_the_cell_may_bind_itself_is_left_out(notebook: Notebook) -> None:
    notebook.names["HF_TOKEN"] = "canary-1"
    report = notebook.job("for HF_TOKEN in job_data['x']:\n    pass\nreturn HF_TOKEN").check()
    assert report.held == ("HF_TOKEN",)
    assert "canary" not in str(report)


def test_names_are_checked() -> None:
    from chutes_jupyter.models import JobOptions

    with pytest.raises(SpecError, match="list of names"):
        JobOptions(send=["a b"])  # type: ignore[arg-type]
    assert JobOptions(secret="TOKEN").secret == ("TOKEN",)  # type: ignore[arg-type]


def test_everything_is_listed_with_its_size(notebook: Notebook) -> None:
    notebook.cell(
        "import json, decimal\ndata = b'x' * 5000\nPASSWORD = 'canary-1'\n"
        "class A: pass\nthings = [A(), len]\ndef f(): return data, json"
    )
    job = notebook.job("return f(), things, PASSWORD").options(secret=["PASSWORD"])
    report = job.check()
    text = str(report)
    kinds = {item.kind for item in report.items}
    assert kinds == {"import", "source", "value", "pickle", "secret"}
    assert "  value   data  5.0" in text
    assert "  import  import json\n" in text
    assert "  source  f (In[1])  " in text
    assert "  pickle  things  " in text
    assert "  secret  PASSWORD\n" in text
    assert "canary" not in text
    assert report.ok
    assert text.endswith("Nothing stands in its way.\n")


def test_what_is_refused_is_listed_too(notebook: Notebook) -> None:
    notebook.cell("import threading\ncfg = {'a': [1, 2, threading.Lock()]}\nn = 1")
    report = notebook.job("return cfg, n").check()
    assert not report.ok
    assert 'cfg["a"][2] is a _thread.lock' in report.refused[0]
    assert "In[2] line 2" in report.refused[0]
    assert [item.name for item in report.items if item.kind == "value"] == ["n"]
    assert "It can't start like this." in str(report)


def test_long_lists_are_cut() -> None:
    items = tuple(Item(f"f{number}.py", "module", 1000) for number in range(50))
    text = str(Report("train", "gpu1", items))
    assert "… and 10 more, 10 kB" in text
    assert text.startswith("train on gpu1: 50 kB to send\n")


def test_packages_are_called_by_what_installs_them() -> None:
    assert packages_for(["sklearn", "nowhere"]) == {"nowhere": "nowhere", "sklearn": "scikit-learn"}
    text = lacking("train", "gpu1", {"sklearn": "scikit-learn"}, "/opt/bin/python")
    assert "/opt/bin/python -m pip install scikit-learn" in text
