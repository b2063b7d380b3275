"""The agent's process of one connection: reads requests, writes replies, holds no truth.

Everything it says comes from the job directories, so it may die at any time: the client
starts another one. It ends when the client closes its input; jobs go on.
"""

from __future__ import annotations

import itertools
import os
import selectors
import signal
import sys
import time
import traceback
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Tuple

from . import supervise, wire
from .changes import POLL, Changes
from .requests import Answer, Header, Pair, Refused, Requests

#: Long replies go on only while less than this is waiting to be written, in bytes.
_BACKLOG = 512 * 1024
#: So many pieces are written at once: a header and its body go together.
_PIECES = 16
#: After so long others have their turn: what is deleted says little and takes long, in seconds.
_TURN = 0.05
_LONGEST_WAIT = 60.0
#: A wait with no news asks this often whether the job's supervisor still lives, in seconds.
_CHECK = 2.0


def main(root: str, agent_hash: str, umask: Optional[int] = None) -> int:
    """Serve one connection on standard input and output.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    agent_hash : str
        The hash that names this version of the agent.
    umask : int, optional
        The person's, for the files of jobs; by default that of this process.
    """
    before = os.umask(0o077)
    supervise.person_umask = before if umask is None else umask
    root = os.path.abspath(os.path.expanduser(root))
    os.makedirs(os.path.join(root, "jobs"), mode=0o700, exist_ok=True)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    requests = Requests(root, agent_hash)
    try:
        return Server(requests).run()
    finally:
        requests.close()


class _Waiting:
    """A request that has no answer yet."""

    def __init__(self, header: Header, body: bytes, folder: str, deadline: float) -> None:
        self.header, self.body = header, body
        self.folder, self.deadline = folder, deadline


class Server:
    """Moves frames between the channel and the requests."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._decoder = wire.Decoder()
        self._changes = Changes()
        self._selector = selectors.DefaultSelector()
        self._out: Deque[memoryview] = deque()
        self._backlog = 0
        self._streams: Deque[Tuple[int, Iterator[Pair]]] = deque()
        self._waiting: List[_Waiting] = []
        self._next_check = 0.0
        self._open = True

    def run(self) -> int:
        """Serve until the client closes its side."""
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self._queue(wire.MARKER)
        self._selector.register(0, selectors.EVENT_READ, "in")
        if self._changes.fd is not None:
            self._selector.register(self._changes.fd, selectors.EVENT_READ, "changes")
        while self._open:
            self._write()
            self._selector.select(self._patience())
            self._read()
            self._retry()
            self._stream()
        return 0

    def _patience(self) -> Optional[float]:
        if self._streams and self._backlog < _BACKLOG:
            return 0.0
        if not self._waiting:
            return None
        moments = [self._next_check, *(item.deadline for item in self._waiting)]
        patience = max(0.0, min(moments) - time.monotonic())
        if all(self._changes.watched(item.folder) for item in self._waiting):
            return patience
        return min(patience, POLL)

    # -- in ---------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = os.read(0, 256 * 1024)
        except BlockingIOError:
            return
        if not data:
            self._open = False
            return
        for header, body in self._decoder.feed(data):
            self._take(header, body)

    def _take(self, header: Header, body: bytes) -> None:
        # The claim of a wait: answered at once if there is news, else kept until there is.
        answer = self._ask(header, body, waited=False)
        if answer is None:
            folder = self._requests.folder(header)
            self._changes.watch(folder)
            wait = min(float(header.get("wait", 0)), _LONGEST_WAIT)
            self._waiting.append(_Waiting(header, body, folder, time.monotonic() + wait))
            # What came between the answer and the watch would wake nobody: ask again.
            answer = self._ask(header, body, waited=False)
            if answer is None:
                return
            self._waiting.pop()
        self._reply(header, answer)

    def _ask(self, header: Header, body: bytes, waited: bool) -> Answer:
        try:
            return self._requests.answer(dict(header, waited=waited), body)
        except Refused as error:
            fault = {"code": error.code, "message": str(error)}
        except Exception as error:
            # Ours to mend; the client must hear of it, or it would wait for ever.
            return _internal(error), b""
        return {"ok": False, "error": fault}, b""

    def _retry(self) -> None:
        """Ask again for those whose folder changed or whose patience has ended."""
        changed = self._changes.take()
        now = time.monotonic()
        check = now >= self._next_check
        if check:
            self._next_check = now + _CHECK
        for item in list(self._waiting):
            watched = self._changes.watched(item.folder)
            over = now >= item.deadline
            if not (over or check or item.folder in changed or not watched):
                continue
            header = dict(item.header, wait=0) if over else item.header
            answer = self._ask(header, item.body, waited=check or over)
            if answer is not None:
                self._waiting.remove(item)
                self._forget(item.folder)
                self._reply(item.header, answer)

    def _forget(self, folder: str) -> None:
        if not any(item.folder == folder for item in self._waiting):
            self._changes.unwatch(folder)

    # -- out --------------------------------------------------------------------------

    def _reply(self, header: Header, answer: Answer) -> None:
        number = header.get("id", 0)
        if isinstance(answer, tuple):
            self._send(number, *answer)
        elif answer is not None:
            self._streams.append((number, answer))

    def _send(self, number: int, fields: Dict[str, Any], body: bytes) -> None:
        try:
            lead = wire.lead({"id": number, "ok": True, **fields}, len(body))
        except wire.WireError as error:
            # Pages are bounded; whatever is not must not end this connection for all the others.
            lead, body = wire.lead({"id": number, **_internal(error)}), b""
        self._queue(lead)
        if body:
            self._queue(body)

    def _stream(self) -> None:
        """Let each long reply say one piece in turn, while the channel takes it."""
        until = time.monotonic() + _TURN
        while self._streams and self._backlog < _BACKLOG and time.monotonic() < until:
            number, pieces = self._streams.popleft()
            try:
                fields, body = next(pieces)
            except OSError as error:
                fault = {"code": "io", "message": str(error)}
                fields, body = {"ok": False, "error": fault}, b""
            except Exception as error:
                # As with a short answer: the other requests of this connection go on.
                fields, body = _internal(error), b""
            self._send(number, fields, body)
            if fields.get("more"):
                self._streams.append((number, pieces))

    def _queue(self, data: bytes) -> None:
        self._out.append(memoryview(data))
        self._backlog += len(data)

    def _write(self) -> None:
        """Write what the channel takes now; the selector tells when it takes more."""
        while self._out:
            try:
                written = os.writev(1, list(itertools.islice(self._out, _PIECES)))
            except BlockingIOError:
                break
            except (BrokenPipeError, ConnectionResetError):
                self._open = False
                return
            self._backlog -= written
            while self._out and written >= len(self._out[0]):
                written -= len(self._out.popleft())
            if written:
                self._out[0] = self._out[0][written:]
        self._listen_for_room(bool(self._out))

    def _listen_for_room(self, wanted: bool) -> None:
        registered = 1 in self._selector.get_map()
        if wanted and not registered:
            self._selector.register(1, selectors.EVENT_WRITE, "out")
        elif registered and not wanted:
            self._selector.unregister(1)


def _internal(error: Exception) -> Dict[str, Any]:
    """Return the fields of a reply that a fault of ours has kept from being another."""
    traceback.print_exc(file=sys.stderr)
    message = "%s: %s" % (type(error).__name__, error)
    return {"ok": False, "error": {"code": "internal", "message": message}}
