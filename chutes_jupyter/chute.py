"""What a person declares: `Chute`, its job functions and start-up hooks.

The signatures are those of the reference. A job function is registered here, checked against
the reference's rules, and submitted; the rest of its way is `job`'s.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from chutes_jupyter.agent import codec
from chutes_jupyter.assembled import Assembled, assemble
from chutes_jupyter.capture import CapturedCode, capture_cell, capture_function, check_name
from chutes_jupyter.errors import SpecError
from chutes_jupyter.images import Image
from chutes_jupyter.jobdata import SSH_KEY, check_job_data
from chutes_jupyter.models import (
    JobOptions,
    JobSpec,
    Port,
    check_flag,
    check_public_keys,
    new_job_id,
)
from chutes_jupyter.nodes import NodeSelector
from chutes_jupyter.notebooks import cell_id, notebook_path
from chutes_jupyter.preflight import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chutes_jupyter.job import Job

__all__ = [
    "Chute",
    "Image",
    "JobFunction",
    "NodeSelector",
    "StartupHook",
    "cell_hook",
    "cell_job",
    "default_chute",
]

_PAYLOAD_VERSION = 1


class StartupHook(NamedTuple):
    """What runs before a job: hooks of a lower priority first."""

    priority: int
    function: Callable[..., Any] | None
    code: CapturedCode
    #: Which cell or function it is: registered again, it takes the place of its older self.
    key: object


class Chute:
    """What jobs belong to; in a job, ``self``.

    Parameters
    ----------
    username, name : str
        Whose it is and what it is called on the platform.
    image : str or Image, optional
        The container image that the platform runs it in.
    node_selector : NodeSelector or dict, optional
        What a worker must have.
    tagline, readme, standard_template, revision, concurrency, max_instances, \
shutdown_after_seconds, scaling_threshold, allow_external_egress, encrypted_fs, **extra
        Kept for the platform.
    """

    __chute_role__ = "chute"

    def __init__(
        self,
        username: str = "",
        name: str = "notebook",
        image: str | Image | None = None,
        tagline: str = "",
        readme: str = "",
        standard_template: str | None = None,
        revision: str | None = None,
        node_selector: NodeSelector | Mapping[str, Any] | None = None,
        concurrency: int = 1,
        max_instances: int = 1,
        shutdown_after_seconds: int = 300,
        scaling_threshold: float = 0.75,
        allow_external_egress: bool = False,
        encrypted_fs: bool = False,
        **extra: Any,
    ) -> None:
        example = 'Chute(username="me", name="demo", image="parachutes/python:3.12")'
        for field, value in (("username", username), ("name", name)):
            if not isinstance(value, str):
                raise SpecError(field, value, "must be a text", example)
        if image is not None and not isinstance(image, str | Image):
            raise SpecError("image", image, "must be an Image or the name of one", example)
        self.username, self.name, self.image = username, name, image
        self.tagline, self.readme = tagline, readme
        self.standard_template, self.revision = standard_template, revision
        self.node_selector = NodeSelector.parse(node_selector)
        self.concurrency, self.max_instances = concurrency, max_instances
        self.shutdown_after_seconds = shutdown_after_seconds
        self.scaling_threshold = scaling_threshold
        self.allow_external_egress, self.encrypted_fs = allow_external_egress, encrypted_fs
        self.extra = extra
        self._jobs: list[JobFunction] = []
        self._startup_hooks: list[StartupHook] = []

    def job(
        self,
        ports: Iterable[Port | Mapping[str, Any]] = (),
        timeout: int | None = None,
        upload: bool = True,
        ssh: bool = False,
        *,
        log_limit: int | str | None = "default",
    ) -> Callable[[Callable[..., Any]], JobFunction]:
        """Return a decorator that makes a function a job function.

        Parameters
        ----------
        ports : iterable of Port or dict
            The ports that it listens on.
        timeout : int, optional
            Its limit in seconds, from 30 to 86400; None for no limit.
        upload : bool
            Whether its files come back.
        ssh : bool
            Whether it has port 2202 for SSH.
        log_limit : int, str or None
            How much of its log is kept, head and tail: bytes, a text like ``"2g"``, or None for
            all of it. Without one the workers file says it, or it is 1 GiB.

        Raises
        ------
        SpecError
            If an option or the function breaks a rule of the reference.
        """
        if callable(ports):
            raise SpecError("@chute.job", ports, "needs parentheses", "@chute.job()")
        options = JobOptions(
            ports=ports,  # type: ignore[arg-type]  # made a tuple there
            timeout=timeout,
            upload=upload,
            ssh=ssh,
            log_limit=log_limit,
        )

        def decorate(function: Callable[..., Any]) -> JobFunction:
            if isinstance(function, JobFunction):
                raise SpecError("function", function, "is a job function already", "@chute.job()")
            code = capture_function(function)
            return self._add(JobFunction(self, code, options, function))

        return decorate

    def on_startup(self, priority: int = 50) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that makes a function run before each job; lower priority first."""
        if callable(priority):
            raise SpecError("@on_startup", priority, "needs parentheses", "@chute.on_startup()")
        _check_priority(priority)

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            code = capture_function(function, kind="hook")
            # In a notebook a cell is run again and again; in a file, each hook is one more.
            again = "In" in code.namespace
            key = (code.name, id(code.namespace)) if again else object()
            self._add_hook(StartupHook(priority, function, code, key))
            return function

        return decorate

    def _add(self, job: JobFunction) -> JobFunction:
        self._jobs = [known for known in self._jobs if known.name != job.name] + [job]
        return job

    def _add_hook(self, hook: StartupHook) -> None:
        keys = [known.key for known in self._startup_hooks]
        if hook.key in keys:
            self._startup_hooks[keys.index(hook.key)] = hook
        else:
            self._startup_hooks.append(hook)

    def __repr__(self) -> str:
        jobs = ", ".join(job.name for job in self._jobs) or "none yet"
        return f"<chute {self.name}, job functions: {jobs}>"


class JobFunction:
    """A cell or function that was registered; `submit` makes a job of it.

    Parameters
    ----------
    chute : Chute
        What it belongs to.
    code : CapturedCode
        Its source.
    options : JobOptions
        How it runs.
    function : function, optional
        What was decorated; None for a cell.
    """

    __chute_role__ = "job"

    def __init__(
        self,
        chute: Chute,
        code: CapturedCode,
        options: JobOptions,
        function: Callable[..., Any] | None = None,
    ) -> None:
        self.chute = self._app = chute
        self.code = code
        self._options = options
        self._func = function
        self.__doc__ = getattr(function, "__doc__", None) or type(self).__doc__

    @property
    def name(self) -> str:
        """What it is called."""
        return self.code.name

    @property
    def ports(self) -> list[Port]:
        """The ports that its jobs listen on."""
        return list(self._options.ports)

    @property
    def timeout(self) -> int | None:
        """The limit of its jobs in seconds, or None."""
        return self._options.timeout

    @property
    def upload(self) -> bool:
        """Whether files of its jobs come back."""
        return self._options.upload

    @property
    def ssh(self) -> bool:
        """Whether its jobs have port 2202."""
        return self._options.ssh

    @property
    def worker(self) -> str:
        """The name of the worker on which its jobs run."""
        return self._options.worker

    @property
    def grace(self) -> float:
        """Seconds between asking a job to end and ending it by force."""
        return self._options.grace

    @property
    def log_limit(self) -> int | str | None:
        """How many bytes of a job's log are kept; None for all, ``"default"`` as set elsewhere."""
        return self._options.log_limit

    @property
    def send(self) -> tuple[str, ...]:
        """The names that look like credentials, and may travel."""
        return self._options.send

    @property
    def secret(self) -> tuple[str, ...]:
        """Such names of which nothing is shown."""
        return self._options.secret

    @property
    def gpus(self) -> int | None:
        """How many GPUs its jobs have for themselves: as set, or as the `NodeSelector` says."""
        selector = self.chute.node_selector
        if self._options.gpus is None and selector is not None:
            return selector.gpu_count
        return self._options.gpus

    def options(self, **changes: Any) -> JobFunction:
        """Return the same job function with other options.

        Parameters
        ----------
        **changes
            ``ports``, ``timeout``, ``upload``, ``ssh``, ``worker``, ``grace``, ``log_limit``,
            ``gpus``, ``send`` and ``secret`` (names that look like credentials, and may travel).
        """
        changed = self._options.changed(**changes)
        return type(self)(self.chute, self.code, changed, self._func)

    def submit(
        self, data: Mapping[str, Any] | None = None, /, *, ack: bool = False, **job_data: Any
    ) -> Job:
        """Submit a job and return it at once, `pending`.

        Parameters
        ----------
        data : mapping, optional
            Job data whose keys can't be written as keywords.
        ack : bool
            Wait until the worker has the job on disk and said so.
        **job_data
            What the function gets as ``job_data``.

        Raises
        ------
        SpecError
            If job data has a key that is not its own, or a value that can't travel.
        CaptureError
            If the function uses a name that can't travel.
        UnknownWorker
            If no worker has that name.
        """
        from chutes_jupyter.config import Workers

        check_flag("ack", ack)
        worker = Workers.load().get(self.worker)
        whole = {**(data or {}), **job_data}
        payload, assembled = self._assembled(whole)
        from chutes_jupyter import job

        selector = self.chute.node_selector
        spec = JobSpec(
            id=new_job_id(),
            name=self.name,
            options=self._options.changed(gpus=self.gpus),
            payload_sha256=hashlib.sha256(payload).hexdigest(),
            payload_size=len(payload),
            created=time.time(),
            python=worker.python,
            env=worker.env,
            notebook=notebook_path(self.code.namespace),
            cell=cell_id(self.code.namespace),
            node_selector=selector.to_json() if selector else None,
            ssh_public_key=self._ssh_public_key(whole),
        )
        return job.submit(
            spec,
            payload,
            notices=self.notices(),
            node_selector=selector,
            files=assembled.files,
            needs=assembled.needs,
            sent=tuple(assembled.items),
            ack=ack,
            namespace=self.code.namespace,
        )

    def _ssh_public_key(self, job_data: Mapping[str, Any]) -> str | None:
        """Return who may come in, one public key a line, where the job data says so."""
        if not self.ssh or SSH_KEY not in job_data:
            return None
        return "\n".join(check_public_keys(job_data[SSH_KEY]))

    def payload(self, job_data: Mapping[str, Any]) -> bytes:
        """Return what the worker runs: the code, what it uses now, and the job data."""
        return self._assembled(job_data)[0]

    def _assembled(self, job_data: Mapping[str, Any]) -> tuple[bytes, Assembled]:
        checked = check_job_data(job_data)
        assembled = self._assemble()
        assembled.check()
        chute = {"username": self.chute.username, "name": self.chute.name}
        units = {
            unit.get(part) for unit in assembled.payload["units"] for part in ("name", "defines")
        }
        home = {"__main__", self.code.namespace.get("__name__", "__main__")}
        checked.check_classes(self.name, home, units)
        plain = {"chute": chute, "job_data": checked.plain}
        whole = {"v": _PAYLOAD_VERSION, **assembled.payload, **plain}
        if checked.instances:
            whole["instances"] = checked.instances
        return codec.dumps(whole, "payload"), assembled

    def check(self) -> Report:
        """Return what a job of it would take along, and what stands in its way.

        Its worker is asked whether its Python has what the job needs; one that can't be reached
        is no hindrance to the rest.
        """
        from chutes_jupyter.checked import report

        return report(self.name, self.worker, self._assemble)

    def _assemble(self) -> Assembled:
        hooks = [(hook.priority, hook.code) for hook in self.chute._startup_hooks]
        chosen = self._options
        return assemble(self.code, hooks, chute=self.chute, send=chosen.send, secret=chosen.secret)

    def notices(self) -> list[str]:
        """Return what is declared, and not applied on workers of one's own."""
        image = self.chute.image
        steps = image.unapplied() if isinstance(image, Image) else []
        found = []
        if steps:
            found.append(f"{self.worker} does not apply the image's {', '.join(steps)}.")
        return found

    def __repr__(self) -> str:
        ports = "".join(f", {port.name}:{port.port}/{port.proto}" for port in self.ports)
        limit = f"{self.timeout} s" if self.timeout else "none"
        return f"<job function {self.name}{ports}, timeout {limit}, worker {self.worker}>"


def cell_job(
    source: str,
    name: str,
    options: JobOptions,
    namespace: Mapping[str, Any],
    chute: Chute,
    filename: str,
) -> JobFunction:
    """Register a cell as a job function, as ``%%chute_job`` does.

    Parameters
    ----------
    source : str
        The cell without its magic line.
    name : str
        The job function's name.
    options : JobOptions
        How it runs.
    namespace : mapping
        The notebook's names.
    chute : Chute
        What it belongs to.
    filename : str
        What tracebacks call the cell (``In[7]``).
    """
    code = capture_cell(source, check_name(name), namespace, filename=filename)
    return chute._add(JobFunction(chute, code, options))


def cell_hook(
    source: str,
    priority: int,
    namespace: Mapping[str, Any],
    chute: Chute,
    filename: str,
    key: str | None = None,
) -> StartupHook:
    """Register a cell as a start-up hook, as ``%%chute_startup`` does.

    Parameters
    ----------
    source : str
        The cell without its magic line.
    priority : int
        Hooks of a lower priority run first.
    namespace, chute, filename
        As for `cell_job`.
    key : str, optional
        Which cell it is: registered again, it takes the place of its older self. Without a
        key, only the same text does.
    """
    _check_priority(priority)
    code = capture_cell(source, None, namespace, filename=filename, kind="hook")
    hook = StartupHook(priority, None, code, ("cell", source if key is None else key))
    chute._add_hook(hook)
    return hook


_default: Chute | None = None
_default_lock = threading.Lock()


def default_chute() -> Chute:
    """Return the notebook's own chute, to which its cells belong."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Chute()
        return _default


def _check_priority(priority: object) -> None:
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise SpecError("priority", priority, "must be a whole number", "priority=50")
