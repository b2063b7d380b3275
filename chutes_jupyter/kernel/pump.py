"""The panels' messages, taken while a cell waits for a job.

A front end without subshells (VS Code, Colab, a plain client) sends what is clicked to the
shell on which the cell runs, where it would lie until the cell ends. So a wait of ours looks at
that shell's socket: what belongs to a panel is handed on, and everything else is given back in
its order when the wait ends.

All of this uses private names of ipykernel and pyzmq. `of` looks whether they are there and
says None where one is missing: then the wait is a plain one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

#: The comms of panels, by their ids.
panels: set[str] = set()
#: Whether the main thread pumps already.
_active = False
#: What is held and not yet given back. One list: a cell may wait again before the loop is free.
_held: list[Any] = []


class Pump:
    """Looks for messages of panels on the shell of the main thread.

    Parameters
    ----------
    kernel : ipykernel.ipkernel.IPythonKernel
        The kernel that runs the cell.
    stream : zmq.eventloop.zmqstream.ZMQStream
        Where the main shell's messages come.
    """

    def __init__(self, kernel: Any, stream: Any) -> None:
        self._kernel, self._stream = kernel, stream
        self._looked = False

    def look(self) -> None:
        """Hand on what has come for panels, and hold what has not."""
        self._looked = True
        socket = self._stream.socket
        while socket.poll(0):
            raw = socket.recv_multipart(copy=False)
            message = self._for_panels(raw)
            if message is None:
                _held.append(raw)
            else:
                self._hand_on(*message)

    def _for_panels(self, raw: list[Any]) -> tuple[list[Any], dict[str, Any]] | None:
        """Return a message that is a panel's, with its sender."""
        session = self._kernel.session
        try:
            idents, frames = session.feed_identities(raw, copy=False)
            # Only the header: a message that was unpacked whole can't be given back.
            header = session.deserialize(list(frames), content=False, copy=False)["header"]
            if header["msg_type"] not in ("comm_msg", "comm_close"):
                return None
            content = session.unpack(frames[4].bytes)
            if content.get("comm_id") not in panels:
                return None
            return idents, session.deserialize(frames, content=True, copy=False)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return None  # not ours, or no message: the kernel will say what is wrong with it

    def _hand_on(self, idents: list[Any], message: dict[str, Any]) -> None:
        kernel = self._kernel
        parent, ident = kernel.get_parent("shell"), _parent_ident(kernel)
        kernel.set_parent(idents, message, channel="shell")
        try:
            kernel.shell_handlers[message["header"]["msg_type"]](self._stream, idents, message)
        except Exception:  # noqa: BLE001  # as the kernel does: a callback's fault ends no cell
            _log.exception("a panel's message could not be taken")
        finally:
            kernel.set_parent(ident, parent, channel="shell")

    def give_back(self) -> None:
        """Let the kernel have, in their order, the messages that were held."""
        if not self._looked:
            return
        stream = self._stream
        take = stream._recv_callback
        if not isinstance(take, _HeldFirst):
            stream._recv_callback = take = _HeldFirst(stream, take)
        self._kernel.io_loop.add_callback(take.give_back)
        # What came while nobody listened raised no event that is still to be seen.
        stream._rebuild_io_state()


class _HeldFirst:
    """Takes a stream's messages, after those that are held.

    The loop may already have been asked to read the next message, by an earlier wait or before
    it: read before the held ones are given back, that one would overtake them.
    """

    def __init__(self, stream: Any, take: Callable[[list[Any]], Any]) -> None:
        self._stream, self._take = stream, take

    def __call__(self, raw: list[Any]) -> Any:
        self.give_back()
        return self._take(raw)

    def give_back(self) -> None:
        if self._stream._recv_callback is self:
            self._stream._recv_callback = self._take
        held, _held[:] = _held[:], []
        for raw in held:
            self._stream._run_callback(self._take, raw)


def _parent_ident(kernel: Any) -> Any:
    return kernel._parent_ident["shell"]


def of(kernel: Any) -> Pump | None:
    """Return a pump for the main shell of a kernel; None where its insides are others."""
    channel = getattr(kernel, "shell_channel_thread", None)
    if channel is not None:
        pair = getattr(getattr(channel, "manager", None), "_shell_channel_to_main", None)
        stream = getattr(pair, "to_stream", None)
    else:
        stream = getattr(kernel, "shell_stream", None)
    needed = (
        *((stream, name) for name in ("socket", "_run_callback", "_recv_callback")),
        (stream, "_rebuild_io_state"),
        *((kernel, name) for name in ("session", "get_parent", "set_parent", "shell_handlers")),
        (kernel, "io_loop"),
        (kernel, "_parent_ident"),
    )
    if stream is None or not all(hasattr(*each) for each in needed):
        return None
    return Pump(kernel, stream)


@contextlib.contextmanager
def pumping(kernel: Any) -> Iterator[Callable[[], object] | None]:
    """Pump as long as a wait takes, on the main thread alone; yields what looks."""
    global _active
    on_main = threading.current_thread() is threading.main_thread()
    # What a panel's message leads to may wait in its turn: messages would change their order.
    pump = of(kernel) if panels and on_main and not _active else None
    if pump is None:
        yield None
        return
    _active = True
    try:
        yield pump.look
    finally:
        _active = False
        pump.give_back()
