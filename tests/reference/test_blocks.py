"""The reference's own code, run as real jobs with only its import lines changed.

`TABLE` has a row for each block of the document, in its order. The document's functions call
methods on `self` and use modules that it never shows: `given` is what stands above the block
in the notebook (imports, and start-up hooks that supply those methods). `broken` says why a
block can't run as it was published.
"""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from chutes_jupyter import Job, JobCancelled, JobFunction, SpecError
from tests.reference.blocks import blocks

Check = Callable[[Job], None]

PREAMBLE = """
from chutes_jupyter import Chute
chute = Chute(username="myuser", name="reference", image="parachutes/python:3.12")
"""


def hook(*methods: str) -> str:
    """Return a start-up hook that sets each method (`name: body`) on `self`."""
    lines = ["@chute.on_startup()", "async def supply(self):"]
    for method in methods:
        signature, _, body = method.partition(": ")
        lines += [f"    async def {signature}:", f"        {body}"]
        name = signature.partition("(")[0]
        lines += [f"    self.{name} = {name}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Run:
    """One job made from a function of a block: what it gets, and what must come of it."""

    function: str
    value: Any = None
    log: str = ""
    files: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    fixtures: dict[str, str] = field(default_factory=dict)  # job data that a fixture makes
    given: str = ""  # more that stands above the block, for this run alone
    cancel_after: str = ""  # cancel when the log holds this
    during: Check | None = None  # what must hold while it runs
    check: Check | None = None  # what must hold at its end


@dataclass(frozen=True)
class Row:
    """What the document leaves out of a block, and the jobs that the block makes."""

    given: str = ""
    runs: tuple[Run, ...] = ()
    broken: str = ""
    refused: str = ""  # a function of the block that breaks a rule of the same document


TINY_VOCABULARY = {"<unk>": 0, "<end>": 1, "a": 2, "notebook": 3, "cell": 4, "runs": 5}


def web_page_answers(job: Job) -> None:
    url = job.ports["web"].url
    assert httpx.get(url, trust_env=False).json() == {"message": "Hello from job!"}
    health = httpx.get(f"{url.rstrip('/')}/health", trust_env=False)
    assert health.json() == {"status": "healthy"}


def saved_models_load(job: Job) -> None:
    import torch

    final = torch.load(job.output_dir / "final_model.pt", weights_only=True)
    assert final["transformer.wte.weight"].shape == (len(TINY_VOCABULARY), 8)


def error_log_has_traceback(job: Job) -> None:
    text = (job.output_dir / "error.log").read_text()
    assert "Error: no more disk" in text
    assert "Traceback" in text


def was_stopped_early(job: Job) -> None:
    with pytest.raises(JobCancelled) as caught:
        job.result(timeout=60)
    assert 0 < caught.value.value["processed_steps"] < 99


def tells_its_progress(job: Job) -> None:
    with pytest.raises(JobCancelled) as caught:
        job.result(timeout=60)
    assert caught.value.value["status"] == "cancelled"
    assert caught.value.value["progress"] > 0


def has_ssh_port(job: Job) -> None:
    assert job.ports["ssh"].port == 2202


DO_WORK = {
    "fine": hook("do_work(): return {'answer': 42}"),
    "invalid": hook("do_work(): raise ValueError('no such dataset')"),
    "unexpected": hook("do_work(): raise RuntimeError('no more disk')"),
    "endless": hook("do_work(): print('working'); await asyncio.sleep(3600)"),
}
STEP = "process_step(i): print('step', i); await asyncio.sleep(0.01)"

TABLE: dict[str, Row] = {
    "@chute.job": Row(broken="a signature, not code"),
    "port = Port": Row(broken="a signature, not code"),
    "web_server_job+multi_port_job+compute_job": Row(
        # The document's own rule: 2202, or 8002 to 65535. This function uses 8000 and 8001.
        refused="multi_port_job",
        runs=(Run("web_server_job"), Run("compute_job")),
    ),
    "training_job+server_job+quick_batch_job": Row(
        given=hook(
            "train_model(): print('trained')",
            "start_server(): print('served')",
            "process_batch(): print('processed')",
        ),
        runs=(
            Run("training_job", log="trained"),
            Run("server_job", log="served"),
            Run("quick_batch_job", log="processed"),
        ),
    ),
    "generate_report_job+streaming_job": Row(
        given="import asyncio, json\n"
        + hook(
            "generate_pdf_report(): return b'%PDF-1.4 report'",
            "process_stream(): print('streamed')",
        )
        + "@chute.on_startup()\ndef fill(self):\n    self.results = {'accuracy': 0.97}\n",
        runs=(
            Run("generate_report_job", files=("report.pdf", "results.json")),
            Run("streaming_job", cancel_after="streamed\nstreamed"),
        ),
    ),
    "debug_job+regular_job": Row(
        given=hook(
            "complex_operation(): print('complex')", "standard_operation(): print('standard')"
        ),
        runs=(
            Run("debug_job", log="complex", check=has_ssh_port),
            Run("regular_job", log="standard"),
        ),
    ),
    "my_job": Row(runs=(Run("my_job", value={"status": "completed"}),)),
    "cancellable_job": Row(
        given="import asyncio\n" + hook("process_step(i): print('step', i)"),
        runs=(
            Run(
                "cancellable_job",
                cancel_after="step 0",
                log="Job cancelled, cleaning up...",
                check=was_stopped_early,
            ),
        ),
    ),
    "job_with_outputs": Row(
        given="""import torch
@chute.on_startup()
def build(self):
    self.model, self.logs = torch.nn.Linear(4, 2), ["epoch 1", "epoch 2"]
""",
        runs=(Run("job_with_outputs", value=..., files=("model.pt", "training_log.txt")),),
    ),
    "setup+train_model": Row(
        runs=(
            Run(
                "train_model",
                value=...,
                log="Epoch 2/2",
                files=("checkpoint_epoch_0.pt", "checkpoint_epoch_1.pt", "final_model.pt"),
                data={"epochs": 2},
                fixtures={"model_name": "tiny_model"},
                check=saved_models_load,
            ),
        ),
    ),
    "web_server_job": Row(
        runs=(Run("web_server_job", cancel_after="Uvicorn running", during=web_page_answers),),
    ),
    "batch_processing_job": Row(
        given="import json\n" + hook("process_item(item): return 100 // item"),
        runs=(
            Run(
                "batch_processing_job",
                data={"items": [1, 0, 5]},
                value={"status": "completed", "processed": 2, "failed": 1, "total": 3},
                log="Failed to process item: integer division or modulo by zero",
                files=("results.json",),
            ),
        ),
    ),
    "robust_job": Row(
        given="import asyncio, json\n",
        runs=(
            Run(
                "robust_job",
                given=DO_WORK["fine"],
                value={"status": "completed", "result": {"answer": 42}},
                files=("output.json",),
            ),
            Run(
                "robust_job",
                given=DO_WORK["invalid"],
                value={
                    "status": "failed",
                    "error": "invalid_input",
                    "message": "no such dataset",
                },
            ),
            Run(
                "robust_job",
                given=DO_WORK["unexpected"],
                value={"status": "error", "error": "no more disk"},
                files=("error.log",),
                check=error_log_has_traceback,
            ),
            Run(
                "robust_job",
                given=DO_WORK["endless"],
                cancel_after="working",
                log="Job was cancelled",
            ),
        ),
    ),
    "long_job": Row(
        given="import asyncio\n" + hook(STEP),
        runs=(Run("long_job", cancel_after="step 1", check=tells_its_progress),),
    ),
    "quick_job+training_job+server_job": Row(
        runs=(Run("quick_job"), Run("training_job"), Run("server_job")),
    ),
    "job_with_checkpoints": Row(
        given="import torch\nmodel = {'weights': [0.5, 0.25]}\n",
        runs=(
            Run(
                "job_with_checkpoints",
                files=tuple(f"checkpoint_{epoch}.pt" for epoch in range(0, 100, 10)),
            ),
        ),
    ),
    "debuggable_job": Row(broken="unexpected indent"),
    "well_documented_job": Row(
        runs=(
            Run(
                "well_documented_job",
                value={
                    "status": "completed",
                    "items_processed": 150,
                    "errors": 2,
                    "duration_seconds": 342,
                    "output_files": ["results.json", "model.pt"],
                },
            ),
        ),
    ),
}

BLOCKS = {block.name: block for block in blocks()}
RUNS = [(name, run) for name, row in TABLE.items() for run in row.runs]
COUNTER = itertools.count()


def load(source: str, folder: Path) -> ModuleType:
    """Import `source` as a module of its own, as a person's script would be."""
    name = f"reference_{next(COUNTER)}"
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def without(source: str, function: str) -> str:
    """Return `source` with one top-level function taken out."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function:
            first = node.decorator_list[0].lineno - 1
            return "".join(lines[:first] + lines[node.end_lineno :])
    raise AssertionError(function)


def source_for(name: str, run: Run) -> str:
    row, block = TABLE[name], BLOCKS[name].ours
    if row.refused:
        block = without(block, row.refused)
    return PREAMBLE + row.given + run.given + block


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a GPT-2 of one small layer and its tokenizer, and return their folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = str(tmp_path_factory.mktemp("tiny-gpt2"))
    words = Tokenizer(models.WordLevel(TINY_VOCABULARY, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", eos_token="<end>"
    )
    tokenizer.save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(TINY_VOCABULARY),
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=1,
        bos_token_id=1,
        eos_token_id=1,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_has_a_row_for_each_block_of_the_document() -> None:
    assert list(TABLE) == [block.name for block in blocks()]
    for name, row in TABLE.items():
        assert row.runs or row.broken, name


def test_every_function_of_the_document_is_run_or_refused() -> None:
    for name, row in TABLE.items():
        if not row.broken:
            accounted = {run.function for run in row.runs} | {row.refused, "setup"} - {""}
            assert set(name.split("+")) <= accounted


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.broken])
def test_a_broken_block_does_not_even_parse(name: str) -> None:
    expected = {"unexpected indent": IndentationError}.get(TABLE[name].broken, SyntaxError)
    with pytest.raises(expected):
        ast.parse(BLOCKS[name].ours)


def test_only_import_lines_are_changed() -> None:
    for block in blocks():
        pairs = zip(block.text.splitlines(), block.ours.splitlines(), strict=True)
        changed = [before for before, after in pairs if before != after]
        assert all(line.startswith("from chutes.") for line in changed)


def test_the_ports_that_break_the_rule_are_refused_in_its_words(folder: Path) -> None:
    block = BLOCKS["web_server_job+multi_port_job+compute_job"]
    with pytest.raises(SpecError) as caught:
        load(PREAMBLE + block.ours, folder)
    for words in ("8000", "2202 (reserved for SSH)", "8002 to 65535", 'Port(name="web"'):
        assert words in str(caught.value)


def until_log_holds(job: Job, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in job.logs():
        assert time.monotonic() < deadline, f"{words!r} never came:\n{job.logs()}"
        assert not job.done(), f"{words!r} never came:\n{job.logs()}"
        time.sleep(0.05)


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[None]]:
    """Keep other test processes from the ports that the document fixes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @contextmanager
    def locked() -> Iterator[None]:
        with (shared / "ports-of-the-document").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return locked


def names_of_files(job: Job) -> list[str]:
    return sorted(
        path.relative_to(job.output_dir).as_posix()
        for path in job.output_dir.rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize(
    ("name", "run"), RUNS, ids=[f"{run.function}-{number}" for number, (_, run) in enumerate(RUNS)]
)
def test_a_block_runs(
    name: str,
    run: Run,
    folder: Path,
    alone: Callable[[], AbstractContextManager[None]],
    request: pytest.FixtureRequest,
) -> None:
    module = load(source_for(name, run), folder)
    function = getattr(module, run.function)
    assert isinstance(function, JobFunction)
    data = dict(run.data)
    for key, fixture in run.fixtures.items():
        data[key] = request.getfixturevalue(fixture)
    with alone() if any(port.port == 8080 for port in function.ports) else nullcontext():
        run_to_its_end(function.options(grace=1).submit(**data), run, upload=function.upload)


def run_to_its_end(job: Job, run: Run, *, upload: bool) -> None:
    if run.cancel_after:
        until_log_holds(job, run.cancel_after)
        if run.during:
            run.during(job)
        job.cancel()
        with pytest.raises(JobCancelled):
            job.result(timeout=90)
    else:
        value = job.result(timeout=90)
        assert run.value is ... or value == run.value
    assert run.log in job.logs()
    if upload:
        assert job.mirror.state == "complete", job.mirror
    assert names_of_files(job) == sorted(run.files)
    if run.check:
        run.check(job)
