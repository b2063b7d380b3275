"""From words to the function that does what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands import clean, forwards, jobs, login, ssh, workers
from chutes_jupyter.commands.arguments import HelpShown, build_parser, parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from chutes_jupyter.commands.surroundings import Surroundings

    Verb = Callable[[argparse.Namespace, Surroundings], Any]

_VERBS: dict[str, Verb] = {
    "run": jobs.run,
    "again": jobs.again,
    "check": jobs.check,
    "jobs": jobs.show_jobs,
    "logs": jobs.show_logs,
    "cancel": jobs.cancel,
    "files": jobs.show_files,
    "forward": forwards.forward,
    "ssh": ssh.open_shell,
    "clean": clean.clean,
}
_WORKER_VERBS: dict[str, Verb] = {
    "list": workers.show_workers,
    "add": workers.add,
    "login": login.log_in,
    "test": workers.test,
    "remove": workers.remove,
}


def execute(words: Sequence[str], here: Surroundings) -> Any:
    """Do what the words say, and return what came of it (`run`: the job).

    Raises
    ------
    UsageError
        If the words are wrong.
    ChuteError
        If it could not be done.
    """
    parser = build_parser(here.prog, notebook=here.in_notebook)
    try:
        arguments = parse(parser, words)
    except HelpShown as shown:
        here.write(shown.text)
        return None
    if arguments.verb == "worker":
        return _WORKER_VERBS[arguments.worker_verb](arguments, here)
    return _VERBS[arguments.verb](arguments, here)
