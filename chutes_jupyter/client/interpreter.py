"""Whether the interpreter that a worker's jobs run on has what a job needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from chutes_jupyter.preflight import packages_for
from chutes_jupyter.replies import MissingModules, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chutes_jupyter.client.session import Session
    from chutes_jupyter.needs import Needs


class Lack(NamedTuple):
    """What an interpreter lacks.

    Parameters
    ----------
    modules, perhaps : mapping
        Modules that a job can't do without, and those that it may need, with their packages.
    syntax : list of str
        What of its code it is too old for, in sentences.
    executable : str
        Which interpreter, where it was asked.
    """

    modules: Mapping[str, str]
    perhaps: Mapping[str, str]
    syntax: list[str]
    executable: str


async def lacks(session: Session, needs: Needs, python: str | None, env: Mapping[str, str]) -> Lack:
    """Return what a worker's interpreter lacks for a job.

    Parameters
    ----------
    session : Session
        The way to the worker.
    needs : Needs
        What the job needs.
    python : str, optional
        The interpreter, as the worker knows it.
    env : mapping
        The environment of the worker's jobs.
    """
    wanted = needs.modules | needs.perhaps
    hello = session.hello
    # Of its own interpreter the worker has said the version already.
    version = hello.jobs_python if hello and python == session.worker.python else None
    missing: dict[str, str] = {}
    executable = ""
    if wanted or version is None:
        names = sorted(wanted)
        reply = await session.request("installed", names=names, python=python, env=dict(env))
        found = parse(MissingModules, reply.header)
        version, executable = found.version, found.executable
        lacking = set(found.missing) & wanted  # a worker may name what it likes
        missing = await asyncio.to_thread(packages_for, lacking) if lacking else {}
    syntax = await asyncio.to_thread(needs.too_new, version, session.worker.name)
    return Lack(
        {name: package for name, package in missing.items() if name in needs.modules},
        {name: package for name, package in missing.items() if name in needs.perhaps},
        syntax,
        executable,
    )
