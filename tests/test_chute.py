"""What a person declares: chutes, job functions, selectors and images."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest

from chutes_jupyter import Chute, Image, JobFunction, NodeSelector, Port, SpecError, UnknownWorker
from chutes_jupyter.agent import codec
from chutes_jupyter.chute import cell_hook, cell_job, default_chute
from chutes_jupyter.models import JobOptions
from chutes_jupyter.nodes import too_few


def made(source: str = "return 1", name: str = "train", **options: Any) -> JobFunction:
    return cell_job(source, name, JobOptions(**options), {}, Chute(), "In[1]")


def test_the_reference_signatures() -> None:
    job = inspect.signature(Chute("me", "demo", "x").job).parameters
    # What is ours alone can't be taken for the reference's: it has to be named.
    ours = {"log_limit"}
    assert [name for name in job if name not in ours] == ["ports", "timeout", "upload", "ssh"]
    assert {job[name].kind for name in ours} == {inspect.Parameter.KEYWORD_ONLY}
    assert [job[name].default for name in ("timeout", "upload", "ssh")] == [None, True, False]
    assert inspect.signature(Chute.on_startup).parameters["priority"].default == 50
    expected = {
        "tagline": "",
        "readme": "",
        "standard_template": None,
        "revision": None,
        "node_selector": None,
        "concurrency": 1,
        "max_instances": 1,
        "shutdown_after_seconds": 300,
        "scaling_threshold": 0.75,
        "allow_external_egress": False,
        "encrypted_fs": False,
    }
    found = inspect.signature(Chute).parameters
    assert list(found)[:3] == ["username", "name", "image"]
    assert {name: found[name].default for name in expected} == expected


def test_a_job_function_has_what_it_was_declared_with() -> None:
    chute = Chute(username="me", name="demo", image="parachutes/python:3.12", later="kept")

    @chute.job(ports=[{"name": "web", "port": 8080, "proto": "http"}], timeout=3600, ssh=True)
    async def train(self: Any, **job_data: Any) -> None:
        """Trains."""

    assert isinstance(train, JobFunction)
    assert train.name == "train"
    assert train.ports == [Port("web", 8080, "http"), Port("ssh", 2202, "tcp")]
    assert (train.timeout, train.upload, train.ssh, train.worker) == (3600, True, True, "local")
    assert train.__doc__ == "Trains."
    assert chute._jobs == [train]
    assert chute.extra == {"later": "kept"}
    assert "train, web:8080/http" in repr(train)


def test_hooks_are_returned_as_they_are() -> None:
    chute = Chute("me", "demo", "x")

    @chute.on_startup(priority=10)
    async def setup(self: Any) -> None: ...

    assert inspect.iscoroutinefunction(setup)
    assert [(hook.priority, hook.function) for hook in chute._startup_hooks] == [(10, setup)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 29}, "timeout=29"),
        ({"timeout": True}, "timeout=True"),
        ({"timeout": 60.0}, "timeout=60.0"),
        ({"ports": [Port("web", 8080, "http"), Port("web", 8081, "http")]}, "ports"),
        ({"ports": [{"name": "web", "port": 8000, "proto": "http"}]}, "8002"),
        ({"upload": 1}, "upload=1"),
        ({"ssh": "yes"}, "ssh='yes'"),
    ],
)
def test_wrong_options_fail_before_the_function(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Chute("me", "demo", "x").job(**options)


@pytest.mark.parametrize("priority", ["high", True, 1.5, None])
def test_wrong_priorities(priority: Any) -> None:
    with pytest.raises(SpecError, match="priority"):
        Chute("me", "demo", "x").on_startup(priority)
    with pytest.raises(SpecError, match="priority"):
        cell_hook("x = 1", priority, {}, Chute(), "In[1]")


@pytest.mark.parametrize(
    "given",
    [
        {"username": 1},
        {"name": None},
        {"image": 3},
        {"node_selector": 3},
        {"node_selector": {"x": 1}},
    ],
)
def test_wrong_chutes(given: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(given))):
        Chute(**{"username": "me", "name": "demo", "image": "x", **given})


@pytest.mark.parametrize("name", ["", "a b", "class", "1a", "a-b", None, 3])
def test_wrong_names(name: Any) -> None:
    with pytest.raises(SpecError, match="name="):
        made(name=name)


@pytest.mark.parametrize(
    "source",
    [
        "async def train(self, epochs=3): pass",
        "def train(): pass",
        "def train(self): pass",
        "def train(self, *args, **job_data): pass",
        "import x\ndef train(data, **job_data): pass",
        "def train(self=1, **job_data): pass",
        "def train(self, *, a, **job_data): pass",
        "def train(self, **job_data):\n    yield 1",
    ],
)
def test_cells_that_hold_a_wrong_function(source: str) -> None:
    with pytest.raises(SpecError, match=r"async def train\(self, \*\*job_data\)"):
        made(source)


def test_cells_of_decorated_functions() -> None:
    with pytest.raises(SpecError, match=r"@chute.job\(timeout=60\)"):
        made("@chute.job(timeout=60)\nasync def train(self, **job_data): pass")


def test_options_give_another_job_function() -> None:
    job = made(ports=[Port("web", 8080, "http")], timeout=60)
    other = job.options(worker="gpu1", timeout=None, ssh=True)
    assert (other.worker, other.timeout, len(other.ports)) == ("gpu1", None, 2)
    assert (job.worker, job.timeout, len(job.ports)) == ("local", 60, 1)
    assert other.options(ssh=False).ports == job.ports
    assert (other.name, other.code) == (job.name, job.code)
    with pytest.raises(SpecError, match="no such option"):
        job.options(gpu=3)


def test_gpus_are_those_of_the_selector_until_they_are_set() -> None:
    async def train(self: Any, **job_data: Any) -> None: ...

    assert Chute().job()(train).gpus is None
    job = Chute(node_selector=NodeSelector(gpu_count=2)).job()(train)
    assert job.gpus == 2
    assert (job.options(gpus=0).gpus, job.options(gpus=4).gpus) == (0, 4)
    assert job.options(gpus=4).options(gpus=None).gpus == 2
    with pytest.raises(SpecError, match=r"^gpus=True: must be a whole number from 0 "):
        job.options(gpus=True)


@pytest.mark.parametrize(
    ("wanted", "has", "refused"),
    [(None, 1, False), (0, 1, False), (1, 1, False), (2, 1, True), (2, 0, False), (2, None, False)],
)
def test_more_gpus_than_a_worker_has_are_refused_by_name(
    wanted: int | None, has: int | None, refused: bool
) -> None:
    gpus = None if has is None else [GPUS["h100"]] * has
    words = too_few(wanted, gpus, "gpu1")
    assert (words is not None) == refused
    if words is not None:
        assert words.startswith("gpu1 has 1 (")
        assert words.endswith("; the job asks for 2 GPUs.")


def test_registered_again_it_takes_its_own_place() -> None:
    chute = Chute()
    for _ in range(2):
        last = cell_job("return 1", "train", JobOptions(), {}, chute, "In[1]")
    assert chute._jobs == [last]


@pytest.mark.parametrize(
    ("job_data", "words"),
    [
        ({"self": 1}, "given to the function"),
        ({"output_dir": "/tmp"}, "given to the function"),
        ({"_secret": 1}, "begin with _"),
        ({"_ssh_public_key": 3}, "must be a text"),
        ({1: 2}, "keys must be strings"),
        ({"lock": threading.Lock()}, "'lock'"),
        ({"cfg": {"deep": [object()]}}, r"cfg\['deep'\]|cfg\[\"deep\"\]"),
    ],
)
def test_refused_job_data(job_data: dict[Any, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        made().submit(job_data)


@pytest.mark.parametrize(
    "key", ["", "# none", "ssh-ed25519 AAAA", "x", 'command="id" ssh-ed25519 AAAA', "BEGIN PRIVATE"]
)
def test_a_key_that_is_none_is_refused_where_there_is_a_door(key: str) -> None:
    with pytest.raises(SpecError, match="_ssh_public_key"):
        made(ssh=True).submit(_ssh_public_key=key)


def test_job_data_travels() -> None:
    data = {"_ssh_public_key": "ssh-ed25519 AAAA", "ack": 1, "b": b"x", "t": (1, 2), "data": None}
    found = codec.loads(made().payload(data))
    assert found["job_data"] == data
    assert found["chute"] == {"username": "", "name": "notebook"}
    assert (found["v"], found["job"], found["module"]) == (1, "train", "__main__")


def test_an_unknown_worker_fails_at_once() -> None:
    with pytest.raises(UnknownWorker, match="gpu9"):
        made(worker="gpu9").submit()


def test_ack_is_a_flag() -> None:
    with pytest.raises(SpecError, match="ack"):
        made().submit(ack=1)  # type: ignore[arg-type]


def test_there_is_one_default_chute() -> None:
    assert default_chute() is default_chute()


def test_notices_name_what_is_not_applied() -> None:
    image = (
        Image(username="me", name="training", tag="1.0")
        .from_base("parachutes/python:3.12")
        .run_command("pip install torch")
        .apt_install(["git", "curl"])
        .with_env("TOKEN", "secret")
        .with_python("3.12")
        .with_maintainer("me")
        .add(source=".", dest="/app")
        .set_workdir("/app")
        .set_user("me")
        .apt_remove("curl")
        .with_entrypoint("a", "b")
    )
    assert len(image.steps) == 11
    job = cell_job(
        "return 1",
        "train",
        JobOptions(ports=(Port("dns", 9000, "udp"),), ssh=True),
        {},
        Chute("me", "demo", image),
        "In[1]",
    )
    text = "\n".join(job.notices())
    for words in ("run_command('pip install torch')", "with_env('TOKEN', …)", "add('.', '/app')"):
        assert words in text
    assert "secret" not in text
    assert "with_maintainer" not in text
    assert "udp" not in text  # the doors of both are there
    assert "ssh" not in text
    assert made().notices() == []


def test_wrong_images() -> None:
    with pytest.raises(SpecError, match="tag"):
        Image("me", "training", "")


GPUS = {
    "t4": {"name": "Tesla T4", "memory_mib": 15109},
    "l40s": {"name": "NVIDIA L40S", "memory_mib": 46068},
    "h100": {"name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559},
    "4090": {"name": "NVIDIA GeForce RTX 4090", "memory_mib": 24564},
}


@pytest.mark.parametrize(
    ("asked", "has", "fits"),
    [
        ({}, ["t4"], True),
        ({"gpu_count": 2}, ["t4"], False),
        ({"gpu_count": 2}, ["t4", "h100"], True),
        ({"min_vram_gb_per_gpu": 24}, ["t4"], False),
        ({"min_vram_gb_per_gpu": 24}, ["4090"], True),
        ({"min_vram_gb_per_gpu": 48}, ["l40s"], True),
        ({"min_vram_gb_per_gpu": 80}, ["h100"], True),
        ({"min_vram_gb_per_gpu": 81}, ["l40s"], False),
        ({"gpu_count": 2, "min_vram_gb_per_gpu": 80}, ["t4", "h100"], False),
        ({"include": ["l4"]}, ["l40s"], False),
        ({"include": ["L40S"]}, ["l40s"], True),
        ({"include": ["rtx4090"]}, ["4090"], True),
        ({"include": ["rtx_4090", "h100"]}, ["h100"], True),
        ({"exclude": ["t4"]}, ["t4"], False),
        ({"exclude": ["h100"]}, ["t4", "h100"], True),
        ({}, [], False),
    ],
)
def test_a_worker_fits_or_is_refused_by_name(
    asked: dict[str, Any], has: list[str], fits: bool
) -> None:
    refusal, notice = NodeSelector(**asked).check([GPUS[name] for name in has], "gpu1")
    assert notice is None
    assert (refusal is None) == fits
    if refusal is not None:
        assert refusal.startswith("gpu1 has ")
        for name in has:
            assert GPUS[name]["name"] in refusal


def test_a_worker_without_gpu_tools_gives_a_notice() -> None:
    refusal, notice = NodeSelector(gpu_count=2).check(None, "gpu1")
    assert refusal is None
    assert notice is not None
    assert "gpu1" in notice
    assert "2 GPUs with 16 GB" in notice


@pytest.mark.parametrize(
    "wrong",
    [
        {"gpu_count": 0},
        {"gpu_count": 9},
        {"gpu_count": True},
        {"gpu_count": 1.0},
        {"min_vram_gb_per_gpu": 15},
        {"min_vram_gb_per_gpu": 141},
        {"max_hourly_price_per_gpu": 0},
        {"max_hourly_price_per_gpu": "2"},
        {"include": "h100"},
        {"include": [1]},
        {"exclude": 3},
    ],
)
def test_wrong_selectors(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        NodeSelector(**wrong)


def test_selectors_may_be_dicts() -> None:
    chute = Chute("me", "demo", "x", node_selector={"gpu_count": 2, "include": ["h100"]})
    assert chute.node_selector == NodeSelector(gpu_count=2, include=["h100"])
    assert chute.node_selector is not None
    assert NodeSelector(**chute.node_selector.to_json()) == chute.node_selector
