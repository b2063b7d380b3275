"""The reference's rules: what is allowed, and the exact words of every refusal."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chutes_jupyter.errors import SpecError
from chutes_jupyter.models import (
    DEFAULT_GRACE,
    TERMINAL,
    JobOptions,
    JobSpec,
    Port,
    check_flag,
    check_gpus,
    check_grace,
    check_log_limit,
    check_ports,
    check_timeout,
    new_job_id,
    parse_timeout,
)

PORT_EXAMPLE = 'Write it like Port(name="web", port=8080, proto="http")'
PORTS_EXAMPLE = 'Write it like ports=[Port(name="web", port=8080, proto="http")]'
DICT_EXAMPLE = 'Write it like {"name": "web", "port": 8080, "proto": "http"}'
NAME_RULE = "must be lowercase letters, optionally followed by digits"
NUMBER_RULE = "must be 2202 (reserved for SSH) or a whole number from 8002 to 65535"
PROTO_RULE = "must be tcp, udp or http"
TIMEOUT_RULE = "must be None (no limit) or a whole number of seconds from 30 to 86400"


@pytest.mark.parametrize("number", [2202, 8002, 8003, 8080, 65534, 65535])
@pytest.mark.parametrize("proto", ["tcp", "udp", "http"])
def test_allowed_ports(number, proto):
    port = Port(name="web", port=number, proto=proto)
    assert (port.name, port.port, port.proto) == ("web", number, proto)


@pytest.mark.parametrize("name", ["a", "web", "metrics1", "x99", "z0"])
def test_allowed_names(name):
    assert Port(name, 8080, "http").name == name


@pytest.mark.parametrize(
    "name",
    [
        "", "1", "1web", "Web", "WEB", "web-1", "web_1", "web1a", "w b", " web", "web ", "web\n",
        "wéb", "web٣", "веб", None, 1, True, b"web",
    ],
)  # fmt: skip
def test_refused_names(name):
    with pytest.raises(SpecError) as caught:
        Port(name, 8080, "http")
    assert str(caught.value) == f"port.name={name!r}: {NAME_RULE}. {PORT_EXAMPLE}"


@pytest.mark.parametrize(
    "number",
    [
        -1, 0, 1, 22, 80, 2201, 2203, 8000, 8001, 65536, 10**30, True, False, 8080.0,
        math.nan, "8080", None, 8080j,
    ],
)  # fmt: skip
def test_refused_numbers(number):
    with pytest.raises(SpecError) as caught:
        Port("web", number, "http")
    assert str(caught.value) == f"port.port={number!r}: {NUMBER_RULE}. {PORT_EXAMPLE}"


@pytest.mark.parametrize("proto", ["", "TCP", "https", "ws", " tcp", None, 6, ["tcp"]])
def test_refused_protocols(proto):
    with pytest.raises(SpecError) as caught:
        Port("web", 8080, proto)
    assert str(caught.value) == f"port.proto={proto!r}: {PROTO_RULE}. {PORT_EXAMPLE}"


@given(st.integers(-(10**6), 10**6))
def test_the_numbers_allowed_are_exactly_these(number):
    allowed = number == 2202 or 8002 <= number <= 65535
    try:
        Port("web", number, "tcp")
    except SpecError:
        assert not allowed
    else:
        assert allowed


def test_a_spec_error_is_a_value_error_and_carries_its_parts():
    with pytest.raises(ValueError) as caught:
        Port("web", 80, "http")
    error = caught.value
    assert (error.field, error.value, error.rule) == ("port.port", 80, NUMBER_RULE)
    assert error.example == 'Port(name="web", port=8080, proto="http")'


def test_a_port_can_not_be_changed():
    with pytest.raises(AttributeError):
        Port("web", 8080, "http").port = 80


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("web:8080/http", Port("web", 8080, "http")),
        (" board1:9090/tcp ", Port("board1", 9090, "tcp")),
        ("ssh:2202/tcp", Port("ssh", 2202, "tcp")),
    ],
)
def test_ports_as_options_write_them(text, port):
    assert Port.parse(text) == port


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("8080", "must be NAME:PORT/PROTO"),
        ("web:8080", "must be NAME:PORT/PROTO"),
        ("web/http", "must be NAME:PORT/PROTO"),
        ("", "must be NAME:PORT/PROTO"),
        ("web:/http", "the port '' is not a whole number"),
        ("web:http/8080", "the port 'http' is not a whole number"),
        ("web:8080.0/http", "the port '8080.0' is not a whole number"),
        ("web:-8080/http", "the port '-8080' is not a whole number"),
        ("web:٨٠٨٠/http", "the port '٨٠٨٠' is not a whole number"),
        (f"web:{'1' * 5000}/http", f"the port '{'1' * 5000}' is not a whole number"),
        ("web:80/http", f"the port 80 {NUMBER_RULE}"),
        ("Web:8080/http", f"the name 'Web' {NAME_RULE}"),
        ("web:8080/https", f"the proto 'https' {PROTO_RULE}"),
        ("web:8080/http/x", f"the proto 'http/x' {PROTO_RULE}"),
    ],
)
def test_ports_as_options_get_them_wrong(text, rule):
    with pytest.raises(SpecError) as caught:
        Port.parse(text)
    assert str(caught.value) == f"--port={text!r}: {rule}. Write it like --port web:8080/http"


def test_ports_may_be_dicts_and_any_iterable():
    web, grpc = Port("web", 8080, "http"), Port("grpc", 8081, "tcp")
    table = {"name": "grpc", "port": 8081, "proto": "tcp"}
    for ports in ([web, table], (web, table), iter([web, table])):
        assert check_ports(ports) == (web, grpc)
    assert check_ports(None) == check_ports([]) == ()
    assert JobOptions(ports=iter([web, table]), ssh=True).ports[:2] == (web, grpc)


@pytest.mark.parametrize("ports", ["web", b"web", 8080, Port("web", 8080, "http"), {}, True])
def test_ports_that_are_no_list(ports):
    with pytest.raises(SpecError) as caught:
        check_ports(ports)
    assert str(caught.value) == f"ports={ports!r}: must be a list of ports. {PORTS_EXAMPLE}"


@pytest.mark.parametrize(
    "item",
    [
        None, 8080, "web:8080/http", ("web", 8080, "http"), {}, {"name": "web", "port": 8080},
        {"name": "web", "port": 8080, "proto": "http", "host": "x"},
    ],
)  # fmt: skip
def test_items_that_are_no_ports(item):
    with pytest.raises(SpecError) as caught:
        check_ports([Port("web", 8090, "http"), item])
    rule = "must be a Port, or a dict with exactly the keys name, port and proto"
    assert str(caught.value) == f"ports[1]={item!r}: {rule}. {DICT_EXAMPLE}"


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"name": "Web"}, "name", NAME_RULE),
        ({"port": 8001}, "port", NUMBER_RULE),
        ({"proto": "ws"}, "proto", PROTO_RULE),
    ],
)
def test_a_wrong_dict_is_named_by_its_place(change, field, rule):
    item = {"name": "web", "port": 8080, "proto": "http", **change}
    with pytest.raises(SpecError) as caught:
        check_ports([Port("a", 9000, "tcp"), item])
    assert str(caught.value) == f"ports[1].{field}={item[field]!r}: {rule}. {PORT_EXAMPLE}"


def test_a_number_may_be_used_once():
    with pytest.raises(SpecError) as caught:
        check_ports([Port("a", 8080, "tcp"), Port("b", 8081, "tcp"), Port("c", 8080, "udp")])
    rule = "already used by 'a'; each port number may be used once"
    assert str(caught.value) == f"ports[2].port=8080: {rule}. {PORTS_EXAMPLE}"


def test_a_name_may_be_used_once():
    with pytest.raises(SpecError) as caught:
        check_ports([Port("a", 8080, "tcp"), Port("a", 8081, "tcp")])
    rule = "already the name of port 8080; each name may be used once"
    assert str(caught.value) == f"ports[1].name='a': {rule}. {PORTS_EXAMPLE}"


SSH = Port("ssh", 2202, "tcp")
WEB = Port("web", 8080, "http")


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([], (SSH,)),
        ([WEB], (WEB, SSH)),
        ([SSH], (SSH,)),
        ([SSH, WEB], (SSH, WEB)),
        ([Port("debug", 2202, "tcp")], (Port("debug", 2202, "tcp"),)),
    ],
)
def test_ssh_adds_its_port_once(ports, expected):
    assert check_ports(ports, ssh=True) == expected
    options = JobOptions(ports=tuple(ports), ssh=True)
    assert options.ports == expected
    assert options.changed(ssh=True).changed(ssh=True, timeout=60).ports == expected
    assert replace(options, timeout=60).ports == expected


def test_ssh_keeps_its_name_for_its_port():
    with pytest.raises(SpecError) as caught:
        JobOptions(ports=(WEB, Port("ssh", 8022, "tcp")), ssh=True)
    rule = "with ssh=True this name belongs to port 2202"
    assert str(caught.value) == f"ports[1].name='ssh': {rule}. {PORTS_EXAMPLE}"
    assert JobOptions(ports=(Port("ssh", 8022, "tcp"),)).ports[0].port == 8022


def test_the_port_that_ssh_added_goes_with_it():
    options = JobOptions(ports=(WEB,), ssh=True)
    assert options.changed(ssh=False).ports == (WEB,)
    assert options.changed(timeout=60).changed(ssh=False).ports == (WEB,)
    assert options.changed(ssh=False).changed(ssh=True).ports == (WEB, SSH)
    assert options.changed(ports=[]).ports == (SSH,)


def test_a_port_declared_as_2202_stays_without_ssh():
    assert JobOptions(ports=(SSH,), ssh=True).changed(ssh=False).ports == (SSH,)


@pytest.mark.parametrize("timeout", [None, 30, 31, 3600, 86399, 86400])
def test_allowed_timeouts(timeout):
    assert check_timeout(timeout) == timeout
    assert JobOptions(timeout=timeout).timeout == timeout


@pytest.mark.parametrize(
    "timeout",
    [
        -1,
        0,
        1,
        29,
        86401,
        10**30,
        True,
        False,
        30.0,
        3600.5,
        math.inf,
        math.nan,
        "3600",
        b"60",
        [60],
    ],
)
def test_refused_timeouts(timeout):
    message = f"timeout={timeout!r}: {TIMEOUT_RULE}. Write it like timeout=3600"
    for check in (check_timeout, lambda value: JobOptions(timeout=value)):
        with pytest.raises(SpecError) as caught:
            check(timeout)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600), ("30", 30), ("45s", 45), ("90m", 5400), ("1h", 3600), ("24h", 86400),
        (" 1 h ", 3600), ("1H", 3600), ("none", None), ("None", None),
    ],
)  # fmt: skip
def test_timeouts_as_options_write_them(text, seconds):
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1d",
        "1.5h",
        "-60",
        "1h30m",
        "60 60",
        "٦٠",
        "²",
        "29",
        "25h",
        "0",
        "9" * 5000,
        "nope",
    ],
)
def test_timeouts_as_options_get_them_wrong(text):
    with pytest.raises(SpecError) as caught:
        parse_timeout(text)
    rule = "must be seconds, or a number with s, m or h, from 30 s to 86400 s, or none"
    assert str(caught.value) == f"--timeout={text!r}: {rule}. Write it like --timeout 90m"


@pytest.mark.parametrize("value", [1, 0, None, "yes", "True", []])
@pytest.mark.parametrize("name", ["ssh", "upload"])
def test_flags_are_true_or_false(name, value):
    for check in (lambda: check_flag(name, value), lambda: JobOptions(**{name: value})):
        with pytest.raises(SpecError) as caught:
            check()
        message = f"{name}={value!r}: must be True or False. Write it like {name}=True"
        assert str(caught.value) == message


def test_grace():
    assert [check_grace(value) for value in (0, 10, 2.5, 3600)] == [0.0, 10.0, 2.5, 3600.0]
    for value in (-1, 3601, math.nan, math.inf, True, None, "10"):
        with pytest.raises(SpecError) as caught:
            check_grace(value)
        rule = "must be a number of seconds from 0 to 3600"
        assert str(caught.value) == f"grace={value!r}: {rule}. Write it like grace=30"


@pytest.mark.parametrize(
    ("value", "limit"),
    [(65536, 65536), ("64k", 65536), ("2g", 2 * 1024**3), ("512 MiB", 512 * 1024**2),
     ("100000", 100_000), (None, None), ("none", None), ("default", "default")],
)  # fmt: skip
def test_log_limits(value, limit):
    assert check_log_limit(value) == limit
    assert JobOptions(log_limit=value).log_limit == limit


@pytest.mark.parametrize("value", [65535, "63k", "0", "-1g", "2 g b", "much", True, 1e6, 2**62])
def test_wrong_log_limits(value):
    with pytest.raises(SpecError) as caught:
        check_log_limit(value)
    rule = "must be a number of bytes from 64k on, with k, m or g if you like, or none"
    assert str(caught.value) == f'log_limit={value!r}: {rule}. Write it like log_limit="2g"'


@pytest.mark.parametrize(("value", "count"), [(None, None), (0, 0), (64, 64), ("8", 8)])
def test_numbers_of_gpus(value, count):
    assert check_gpus(value) == count
    assert JobOptions(gpus=value).gpus == count


@pytest.mark.parametrize("value", [-1, 65, 1.0, True, "two", "-1", "", [1]])
def test_wrong_numbers_of_gpus(value):
    with pytest.raises(SpecError) as caught:
        check_gpus(value)
    rule = "must be a whole number from 0 (the job sees none) to 64"
    assert str(caught.value) == f"gpus={value!r}: {rule}. Write it like gpus=1"


def test_a_job_that_names_no_log_limit_has_the_setting_s():
    spec = JobSpec("a" * 32, "job", JobOptions(), "0" * 64, 1, 1.0, default_log_limit=70_000)
    assert (spec.log_limit, spec.to_json()["log_limit"]) == (70_000, 70_000)
    assert replace(spec, options=JobOptions(log_limit=None)).log_limit is None
    assert replace(spec, options=JobOptions(log_limit="1m")).log_limit == 1024**2


def test_defaults_are_the_reference_s():
    options = JobOptions()
    assert (options.ports, options.timeout, options.upload, options.ssh) == ((), None, True, False)
    assert (options.worker, options.grace) == ("local", DEFAULT_GRACE)


def test_options_are_checked_again_when_changed():
    options = JobOptions(timeout=60)
    assert options.changed(worker="gpu1").worker == "gpu1"
    assert options.changed(timeout=None).timeout is None
    with pytest.raises(SpecError, match=r"^timeout=5: "):
        options.changed(timeout=5)
    with pytest.raises(SpecError) as caught:
        options.changed(time_out=60)
    assert str(caught.value) == (
        "time_out=60: no such option; there are gpus, grace, log_limit, ports, secret, send, "
        "ssh, timeout, upload, worker. Write it like .options(timeout=3600)"
    )
    with pytest.raises(SpecError) as caught:
        options.changed(worker="")
    assert str(caught.value) == (
        "worker='': must be the name of a worker. Write it like worker=\"gpu1\""
    )


def test_job_ids_are_128_random_bits():
    ids = {new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


def test_a_spec_is_json_and_says_everything():
    spec = JobSpec(
        id="3f9c2a" + "0" * 26,
        name="train",
        options=JobOptions(ports=(WEB,), timeout=60, ssh=True, grace=3),
        payload_sha256="ab" * 32,
        payload_size=10,
        created=1.5,
        env={"A": "b"},
        node_selector={"gpu_count": 1},
    )
    assert spec.label == "train-3f9c2a"
    said = json.loads(json.dumps(spec.to_json()))
    assert said == {
        "id": spec.id,
        "name": "train",
        "ports": [
            {"name": "web", "port": 8080, "proto": "http"},
            {"name": "ssh", "port": 2202, "proto": "tcp"},
        ],
        "timeout": 60,
        "upload": True,
        "ssh": True,
        "ssh_public_key": None,
        "grace": 3.0,
        "log_limit": 1024**3,
        "gpus": None,
        "payload_sha256": "ab" * 32,
        "payload_size": 10,
        "created": 1.5,
        "python": None,
        "env": {"A": "b"},
        "notebook": None,
        "cell": None,
        "node_selector": {"gpu_count": 1},
    }


def test_terminal_states_are_the_last_five():
    assert {"succeeded", "failed", "cancelled", "timed_out", "lost"} == TERMINAL
