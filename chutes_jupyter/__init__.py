"""A notebook cell becomes a job on a GPU worker, and the notebook stays alive.

Everything public is a name of this package; it is imported when it is first used, so that
``%load_ext chutes_jupyter`` is there at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from chutes_jupyter.chute import Chute, Image, JobFunction, NodeSelector
    from chutes_jupyter.errors import (
        AgentFailed,
        CaptureError,
        ChangedHostKey,
        ChuteError,
        ConfigError,
        ConnectFailed,
        ConnectionLost,
        DoorShut,
        ForwardFailed,
        ForwardingRefused,
        HostKeyError,
        JobCancelled,
        JobError,
        JobFailed,
        JobLost,
        JobNotFound,
        JobTimedOut,
        LoginFailed,
        LoginNeeded,
        NotKept,
        OutputsError,
        RequestRefused,
        ResultError,
        SpecError,
        UnknownHostKey,
        UnknownWorker,
        UsageError,
        WaitTimeout,
        WorkerError,
    )
    from chutes_jupyter.job import Job, attach, jobs
    from chutes_jupyter.models import Port

    __version__: str

__all__ = [
    "AgentFailed",
    "CaptureError",
    "ChangedHostKey",
    "Chute",
    "ChuteError",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "DoorShut",
    "ForwardFailed",
    "ForwardingRefused",
    "HostKeyError",
    "Image",
    "Job",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobFunction",
    "JobLost",
    "JobNotFound",
    "JobTimedOut",
    "LoginFailed",
    "LoginNeeded",
    "NodeSelector",
    "NotKept",
    "OutputsError",
    "Port",
    "RequestRefused",
    "ResultError",
    "SpecError",
    "UnknownHostKey",
    "UnknownWorker",
    "UsageError",
    "WaitTimeout",
    "WorkerError",
    "__version__",
    "attach",
    "jobs",
    "load_ipython_extension",
    "unload_ipython_extension",
]

#: Names that are not exceptions, and where they are at home.
_HOMES = {
    "Chute": "chute",
    "Image": "chute",
    "Job": "job",
    "JobFunction": "chute",
    "NodeSelector": "chute",
    "Port": "models",
    "attach": "job",
    "jobs": "job",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    from importlib import import_module

    home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Bring the magics and the panel into a notebook: ``%load_ext chutes_jupyter``."""
    from chutes_jupyter.kernel import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics and the panel out again: ``%unload_ext chutes_jupyter``."""
    from chutes_jupyter.kernel import unload

    unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell the Jupyter server where its extension is."""
    return [{"module": "chutes_jupyter.server"}]
