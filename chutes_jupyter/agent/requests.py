"""What a client may ask of the agent: one function an operation.

A handler returns the fields of the reply and its body; or a generator of such pairs, for a
reply in many frames; or None, when there is nothing to say yet and the client said how long
it would wait. It raises `Refused` with a word and a sentence.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

from . import (
    checkup,
    gpu,
    journal,
    logind,
    logs,
    outputs,
    processes,
    readings,
    sharing,
    space,
    sshd,
    warden,
    wire,
)
from .clean import Cleaner, mark_used
from .history import History
from .installed import Installed
from .journal import EventLog, JobDir, JournalError, OtherFormat
from .modules import ModuleError, ModuleStore
from .sending import LARGE, Digest, Listed, hash_before, send
from .template import TemplateDied, Templates

Pair = Tuple[Dict[str, Any], bytes]
Answer = Union[None, Pair, Iterator[Pair]]
Header = Dict[str, Any]

_EVENTS_PAGE = 500
_LISTING_PAGE = 2000
_STAGED = ".stage-"
_NEVER_STARTED = "who was about to start it died"
#: A job that is not started so long after it was claimed never will be, in seconds.
_CLAIMED = 60.0


class Refused(Exception):
    """The answer is no: a word for programs and a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Requests:
    """Answers requests about the jobs under one root.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    agent_hash : str
        The hash that names this version of the agent.
    """

    def __init__(self, root: str, agent_hash: str) -> None:
        self.root = root
        self._hash = agent_hash
        self._code = os.path.join(root, "agents", agent_hash)
        self._templates = Templates(self._code)
        self._interpreters: Dict[str, Dict[str, str]] = {}
        self._logs: Dict[str, EventLog] = {}
        self._history = History(root, self._check_alive)
        self._cleaner = Cleaner(self._history, agent_hash)
        self._modules = ModuleStore(root)
        self._installed = Installed()
        mark_used(root, agent_hash)
        self._operations: Dict[str, Callable[[Header, bytes], Answer]] = {
            "hello": self._hello,
            "ping": lambda header, body: ({"time": time.time()}, b""),
            "info": self._info,
            "gpus": self._gpus,
            "check": lambda header, body: (checkup.look(self.root), b""),
            "noise": lambda header, body: ({}, checkup.noise(int(header["size"]))),
            "stage": self._stage,
            "installed": lambda header, body: self._find_modules(header),
            "modules": lambda header, body: self._missing(header),
            "module": self._module,
            "submit": self._submit,
            "cancel": self._cancel,
            "events": self._events,
            "log": self._log,
            "index": self._index,
            "outputs": self._outputs,
            "read": self._read,
            "result": self._result,
            "readings": lambda header, body: self._readings(header),
            "display": lambda header, body: self._display(header),
            "jobs": lambda header, body: self._history.jobs(header),
            "remove": lambda header, body: self._cleaner.remove(header),
            "door": self._door,
        }

    def close(self) -> None:
        """Let the warm interpreters end; jobs go on."""
        self._templates.close()

    def answer(self, header: Header, body: bytes) -> Answer:
        """Answer one request.

        Raises
        ------
        Refused
            If the answer is no.
        """
        operation = self._operations.get(header.get("op", ""))
        if operation is None:
            raise Refused("bad_request", "no such operation: %r" % (header.get("op"),))
        try:
            return operation(header, body)
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("bad_request", "%s: %r" % (header.get("op"), error)) from error
        except OtherFormat as error:
            raise Refused("other_format", str(error)) from error
        except JournalError as error:
            raise Refused("unknown_job", str(error)) from error
        except ModuleError as error:
            raise Refused("bad_request", str(error)) from error
        except OSError as error:
            if space.is_full(error):
                raise Refused("disk_full", space.sentence(_jobs(self.root), error)) from error
            raise Refused("io", "%s: %s" % (header.get("op"), error)) from error

    def folder(self, header: Header) -> str:
        """Return the folder whose changes may bring the answer to a waiting request."""
        return self._job(header).path

    # -- the worker -------------------------------------------------------------------

    def _hello(self, header: Header, body: bytes) -> Answer:
        # Nobody else ends what lost all its keepers, and it may hold a GPU.
        warden.sweep(self.root)
        return {
            "jobs_python": self._warm_up(header["warm"]) if "warm" in header else None,
            "protocol": wire.PROTOCOL,
            "agent": self._hash,
            "python": sys.executable,
            "version": "%d.%d.%d" % sys.version_info[:3],
            "host": socket.gethostname(),
            "user": logind.user_name(),
            "boot": processes.boot_id(),
            "pid": os.getpid(),
            "root": self.root,
            "platform": sys.platform,
        }, b""

    def _warm_up(self, kind: Dict[str, Any]) -> Optional[str]:
        """Start the interpreter of the client's jobs without waiting for it; return its version."""
        env = kind.get("env") or {}
        try:
            interpreter = self._interpreter(kind.get("python"), env)
        except Refused:
            return None  # the submit that needs it will say so
        self._templates.get(interpreter["executable"], env)
        return interpreter["version"]

    def _info(self, header: Header, body: bytes) -> Answer:
        facts = dict(gpu.host_facts())
        facts["gpus"] = None
        with contextlib.suppress(OSError):  # a driver that does not answer: nothing can be said
            facts["gpus"] = gpu.ask()
        facts["logout"] = self._templates.logout.warning()
        facts["interpreter"] = self._interpreter(header.get("python"), header.get("env") or {})
        return facts, b""

    def _gpus(self, header: Header, body: bytes) -> Answer:
        return sharing.survey(self.root, dict(os.environ, **(header.get("env") or {}))), b""

    def _interpreter(self, python: Optional[str], env: Dict[str, str]) -> Dict[str, str]:
        """Return the real interpreter behind a name, asked once: shims cost every start."""
        if python is None:
            return {
                "executable": sys.executable,
                "version": "%d.%d.%d" % sys.version_info[:3],
                "implementation": sys.implementation.name,
            }
        if python not in self._interpreters:
            ask = (
                # Not from the folder that it is asked in, whatever files lie there.
                "import sys;sys.path[:]=[place for place in sys.path if place];import json;"
                "print(json.dumps({'executable':sys.executable,"
                "'version':'%d.%d.%d'%sys.version_info[:3],"
                "'implementation':sys.implementation.name}))"
            )
            try:
                done = subprocess.run(
                    [os.path.expanduser(python), "-c", ask],
                    env=dict(os.environ, **env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    timeout=60,
                    check=True,
                )
                found = json.loads(done.stdout.decode().strip().splitlines()[-1])
            except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
                raise Refused(
                    "no_interpreter",
                    "the interpreter %s can't be started on this worker: %s" % (python, error),
                ) from error
            self._interpreters[python] = found
        return self._interpreters[python]

    def _door(self, header: Header, body: bytes) -> Answer:
        try:
            return sshd.ask(self._job(header), self._code), b""
        except sshd.Shut as shut:
            raise Refused(shut.code, str(shut)) from shut

    # -- starting and ending ----------------------------------------------------------

    def _stage(self, header: Header, body: bytes) -> Answer:
        job = JobDir(self.root, header["job"])
        _refuse_withdrawn(job)
        path = self._staged(job.id)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if header["offset"] == 0:
                os.ftruncate(fd, 0)
            _write_at(fd, body, header["offset"])
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        return {}, b""

    def _find_modules(self, header: Header) -> Answer:
        env = header.get("env") or {}
        found = self._interpreter(header.get("python"), env)
        missing = self._installed.missing(found["executable"], env, header["names"])
        fields = {"executable": found["executable"], "version": found["version"]}
        return dict(fields, missing=missing), b""

    def _missing(self, header: Header) -> Answer:
        return {"missing": self._modules.missing(header["hashes"])}, b""

    def _module(self, header: Header, body: bytes) -> Answer:
        offset, total = int(header["offset"]), int(header["total"])
        self._modules.put(header["sha256"], offset, total, body)
        return {}, b""

    def _staged(self, job_id: str) -> str:
        return os.path.join(self.root, "jobs", _STAGED + job_id)

    def _submit(self, header: Header, body: bytes) -> Answer:
        spec = header["spec"]
        job = JobDir(self.root, spec["id"])
        known = job.exists()
        if known:
            job.check_format()
        else:
            _refuse_withdrawn(job)
            self._refuse_removed(job)
            interpreter = self._interpreter(spec.get("python"), spec.get("env") or {})
            known = not self._claim(job, spec, body)
            _refuse_withdrawn(job)
        if known:
            # Sent again, because the first answer was lost.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._staged(job.id))
        if known and job.read_spec() != spec:
            raise Refused("other_spec", "job %s is known here with another spec" % job.id)
        log = self._look(job)
        if log.state is None:
            interpreter = self._interpreter(spec.get("python"), spec.get("env") or {})
            template = self._templates.get(interpreter["executable"], spec.get("env") or {})
            try:
                reply = template.launch(job, self._templates.logout.warning())
            except TemplateDied as error:
                raise Refused("no_interpreter", "jobs can't be started: %s" % error) from error
            if "error" in reply:
                raise Refused("internal", reply["error"])
            log.refresh()
        number = log.events[-1]["n"] if log.events else 0
        return {"state": log.state, "event": number, "known": known}, b""

    def _claim(self, job: JobDir, spec: Dict[str, Any], body: bytes) -> bool:
        staged: Optional[str] = None
        if spec["payload_size"] != len(body):
            staged = self._staged(job.id)
        payload = body
        if staged is not None:
            with open(staged, "rb") as file:
                payload = file.read()
        if hashlib.sha256(payload).hexdigest() != spec["payload_sha256"]:
            raise Refused("bad_request", "the payload did not arrive whole")
        return journal.claim(self.root, spec, body, staged)

    def _cancel(self, header: Header, body: bytes) -> Answer:
        if header.get("withdraw"):
            ended = self._withdraw(header)
            if ended is not None or header["withdraw"] != "cancelled":
                return {"state": None, "withdrawn": ended}, b""
        job = self._job(header)
        log = self._look(job)
        if not log.terminal:
            journal.mark(job.cancel, {"by": "client"})
            try:
                fd = os.open(job.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # not listening yet (it looks at the file when it does), or dead
                self._check_alive(job, log)
            else:
                try:
                    os.write(fd, b"c")
                finally:
                    os.close(fd)
        log.refresh()
        return {"state": log.state}, b""

    def _withdraw(self, header: Header) -> Optional[str]:
        """Keep a job out that is not here yet; return as what it is ended, None if it is here."""
        job = JobDir(self.root, header["job"])
        staged = self._staged(job.id)
        with contextlib.suppress(FileNotFoundError):
            # Its payload is arriving, piece by piece: that is not a job that got lost.
            if time.time() - os.stat(staged).st_mtime < float(header.get("quiet", 0)):
                return None
        ended = None if job.exists() else journal.withdraw(job, header["withdraw"])
        if ended is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
        return ended

    # -- reading ----------------------------------------------------------------------

    def _job(self, header: Header) -> JobDir:
        job = JobDir(self.root, header["job"])
        if not job.exists():
            self._refuse_removed(job)
            raise Refused("unknown_job", "no job %s on this worker" % job.id)
        job.check_format()
        return job

    def _refuse_removed(self, job: JobDir) -> None:
        if self._history.removed.find(job.id) is not None:
            self._logs.pop(job.id, None)
            raise Refused("removed", "job %s was removed on this worker" % job.id)

    def _look(self, job: JobDir) -> EventLog:
        log = self._logs.setdefault(job.id, EventLog(job))
        log.refresh()
        return log

    def _check_alive(self, job: JobDir, log: EventLog) -> None:
        """End a job whose supervisor is dead; asked when a wait brought nothing."""
        if log.terminal or (log.state is None and not _forgotten(job)) or journal.owned(job):
            return
        log.refresh()
        if not log.terminal:
            warden.recover(job, _NEVER_STARTED if log.state is None else None)

    def _events(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        log = self._look(job)
        after = int(header["after"])
        if len(log.events) <= after and not log.terminal:
            if header.get("waited") is not False:
                self._check_alive(job, log)
            if header.get("wait"):
                return None
        events = log.events[after : after + _EVENTS_PAGE]
        count = wire.fitting(events)
        # One alone may be too large, by an error of very many letters: then its end must do.
        events = events[:count] if count else [journal.shortened(event) for event in events[:1]]
        return {"events": events, "state": log.state, "terminal": log.terminal}, b""

    def _log(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        log = self._look(job)
        limit = min(int(header["limit"]), wire.MAX_BODY)
        # Asked before the piece is read: a log that ended is whole.
        terminal = log.terminal
        if "tail" in header:
            piece = logs.read_tail(job, int(header["tail"]), limit)
        else:
            piece = logs.read(job, int(header["offset"]), limit)
        if not piece.data and not terminal and header.get("wait"):
            return None
        seen = piece.offset + piece.skipped + len(piece.data)
        fields: Dict[str, Any] = {"offset": piece.offset, "size": piece.size}
        if piece.skipped:
            fields.update(skipped=piece.skipped, limit=job.read_spec().get("log_limit"))
        return dict(fields, end=terminal and seen >= piece.size), piece.data

    def _index(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        limit = min(int(header["limit"]), wire.MAX_BODY // logs.RECORD.size)
        records, data = logs.read_index(job, int(header["record"]), limit)
        return {"records": records}, data

    def _outputs(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        found = journal.read_json(job.outputs) or {
            "version": 0,
            "final": False,
            "entries": [],
            "refused": [],
        }
        start = int(header["start"])
        entries = found["entries"][start : start + min(int(header["limit"]), _LISTING_PAGE)]
        refused = found["refused"] if start == 0 else []
        return {
            "version": found["version"],
            "final": found["final"],
            "total": len(found["entries"]),
            "entries": entries[: wire.fitting(entries)],
            # Each says what is not brought, and why: of very many, the first do.
            "refused": refused[: wire.fitting(refused, wire.PAGE // 2)],
        }, b""

    def _read(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        try:
            file = outputs.open_inside(job.output, header["path"])
        except OSError as error:
            raise Refused("not_found", "%r can't be read: %s" % (header["path"], error)) from error
        offset = int(header["offset"])
        digest: Optional[Digest] = None
        if header.get("hash") is not False:
            large = os.fstat(file.fileno()).st_size - offset >= LARGE
            listed = large and not offset and self._look(job).state == "collecting"
            digest = Listed(job, header["path"]) if listed else hashlib.sha256()
        return send(file, offset, digest)

    def _readings(self, header: Header) -> Answer:
        job = self._job(header)
        terminal = self._look(job).terminal
        fields, metrics = readings.news(job, header, terminal)
        if header.get("wait") and not (fields["new"] or fields["end"]):
            return None
        return fields, metrics

    def _display(self, header: Header) -> Answer:
        found = readings.display(self._job(header), header)
        if found is None:
            raise Refused("not_found", "result %s is kept no more" % header["number"])
        return found

    def _result(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        log = self._look(job)
        path = job.pickled if header.get("form") == "pickle" else job.result
        if not log.terminal or not os.path.exists(path):
            return {"state": log.state, "has_value": False}, b""
        fields = {"state": log.state, "has_value": True}
        status = os.stat(path)
        if status.st_size > header.get("limit", status.st_size):
            # Too large for where it was asked: it is fetched like a file.
            return dict(fields, size=status.st_size, mtime_ns=status.st_mtime_ns, large=True), b""
        result = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by send
        offset = int(header.get("offset", 0))
        pieces = send(result, offset, hash_before(result, offset))
        return ((dict(fields, **extra), data) for extra, data in pieces)


def _forgotten(job: JobDir) -> bool:
    """Whether nobody starts a job any more that has no event: who claimed it died right then."""
    return time.time() - os.stat(job.spec).st_mtime > _CLAIMED


def _refuse_withdrawn(job: JobDir) -> None:
    state = job.withdrawn()
    if state is not None:
        code = "withdrawn" if state == "cancelled" else "given_up"
        raise Refused(code, "job %s was ended as %s before it arrived here" % (job.id, state))


def _write_at(fd: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(fd, left, offset)
        left = left[written:]
        offset += written


def _jobs(root: str) -> str:
    folder = os.path.join(root, "jobs")
    return folder if os.path.isdir(folder) else root
