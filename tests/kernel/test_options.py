"""The lines of `%%chute_job` and `%%chute_startup`."""

from __future__ import annotations

import pytest

from chutes_jupyter.commands.arguments import HelpShown
from chutes_jupyter.errors import SpecError, UsageError
from chutes_jupyter.kernel.options import parse_job_line, parse_startup_line
from chutes_jupyter.models import Port


def test_a_bare_name_is_a_job_with_the_reference_s_defaults():
    asked = parse_job_line("train", {})
    options = asked.options
    assert (asked.name, asked.run, asked.wait, asked.out) == ("train", False, False, None)
    assert (options.ports, options.timeout, options.upload, options.ssh) == ((), None, True, False)
    assert (options.worker, options.grace) == ("local", 10.0)


def test_every_option():
    asked = parse_job_line(
        "train --port web:8080/http --port grpc:9000/tcp --timeout 90m --no-upload --ssh "
        "--worker 'gpu 1' --grace 2.5 --run epochs=3 cfg={'a': [1, n]} --wait -o job",
        {"n": 2},
    )
    assert asked.options.ports == (
        Port("web", 8080, "http"),
        Port("grpc", 9000, "tcp"),
        Port("ssh", 2202, "tcp"),
    )
    assert asked.options.timeout == 5400
    assert not asked.options.upload
    assert (asked.options.worker, asked.options.grace) == ("gpu 1", 2.5)
    assert (asked.run, asked.wait, asked.out) == (True, True, "job")
    assert asked.job_data == {"epochs": 3, "cfg": {"a": [1, 2]}}


def test_run_without_job_data_runs_too():
    assert parse_job_line("train --run", {}).run


@pytest.mark.parametrize(
    ("text", "seconds"), [("3600", 3600), ("1h", 3600), ("90m", 5400), ("45s", 45), ("none", None)]
)
def test_timeouts(text: str, seconds: int | None):
    assert parse_job_line(f"train --timeout {text}", {}).options.timeout == seconds


def test_gpus():
    assert parse_job_line("train --gpus 2", {}).options.gpus == 2
    assert parse_job_line("train --gpus 0", {}).options.gpus == 0
    assert parse_job_line("train", {}).options.gpus is None


def test_a_log_limit():
    assert parse_job_line("train --log-limit 2g", {}).options.log_limit == 2 * 1024**3
    assert parse_job_line("train --log-limit none", {}).options.log_limit is None
    assert parse_job_line("train", {}).options.log_limit == "default"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --port web:80/http", "8002"),
        ("train --port web:8080", "NAME:PORT/PROTO"),
        ("train --port Web:8080/http", "lowercase"),
        ("train --port a:8080/http --port b:8080/tcp", "already used by 'a'"),
        ("train --timeout 5", "86400"),
        ("train --timeout soon", "--timeout 90m"),
        ("train --grace -1", "0 to 3600"),
        ("train --grace=x", "0 to 3600"),
        ("train --log-limit 1k", "Write it like --log-limit 2g"),
        ("train --gpus 65", "--gpus='65': must be a whole number from 0"),
        ("train --gpus all", "Write it like --gpus 1"),
        ("2train", "must be a Python name"),
        ("class", "must be a Python name"),
        ("train --run --out 1x", "must be a Python name"),
        ("train --run epochs", "must be key=value"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_its_words(line: str, says: str):
    with pytest.raises(SpecError) as caught:
        parse_job_line(line, {})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "NAME"),
        ("train --prot web:8080/http", "--prot"),
        ("train --port", "--port"),
        ("train epochs=3", "epochs=3"),
        ("train --wait", "--wait needs --run"),
        ("train -o job", "--out needs --run"),
    ],
)
def test_a_line_that_is_written_wrongly_shows_the_usage(line: str, says: str):
    with pytest.raises(UsageError) as caught:
        parse_job_line(line, {})
    assert says in str(caught.value)


@pytest.mark.parametrize("line", ["--help", "-h", "train --run --help"])
def test_help_names_every_option(line: str):
    with pytest.raises(HelpShown) as caught:
        parse_job_line(line, {})
    for option in (
        "NAME:PORT/PROTO", "--timeout", "--no-upload", "--ssh", "--worker", "--run", "--wait",
        "--out", "--grace", "--log-limit", "--gpus",
    ):  # fmt: skip
        assert option in caught.value.text


def test_startup_lines():
    assert tuple(vars(parse_startup_line("")).values()) == (None, 50)
    assert tuple(vars(parse_startup_line("model --priority -5")).values()) == ("model", -5)
    with pytest.raises(SpecError, match="whole number"):
        parse_startup_line("--priority high")
    with pytest.raises(HelpShown):
        parse_startup_line("--help")
