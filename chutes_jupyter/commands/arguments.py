"""What a person types after `jupyter chute` or `%chute`, taken apart."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

from chutes_jupyter.config import TRANSPORTS
from chutes_jupyter.errors import SpecError, UsageError
from chutes_jupyter.models import check_gpus, parse_timeout
from chutes_jupyter.places import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEY_VALUE = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)


class HelpShown(Exception):
    """The help text was asked for; `text` is what to show."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)


class Parser(argparse.ArgumentParser):
    """An argument parser that never ends the process: a notebook's kernel goes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments, and show how they are written."""
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}\nSee {self.prog} --help")

    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - argparse's signature
        """Hand the help text over to whoever shows it."""
        raise HelpShown(self.format_help())


def build_parser(prog: str, *, notebook: bool) -> Parser:
    """Return the parser of all verbs.

    Parameters
    ----------
    prog : str
        What was typed before them (``jupyter chute``, ``%chute``).
    notebook : bool
        Whether the job functions are those of a notebook; a terminal names them by file.
    """
    parser = Parser(prog=prog, description="Run jobs on workers, and see to those that run.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_run(verbs, notebook=notebook)
    _add_again(verbs)
    _add_check(verbs, notebook=notebook)
    _add_jobs(verbs)
    _add_logs(verbs)
    _add_cancel(verbs)
    _add_files(verbs)
    _add_forward(verbs, notebook=notebook)
    _add_ssh(verbs, notebook=notebook)
    _add_clean(verbs)
    worker = verbs.add_parser("worker", help="list, add, log in to, test or remove workers")
    worker.description = "A worker is a place where jobs run: local, or any SSH host."
    _add_worker_verbs(worker.add_subparsers(dest="worker_verb", metavar="VERB", required=True))
    return parser


def _add_run(verbs: Any, *, notebook: bool) -> None:
    parser = verbs.add_parser(
        "run",
        help="submit a job function",
        description="Submit a job function with job data; without --wait it returns once the "
        "worker has the job.",
        epilog=_run_examples(parser_prog=verbs._prog_prefix, notebook=notebook),
    )
    _add_function(parser, notebook=notebook)
    values = "Python literals" + (", $variable or {expression}" if notebook else "")
    parser.add_argument("data", nargs="*", metavar="key=value", help=f"job data: {values}")
    parser.add_argument("--worker", metavar="NAME", help="where it runs, if not where it says")
    parser.add_argument(
        "--timeout", type=timeout_argument, default=..., help="3600, 90m, 1h or none"
    )
    parser.add_argument(
        "--upload",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether its output files come here",
    )
    parser.add_argument(
        "--gpus", type=_gpus, metavar="N", help="how many GPUs it has for itself; it waits its turn"
    )
    parser.add_argument(
        "--wait", action="store_true", help="print its log until it ends; fail if it fails"
    )
    add_names(parser)


def _add_again(verbs: Any) -> None:
    parser = verbs.add_parser(
        "again",
        help="run a job again",
        description="Run a job again as a new one: the same function and options, with the same "
        "data. What it was given is kept on the machine that submitted it (see again_limit_gb), "
        "but for one that was given a secret.",
    )
    _add_job(parser)
    parser.add_argument(
        "--wait", action="store_true", help="print its log until it ends; fail if it fails"
    )


def _add_function(parser: argparse.ArgumentParser, *, notebook: bool) -> None:
    what = "a job function of this notebook" if notebook else "FILE.py:NAME, or FILE.py with one"
    parser.add_argument("function", metavar="NAME" if notebook else "FILE.py:NAME", help=what)


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add the options that let names travel which look like credentials."""
    parser.add_argument(
        "--send",
        action="append",
        default=[],
        metavar="NAME",
        help="let a name travel that looks like a credential (repeatable)",
    )
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="the same for one that is a secret: nothing of it is shown (repeatable)",
    )


def _add_check(verbs: Any, *, notebook: bool) -> None:
    parser = verbs.add_parser(
        "check",
        help="list what a job would take along",
        description="List what a job would take along, with sizes, and what stands in its way: "
        "what can't travel, and modules that the worker lacks. Nothing is started.",
    )
    _add_function(parser, notebook=notebook)
    parser.add_argument("--worker", metavar="NAME", help="where it would run")
    add_names(parser)


def _run_examples(*, parser_prog: str, notebook: bool) -> str:
    if notebook:
        return f"example:\n  {parser_prog} run train epochs=3 rate=$rate name='tiny'"
    return f"example:\n  {parser_prog} run train.py:train epochs=3 name='\"tiny\"' --wait"


def _add_jobs(verbs: Any) -> None:
    parser = verbs.add_parser(
        "jobs",
        help="list jobs",
        description="List the jobs of this person, the newest first, whatever started them.",
    )
    parser.add_argument("--worker", metavar="NAME", help="only those of one worker")
    parser.add_argument("--live", action="store_true", help="only those that have not ended")
    parser.add_argument("--cached", action="store_true", help="as last known; asks no worker")
    parser.add_argument("--full", action="store_true", help="whole ids, and the reasons")
    parser.add_argument(
        "-n", "--limit", type=_count, default=50, metavar="N", help="at most N (50), 0 for all"
    )
    parser.add_argument(
        "--all", action="store_const", const=0, dest="limit", help="however many there are"
    )


def _add_logs(verbs: Any) -> None:
    parser = verbs.add_parser(
        "logs", help="print a job's log", description="Print what a job wrote, both streams."
    )
    _add_job(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
    parser.add_argument("--tail", type=_count, metavar="N", help="begin with the last N lines")


def _add_cancel(verbs: Any) -> None:
    parser = verbs.add_parser(
        "cancel",
        help="cancel jobs",
        description="Cancel jobs: each is told, given its grace, then ended by force. "
        "Its outputs and log still come.",
    )
    parser.add_argument("job", nargs="+", metavar="JOB", help=_JOB_HELP)
    parser.add_argument(
        "--wait", action="store_true", help="go on until a worker that is out of reach was told"
    )


def _add_files(verbs: Any) -> None:
    parser = verbs.add_parser(
        "files",
        help="list a job's output files",
        description="List a job's output files, and whether they are here yet.",
    )
    _add_job(parser)
    parser.add_argument(
        "--wait", action="store_true", help="first wait until it has ended and they are here"
    )


def _add_forward(verbs: Any, *, notebook: bool) -> None:
    stays = "while this kernel runs" if notebook else "until Ctrl-C"
    parser = verbs.add_parser(
        "forward",
        help="open a job's port on this machine",
        description="Open a port of a job at an address of this machine, and say which. It "
        f"stays {stays}, at the longest until the job ends.",
    )
    _add_job(parser)
    parser.add_argument(
        "port",
        metavar="PORT",
        help="the port's name, as the job declares it; or the number of one that it listens on and "
        "did not declare",
    )
    parser.add_argument(
        "local",
        nargs="?",
        type=_local_port,
        metavar="LOCALPORT",
        help="the port on this machine; one that is free if it is left out",
    )
    parser.add_argument(
        "--bind",
        type=_bind,
        metavar="ADDRESS",
        help="the address on this machine: 127.0.0.1, or 0.0.0.0 for every network that it is "
        "in; by default one that only this machine reaches and that gets no cookies of localhost",
    )
    if notebook:
        parser.add_argument(
            "--close", action="store_true", help="close what this opened for that port"
        )


def _add_ssh(verbs: Any, *, notebook: bool) -> None:
    what = "print the line that opens a shell in a running job" if notebook else ""
    parser = verbs.add_parser(
        "ssh",
        help=what or "open a shell in a running job, or run a command there",
        description="A job declared with ssh=True has a door while it runs: a shell in its "
        "directory, with its environment and interpreter.",
        epilog=None
        if notebook
        else "examples:\n  %(prog)s train-3f9c2a\n"
        "  %(prog)s train-3f9c2a nvidia-smi\n  %(prog)s train-3f9c2a -t htop",
    )
    _add_job(parser)
    if not notebook:
        parser.add_argument(
            "command", nargs=argparse.REMAINDER, help="what ssh is given besides, as it stands"
        )


def _add_clean(verbs: Any) -> None:
    parser = verbs.add_parser(
        "clean",
        help="remove jobs that have ended",
        description="Remove jobs that have ended: their folders on the workers, with log and "
        "result, and their lines in the list. What lives is kept, and so is what has output "
        "files that were not brought here; the files that were brought here stay. Jobs of a worker "
        "that was removed leave the list where they are named, or with --worker.",
    )
    parser.add_argument("job", nargs="*", metavar="JOB", help=f"only these: {_JOB_HELP}")
    parser.add_argument(
        "--older-than",
        type=_age,
        metavar="AGE",
        help="only what ended so long ago: 90m, 12h, 7d",
    )
    parser.add_argument("--worker", metavar="NAME", help="only those of one worker")
    parser.add_argument(
        "--outputs",
        action="store_true",
        help="also their output files: those that were brought here, and those that were not",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


_JOB_HELP = "train-3f9c2a, or any unique beginning of an id"


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help=_JOB_HELP)


def _add_worker_verbs(verbs: Any) -> None:
    listing = verbs.add_parser(
        "list",
        help="list the workers and their GPUs",
        description="List the workers, and of those that answer the GPUs: who has them, who "
        "waits, and what is free of their memory.",
    )
    listing.add_argument("--cached", action="store_true", help="asks no worker; shows no GPUs")
    add = verbs.add_parser(
        "add",
        help="add a worker, or change one",
        description="Add a worker, and ask about its host key where that is not known. For one "
        "that is there already with the same host, only what is given changes.",
        epilog="examples:\n  %(prog)s gpu1 me@gpu1.example.org:2222 --python /opt/conda/bin/python"
        "\n  %(prog)s local --env HF_HOME=/data/hf",
    )
    add.add_argument("name", metavar="NAME", help="what it is called here")
    add.add_argument(
        "host",
        nargs="?",
        metavar="HOST",
        help="an alias of ~/.ssh/config, user@host:port or [ipv6]:port; none for local",
    )
    add.add_argument("--python", metavar="PATH", help="the interpreter of its jobs")
    add.add_argument(
        "--env",
        action="append",
        default=[],
        type=env_argument,
        metavar="K=V",
        help="an environment variable of its jobs; K= removes it (repeatable)",
    )
    add.add_argument("--dir", metavar="PATH", help="where the folders of its jobs lie")
    add.add_argument(
        "--transport",
        choices=[*TRANSPORTS, "auto"],
        help="what carries the bytes: asyncssh, openssh (the ssh program), or auto (default)",
    )
    add.add_argument(
        "--trust",
        action=argparse.BooleanOptionalAction,
        help="whether what its jobs return may be unpickled here, which lets it run any code "
        "(default: only local)",
    )
    _add_accept_key(add)
    add.add_argument(
        "--no-connect",
        action="store_true",
        help="only write it down: do not connect to ask for its host key",
    )
    login = verbs.add_parser(
        "login",
        help="log in to a worker that asks for a password or a code",
        description="Log in to a worker that asks: for the passphrase of your key, a password or "
        "a one-time code. It holds for all your notebooks and terminals on this machine.",
    )
    test = verbs.add_parser(
        "test",
        help="connect to a worker and say what it has",
        description="Connect to a worker, and say what it has and what is missing.",
    )
    _add_accept_key(test)
    remove = verbs.add_parser(
        "remove",
        help="forget a worker",
        description="Forget a worker; its jobs go on, and their folders stay there.",
    )
    for parser in (login, test, remove):
        parser.add_argument("name", metavar="NAME", help="which worker")


def _add_accept_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-key",
        action="append",
        default=[],
        type=_fingerprint,
        metavar="SHA256:…",
        help="trust the host's key if it has this fingerprint (repeatable, for jump hosts)",
    )


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Return what the words say; job data may stand anywhere after the job function.

    Raises
    ------
    UsageError
        If they are wrong.
    HelpShown
        If they ask for help.
    """
    try:
        found, rest = parser.parse_known_args(list(words))
    except SpecError as error:
        raise UsageError(str(error)) from error
    if rest:
        # argparse gives up on `key=value` words that options stand between.
        if getattr(found, "verb", None) != "run" or any(word.startswith("-") for word in rest):
            parser.error(f"not understood: {' '.join(rest)}")
        found.data = [*found.data, *rest]
    return found


def timeout_argument(text: str) -> int | None:
    """Return a timeout that an option writes; argparse shows the rule where it is wrong."""
    try:
        return parse_timeout(text)
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _gpus(text: str) -> int | None:
    try:
        return check_gpus(text, "--gpus")
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def env_argument(text: str) -> tuple[str, str]:
    """Return name and value of ``K=V``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r}: must be K=V, like HF_HOME=/data/hf")
    return key, value


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, 0 or more")
    return int(text)


def _local_port(text: str) -> int:
    return _checked_place(int(text) if re.fullmatch("[0-9]{1,9}", text) else text, None).port


def _bind(text: str) -> str | None:
    return _checked_place(None, text).host


def _checked_place(port: object, bind: object) -> Place:
    try:
        return Place.parse(port, bind)
    except SpecError as error:
        raise argparse.ArgumentTypeError(f"{error.value!r} {error.rule}") from None


def _age(text: str) -> float:
    match = re.fullmatch("([0-9]{1,6})([mhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number with m, h or d, like 7d")
    return int(match[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[match[2]]


def _fingerprint(text: str) -> str:
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", text):
        rule = "must be a fingerprint as the refusal showed it: SHA256: and 43 characters"
        raise argparse.ArgumentTypeError(f"{text!r}: {rule}")
    return text.rstrip("=")


def parse_data(words: Sequence[str]) -> dict[str, Any]:
    """Return the job data that ``key=value`` words write, as a terminal can write it.

    Raises
    ------
    UsageError
        If a word is not ``key=value``, a key comes twice, or a value is no Python literal.
    """
    data: dict[str, Any] = {}
    for word in words:
        match = _KEY_VALUE.fullmatch(word)
        if not match:
            raise UsageError(f"{word!r}: job data is written key=value, like epochs=3")
        key, text = match.groups()
        if key in data:
            raise UsageError(f"{key}: given twice")
        data[key] = _literal(key, text)
    return data


def _literal(key: str, text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        quoted = shlex.quote(f"{key}={text!r}")
        rule = "not a Python literal; a text needs quotes of its own inside the shell's"
        raise UsageError(f"{key}={text}: {rule}. Write it like {quoted}") from error


def unquoted(text: str) -> str:
    """Return what a notebook's line means by a quoted text; there is no shell to do it."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def changed_env(old: Mapping[str, str], given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return an environment with the given variables changed; an empty value removes one."""
    env = {**old, **dict(given)}
    return {key: value for key, value in env.items() if value or (key, "") not in given}
