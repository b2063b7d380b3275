"""The options of ``%%chute_job`` and ``%%chute_startup``: parsed, and checked by the models."""

from __future__ import annotations

import argparse
import keyword
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands.arguments import Parser, parse
from chutes_jupyter.errors import SpecError, UsageError
from chutes_jupyter.kernel.values import parse_job_data, split_line, unquote
from chutes_jupyter.models import (
    DEFAULT_GRACE,
    JobOptions,
    Port,
    check_gpus,
    check_grace,
    check_log_limit,
    parse_timeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PRIORITY = 50


@dataclass(frozen=True)
class JobLine:
    """What the line of ``%%chute_job`` asks for."""

    name: str
    options: JobOptions
    run: bool = False
    wait: bool = False
    out: str | None = None
    job_data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StartupLine:
    """What the line of ``%%chute_startup`` asks for."""

    name: str | None
    priority: int


def job_parser() -> Parser:
    """Return the parser of ``%%chute_job``'s line."""
    parser = Parser(
        "%%chute_job",
        description="Register the cell as the body of: async def NAME(self, **job_data). "
        "A cell that holds just that function is the job as it stands.",
        epilog="Values are Python literals, $variable or {expression} of the notebook. "
        "Then NAME.submit(key=value) or: %chute run NAME key=value",
    )
    parser.add_argument("name", metavar="NAME", help="the job function's name in the notebook")
    add = parser.add_argument
    add("--port", metavar="NAME:PORT/PROTO", action="append", default=[], dest="ports",
        help="a port that the job listens on, like web:8080/http (repeatable)")  # fmt: skip
    add("--timeout", metavar="TIME", default="none", help="3600, 90m, 1h or none (default)")
    upload = argparse.BooleanOptionalAction
    add("--upload", action=upload, default=True, help="bring its files back (default)")
    add("--ssh", action="store_true", help="declare the SSH port, 2202")
    add("--worker", metavar="WORKER", default="local", help="where it runs (default: local)")
    add("--gpus", metavar="N", default=None,
        help="how many GPUs of the worker it has for itself; it waits its turn")  # fmt: skip
    add("--grace", metavar="SECONDS", default=None,
        help=f"between asking it to end and ending it by force (default: {DEFAULT_GRACE:g})",
        )  # fmt: skip
    add("--log-limit", metavar="SIZE", default="default",
        help="how much of its log is kept, head and tail: 512m, 2g or none (default: 1g, or "
        "log_limit of the workers file)")  # fmt: skip
    add("--run", metavar="key=value", nargs="*", default=None, help="submit it at once")
    add("--wait", action="store_true",
        help="with --run: print the log live, and raise if the job fails")  # fmt: skip
    add("-o", "--out", metavar="VAR", default=None, help="with --run: bind the job to this name")
    return parser


def parse_job_line(line: str, names: Mapping[str, Any]) -> JobLine:
    """Return what a line of ``%%chute_job`` asks for, every rule checked.

    Raises
    ------
    SpecError
        If a port, the timeout, a name or a value breaks its rule.
    UsageError
        If an option is unknown, incomplete, or makes no sense without another.
    HelpShown
        If the line asked for help.
    """
    given = _parse(job_parser(), line)
    options = JobOptions(
        ports=tuple(Port.parse(text) for text in given.ports),
        timeout=parse_timeout(given.timeout),
        upload=given.upload,
        ssh=given.ssh,
        worker=given.worker,
        grace=_grace(given.grace),
        log_limit=check_log_limit(given.log_limit, "--log-limit"),
        gpus=check_gpus(given.gpus, "--gpus"),
    )
    run = given.run is not None
    for option, value in (("--wait", given.wait), ("--out", given.out)):
        if value and not run:
            raise UsageError(f"{option} needs --run: without it the cell is only registered")
    return JobLine(
        name=_identifier("NAME", given.name, "%%chute_job train"),
        options=options,
        run=run,
        wait=given.wait,
        out=_identifier("--out", given.out, "--out job") if given.out else None,
        job_data=parse_job_data(given.run or (), names),
    )


def startup_parser() -> Parser:
    """Return the parser of ``%%chute_startup``'s line."""
    parser = Parser(
        "%%chute_startup",
        description="Register the cell as a start-up hook of the notebook's jobs: the body of "
        "async def NAME(self). It runs before the job and sets on self what the job needs.",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a name; the same one replaces it")
    parser.add_argument(
        "--priority", metavar="N", default=str(DEFAULT_PRIORITY), help="lowest first (default: 50)"
    )
    return parser


def parse_startup_line(line: str) -> StartupLine:
    """Return what a line of ``%%chute_startup`` asks for; raises like `parse_job_line`."""
    given = _parse(startup_parser(), line)
    try:
        priority = int(given.priority)
    except ValueError:
        rule = "must be a whole number; the lowest runs first"
        raise SpecError("--priority", given.priority, rule, "--priority 10") from None
    name = _identifier("NAME", given.name, "%%chute_startup setup") if given.name else None
    return StartupLine(name, priority)


def _parse(parser: Parser, line: str) -> argparse.Namespace:
    return parse(parser, [unquote(word) for word in split_line(line)])


def _grace(text: str | None) -> float:
    if text is None:
        return DEFAULT_GRACE
    try:
        return check_grace(float(text))
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        rule = "must be a number of seconds from 0 to 3600"
        raise SpecError("--grace", text, rule, "--grace 30") from None


def _identifier(option: str, text: str, example: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise SpecError(option, text, "must be a Python name", example)
    return text
