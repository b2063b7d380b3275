"""The relay's streams: TCP connections to the job's ports, where the worker's sshd makes none."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
from typing import TYPE_CHECKING, Dict, List, Optional

from . import lanes, listening
from .journal import JobDir, JournalError
from .listening import Way

if TYPE_CHECKING:
    from .outlet import Outlet

#: With so much waiting to be sent to the client, streams wait, in bytes.
ROOM = 1024 * 1024
#: Closing with a linger time of 0 sends a reset: nobody may take a part for the whole.
_RESET = struct.pack("ii", 1, 0)
#: Where a declared port is, whoever listens there.
_DECLARED = Way("127.0.0.1", frozenset())
_NOT_ITS_OWN = "no process of the job listens there"


class _Stream:
    """One TCP connection to the job, and what waits for it."""

    def __init__(self, number: int, port: int, sock: socket.socket) -> None:
        self.number, self.port, self.sock = number, port, sock
        #: Whose socket must have taken it, and by which way, where that is not just anybody's.
        self.owner: Optional[JobDir] = None
        self.way = _DECLARED
        self.connected = False
        #: Bytes for the job, and whether no more come.
        self.out = bytearray()
        self.last_in = False
        #: How many bytes the client still takes, and whether the job has said its last.
        self.room = lanes.STREAM_WINDOW
        self.last_out = False
        self.shut = False
        self.events = 0


class Streams:
    """All streams.

    Parameters
    ----------
    outlet : Outlet
        The channel to the client.
    root : str
        The agent's folder on this worker.
    """

    def __init__(self, outlet: Outlet, root: str) -> None:
        self._outlet, self._root = outlet, root
        self._streams: Dict[int, _Stream] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._streams

    # -- what the client says ---------------------------------------------------------

    def open(self, number: int, port: int, job: str = "") -> None:
        """Connect to a port of a job; with its id only where its own processes listen."""
        if len(self._streams) >= lanes.MAX_STREAMS:
            self._refuse(number, "%d connections are open already" % lanes.MAX_STREAMS)
            return
        owner = None
        ways = [_DECLARED]
        if job:
            try:
                owner = JobDir(self._root, job.rstrip(lanes.ONLY_ASK))
                ways = listening.ways(owner, port)
            except (JournalError, OSError, ValueError, KeyError, TypeError) as error:
                self._refuse(number, "%s (%s)" % (_NOT_ITS_OWN, error))
                return
        if ways and job.endswith(lanes.ONLY_ASK):
            self._outlet.send(lanes.OPENED, number)
        else:
            self._connect(number, port, owner, ways)

    def _connect(self, number: int, port: int, owner: Optional[JobDir], ways: List[Way]) -> None:
        """Connect by the first of these ways that there is."""
        reason = _NOT_ITS_OWN
        for way in ways:
            family = socket.AF_INET6 if ":" in way.host else socket.AF_INET
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:
                reason = str(error.strerror)
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex((way.host, port))
            if code in (0, errno.EINPROGRESS):
                stream = self._streams[number] = _Stream(number, port, sock)
                stream.owner, stream.way = owner, way
                self._refresh(stream)
                return
            sock.close()
            reason = os.strerror(code)
        self._refuse(number, reason)

    def take(self, number: int, data: bytes) -> None:
        """Pass bytes on to the job."""
        stream = self._streams[number]
        stream.out += data
        self._flush(stream)

    def end(self, number: int) -> None:
        """Tell the job that no more bytes come."""
        stream = self._streams[number]
        stream.last_in = True
        self._flush(stream)

    def make_room(self, number: int, size: int) -> None:
        """Note that the client has taken bytes."""
        stream = self._streams[number]
        stream.room += size
        self._refresh(stream)

    def close(self, number: int) -> None:
        """Reset a connection."""
        stream = self._streams.pop(number)
        self._listen(stream, 0)
        with contextlib.suppress(OSError):
            stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        stream.sock.close()

    def close_all(self) -> None:
        """Reset every connection: a job must not take a part for the whole."""
        for number in list(self._streams):
            self.close(number)

    # -- what the job says ------------------------------------------------------------

    def _handle(self, stream: _Stream, events: int) -> None:
        if self._streams.get(stream.number) is not stream:
            return  # closed since the selector spoke of it
        if not stream.connected:
            self._connected(stream)
            return
        if events & selectors.EVENT_WRITE:
            self._flush(stream)
        if events & selectors.EVENT_READ and stream.number in self._streams:
            self._read(stream)

    def _connected(self, stream: _Stream) -> None:
        code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail_to_connect(stream, os.strerror(code))
            return
        # Not a byte has passed so far, in either direction.
        if stream.owner is not None and not self._is_owners(stream.owner, stream):
            self._fail_to_connect(stream, _NOT_ITS_OWN)
            return
        stream.connected = True
        self._outlet.send(lanes.OPENED, stream.number)
        self._flush(stream)

    def _is_owners(self, owner: JobDir, stream: _Stream) -> bool:
        try:
            return listening.still(owner, stream.port, stream.way)
        except (OSError, ValueError, KeyError, TypeError):  # the job is being removed
            return False

    def _fail_to_connect(self, stream: _Stream, reason: str) -> None:
        self._refuse(stream.number, reason)
        self.close(stream.number)

    def _refuse(self, number: int, reason: str) -> None:
        self._outlet.send(lanes.REFUSED, number, 0, reason.encode("utf-8", "replace")[:500])

    def _read(self, stream: _Stream) -> None:
        if stream.last_out or not stream.room:
            return
        try:
            data = stream.sock.recv(min(lanes.PIECE, stream.room))
        except BlockingIOError:
            return
        except OSError:
            self._break(stream)
            return
        if data:
            stream.room -= len(data)
            self._outlet.send(lanes.DATA, stream.number, 0, data)
        else:
            stream.last_out = True
            self._outlet.send(lanes.END, stream.number)
        self._refresh(stream)

    def _flush(self, stream: _Stream) -> None:
        """Write what the job takes, and pass on the end after the last byte."""
        if not stream.connected:
            return
        try:
            if stream.out:
                written = stream.sock.send(stream.out)
                del stream.out[:written]
                self._outlet.send(lanes.ROOM, stream.number, 0, lanes.ROOM_MADE.pack(written))
            if stream.last_in and not stream.out and not stream.shut:
                stream.shut = True
                stream.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._break(stream)
            return
        self._refresh(stream)

    def _break(self, stream: _Stream) -> None:
        self.close(stream.number)
        self._outlet.send(lanes.CLOSE, stream.number)

    # -- who is listened to -----------------------------------------------------------

    def refresh(self) -> None:
        """Look again at whom to listen to: there is room for them now."""
        for stream in list(self._streams.values()):
            self._refresh(stream)

    def _refresh(self, stream: _Stream) -> None:
        if stream.shut and stream.last_out:
            del self._streams[stream.number]
            self._listen(stream, 0)
            stream.sock.close()
            return
        wanted = 0
        if not stream.connected or stream.out:
            wanted |= selectors.EVENT_WRITE
        if stream.connected and not stream.last_out and stream.room and self._outlet.backlog < ROOM:
            wanted |= selectors.EVENT_READ
        self._listen(stream, wanted)

    def _listen(self, stream: _Stream, wanted: int) -> None:
        had, stream.events = stream.events, wanted
        selector = self._outlet.selector
        if wanted == had:
            return
        if not had:
            selector.register(stream.sock, wanted, lambda events: self._handle(stream, events))
        elif wanted:
            selector.modify(stream.sock, wanted, lambda events: self._handle(stream, events))
        else:
            selector.unregister(stream.sock)
