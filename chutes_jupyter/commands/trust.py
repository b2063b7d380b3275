"""Host keys that are not known yet: shown, asked about, and accepted."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.errors import UnknownHostKey, UsageError, WorkerError
from chutes_jupyter.transports import accept_host_key, transport_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.commands.surroundings import Surroundings
    from chutes_jupyter.config import Worker

#: A way may lead through jump hosts, each with a key of its own.
_MOST_KEYS = 10


def accept(worker: Worker, fingerprints: Sequence[str], here: Surroundings) -> None:
    """Accept the keys on the way to a worker that have these fingerprints, in order.

    Raises
    ------
    UsageError
        If the worker is `local`.
    HostKeyError
        If a host presents another key.
    """
    if worker.host is None:
        raise UsageError("--accept-key: the worker 'local' is this machine and has no host key")
    for fingerprint in fingerprints:
        portal.call(accept_host_key, worker, fingerprint)
        here.say(f"The key {fingerprint} of {worker.host} is accepted.")


def meet(worker: Worker, here: Surroundings) -> None:
    """Connect to a worker, and ask about each key on the way that is not known.

    What goes wrong is said, not raised: the worker is added all the same.
    """
    for _ in range(_MOST_KEYS):
        try:
            unknown = portal.call(unknown_key, worker)
            if unknown is None or not _is_accepted(unknown, worker, here):
                return
            portal.call(accept_host_key, worker, unknown.fingerprint)
        except WorkerError as error:
            here.say(f"It can't be used yet. {error}")
            return
        here.say(f"The key of {unknown.host} is accepted.")


async def unknown_key(worker: Worker) -> UnknownHostKey | None:
    """Connect; return what there is to say of the first key on the way that is not known."""
    try:
        connection = await transport_for(worker).connect()
    except UnknownHostKey as error:
        return error
    await connection.aclose()
    return None


def _is_accepted(error: UnknownHostKey, worker: Worker, here: Surroundings) -> bool:
    """Whether the person accepts a key; where nobody can be asked, say how it is done."""
    if here.ask is None:
        here.say(str(error))
        return False
    here.say(
        f"The host {error.host} is not known here. It presents a key of type {error.kind} with "
        f"the fingerprint\n    {error.fingerprint}\n"
        "Compare it with what whoever runs the host tells you (there: ssh-keygen -lf "
        "/etc/ssh/ssh_host_…_key.pub)."
    )
    answer = here.ask("Accept it? [y/N] ")
    if answer is None:
        here.say(f"Nobody can be asked here. {error}")
        return False
    # Like ssh, take the fingerprint itself too: whoever has it in the clipboard has compared it.
    if answer.strip().lower() in ("y", "yes") or answer.strip() == error.fingerprint:
        return True
    host = shlex.quote(worker.host or "")
    here.say(
        "Not accepted: nothing was sent to it. Once you have compared it, accept it with\n"
        f"    {here.prog} worker add {worker.name} {host} --accept-key {error.fingerprint}"
    )
    return False
