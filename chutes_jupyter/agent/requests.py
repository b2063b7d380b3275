"""What a client may ask of the agent: one function an operation.

A handler returns the fields of the reply and its body; or a generator of such pairs, for a
reply in many frames; or None, when there is nothing to say yet and the client said how long
it would wait. It raises `Refused` with a word and a sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

from . import gpu, journal, logind, outputs, processes, warden, wire
from .journal import EventLog, JobDir, JournalError
from .logs import RECORD
from .template import TemplateDied, Templates

Pair = Tuple[Dict[str, Any], bytes]
Answer = Union[None, Pair, Iterator[Pair]]
Header = Dict[str, Any]

_EVENTS_PAGE = 500
_JOBS_PAGE = 500
_LISTING_PAGE = 2000
_STAGED = ".stage-"


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
        self._templates = Templates(os.path.join(root, "agents", agent_hash))
        self._interpreters: Dict[str, Dict[str, str]] = {}
        self._logs: Dict[str, EventLog] = {}
        self._operations: Dict[str, Callable[[Header, bytes], Answer]] = {
            "hello": self._hello,
            "ping": lambda header, body: ({}, b""),
            "info": self._info,
            "stage": self._stage,
            "submit": self._submit,
            "cancel": self._cancel,
            "events": self._events,
            "log": self._log,
            "index": self._index,
            "outputs": self._outputs,
            "read": self._read,
            "result": self._result,
            "jobs": self._jobs,
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
        except JournalError as error:
            raise Refused("unknown_job", str(error)) from error
        except OSError as error:
            raise Refused("io", "%s: %s" % (header.get("op"), error)) from error

    def folder(self, header: Header) -> str:
        """Return the folder whose changes may bring the answer to a waiting request."""
        return self._job(header).path

    # -- the worker -------------------------------------------------------------------

    def _hello(self, header: Header, body: bytes) -> Answer:
        # Nobody else ends what lost all its keepers, and it may hold a GPU.
        warden.sweep(self.root)
        if "warm" in header:
            self._warm_up(header["warm"])
        return {
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

    def _warm_up(self, kind: Dict[str, Any]) -> None:
        """Start the interpreter that the client's jobs will need, without waiting for it."""
        env = kind.get("env") or {}
        try:
            interpreter = self._interpreter(kind.get("python"), env)
        except Refused:
            return  # the submit that needs it will say so
        self._templates.get(interpreter["executable"], env)

    def _info(self, header: Header, body: bytes) -> Answer:
        facts = dict(gpu.host_facts())
        facts["gpus"] = gpu.list_gpus()
        facts["logout"] = self._templates.logout.warning()
        facts["interpreter"] = self._interpreter(header.get("python"), header.get("env") or {})
        return facts, b""

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
                "import sys,json;print(json.dumps({'executable':sys.executable,"
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

    # -- starting and ending ----------------------------------------------------------

    def _stage(self, header: Header, body: bytes) -> Answer:
        path = self._staged(JobDir(self.root, header["job"]).id)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if header["offset"] == 0:
                os.ftruncate(fd, 0)
            os.pwrite(fd, body, header["offset"])
        finally:
            os.close(fd)
        return {}, b""

    def _staged(self, job_id: str) -> str:
        return os.path.join(self.root, "jobs", _STAGED + job_id)

    def _submit(self, header: Header, body: bytes) -> Answer:
        spec = header["spec"]
        job = JobDir(self.root, spec["id"])
        known = job.exists()
        if not known:
            interpreter = self._interpreter(spec.get("python"), spec.get("env") or {})
            known = not self._claim(job, spec, body)
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
        job = self._job(header)
        log = self._look(job)
        if not log.terminal:
            journal.write_json(job.cancel, {"by": "client"})
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

    # -- reading ----------------------------------------------------------------------

    def _job(self, header: Header) -> JobDir:
        job = JobDir(self.root, header["job"])
        if not job.exists():
            raise Refused("unknown_job", "no job %s on this worker" % job.id)
        return job

    def _look(self, job: JobDir) -> EventLog:
        log = self._logs.setdefault(job.id, EventLog(job))
        log.refresh()
        return log

    def _check_alive(self, job: JobDir, log: EventLog) -> None:
        """End a job whose supervisor is dead; asked when a wait brought nothing."""
        if log.terminal or log.state is None or journal.owned(job):
            return
        log.refresh()
        if not log.terminal:
            warden.recover(job)

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
        return {"events": events, "state": log.state, "terminal": log.terminal}, b""

    def _log(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        log = self._look(job)
        limit = min(int(header["limit"]), wire.MAX_BODY)
        # Asked before the piece is read: a log that ended is whole.
        terminal = log.terminal
        if "tail" in header:
            size = _size(job.log)
            offset = max(0, size - int(header["tail"]))
        else:
            offset = int(header["offset"])
        data, size = journal.read_piece(job.log, offset, limit)
        if not data and not terminal and header.get("wait"):
            return None
        end = terminal and offset + len(data) >= size
        return {"offset": offset, "size": size, "end": end}, data

    def _index(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        limit = min(int(header["limit"]), wire.MAX_BODY // RECORD.size)
        start = int(header["record"]) * RECORD.size
        data, size = journal.read_piece(job.log_index, start, limit * RECORD.size)
        whole = len(data) - len(data) % RECORD.size
        return {"records": size // RECORD.size}, data[:whole]

    def _outputs(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        found = journal.read_json(job.outputs) or {
            "version": 0,
            "final": False,
            "entries": [],
            "refused": [],
        }
        start = int(header["start"])
        count = min(int(header["limit"]), _LISTING_PAGE)
        return {
            "version": found["version"],
            "final": found["final"],
            "total": len(found["entries"]),
            "entries": found["entries"][start : start + count],
            "refused": found["refused"] if start == 0 else [],
        }, b""

    def _read(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        try:
            file = outputs.open_inside(job.output, header["path"])
        except OSError as error:
            raise Refused("not_found", "%r can't be read: %s" % (header["path"], error)) from error
        digest = None if header.get("hash") is False else hashlib.sha256()
        return _send(file, int(header["offset"]), digest)

    def _result(self, header: Header, body: bytes) -> Answer:
        job = self._job(header)
        log = self._look(job)
        if not log.terminal or not os.path.exists(job.result):
            return {"state": log.state, "has_value": False}, b""
        fields = {"state": log.state, "has_value": True}
        result = open(job.result, "rb", buffering=0)  # noqa: SIM115 - closed by _send
        pieces = _send(result, 0, hashlib.sha256())
        return ((dict(fields, **extra), data) for extra, data in pieces)

    def _jobs(self, header: Header, body: bytes) -> Answer:
        limit = min(int(header["limit"]), _JOBS_PAGE)
        ids = [name for name in journal.job_ids(self.root) if name > header["after"]]
        page = ids[:limit]
        return {
            "jobs": [self._summary(JobDir(self.root, name)) for name in page],
            "next": page[-1] if len(ids) > limit else None,
        }, b""

    def _summary(self, job: JobDir) -> Dict[str, Any]:
        spec = job.read_spec()
        log = EventLog(job)
        log.refresh()
        self._check_alive(job, log)
        log.refresh()
        states = [event for event in log.events if event["type"] == "state"]
        started = [event["t"] for event in states if event["state"] == "running"]
        last: Dict[str, Any] = states[-1] if states else {}
        kept = ("id", "name", "created", "notebook", "ports", "timeout", "upload")
        summary = {key: spec.get(key) for key in kept}
        summary.update(
            state=log.state,
            event=log.events[-1]["n"] if log.events else 0,
            started=started[0] if started else None,
            ended=last.get("t") if log.terminal else None,
            reason=last.get("reason"),
        )
        return summary


def _send(file: Any, offset: int, digest: Any) -> Iterator[Pair]:
    """Send a file piece by piece, hashed in the same pass where the client has no hash yet."""
    with file:
        before = os.fstat(file.fileno())
        file.seek(offset)
        left = max(0, before.st_size - offset)
        while left:
            data = file.read(min(wire.MAX_BODY, left))
            if not data:
                break
            left -= len(data)
            if digest is not None:
                digest.update(data)
            yield {"more": True}, data
        after = os.fstat(file.fileno())
    changed = left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    yield (
        {
            "more": False,
            "size": before.st_size,
            "mtime_ns": before.st_mtime_ns,
            "sha256": digest.hexdigest() if digest is not None else None,
            "changed": bool(changed),
        },
        b"",
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
