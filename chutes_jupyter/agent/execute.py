"""The job's own process: runs the start-up hooks and the function, and says how it ended.

Started by the supervisor with the interpreter of the worker's jobs. It hears ``cancel`` and
``interrupt`` over a socket on a thread of its own, so that the cancel event is set even
while the function blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import inspect
import json
import os
import socket
import sys
import threading
from typing import Any, Callable, Dict, Literal, Optional, Sequence

from . import cells, classes, codec, faults, modules, raised, shell, space, whereabouts
from .journal import JobDir, write_pieces
from .refusals import Buffer
from .reports import Reports
from .telling import Teller

#: Longer names of exceptions are cut, in characters: no client takes one of more than 256.
_LONGEST_NAME = 200


class CancelEvent(asyncio.Event):
    """An `asyncio.Event` that any thread may set and ask, even while the loop is blocked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._flag = threading.Event()
        self._home = loop

    def is_set(self) -> bool:
        """Whether the job was asked to end."""
        return self._flag.is_set()

    def set(self) -> None:
        """Ask the job to end."""
        self._flag.set()
        try:
            self._home.call_soon_threadsafe(super().set)
        except RuntimeError:  # the loop is closed: nobody waits in it any more
            return

    def clear(self) -> None:
        """Take the request back, as `asyncio.Event` allows."""
        self._flag.clear()
        super().clear()

    async def wait(self) -> "Literal[True]":
        """Wait until the job is asked to end."""
        if not self._flag.is_set():
            await super().wait()
        return True

    def wait_blocking(self, timeout: Optional[float] = None) -> bool:
        """Block this thread until the job is asked to end, at most `timeout` seconds."""
        return self._flag.wait(timeout)


class Chute:
    """What the function knows as `self`; start-up hooks may set anything on it."""

    cancel_event: CancelEvent

    def __init__(self, facts: Dict[str, Any], teller: Teller) -> None:
        self.progress = teller.progress
        self.metric = teller.metric
        self.__dict__.update(facts)


class _Link:
    """The way to and from the supervisor."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.set_inheritable(False)
        self._saying = threading.Lock()

    def say(self, **words: Any) -> None:
        with self._saying:
            self._sock.sendall(json.dumps(words).encode("ascii") + b"\n")

    def listen(self, on_cancel: Callable[[], None], on_interrupt: Callable[[], None]) -> None:
        def hear() -> None:
            while True:
                words = self._sock.recv(1024)
                if not words:
                    return  # the supervisor is dead; the guardian ends us
                if b"cancel" in words:
                    on_cancel()
                if b"interrupt" in words:
                    faults.note()
                    on_interrupt()

        threading.Thread(target=hear, name="chute-cancel", daemon=True).start()


def main(path: str, fd: int) -> None:
    """Run the job of a directory, in the process that a template became.

    Parameters
    ----------
    path : str
        The job directory.
    fd : int
        The socket to the supervisor.
    """
    _open_streams()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")  # programs that the job starts print live, too
    link = _Link(fd)
    reports = Reports(_job(path), lambda message: link.say(notice=message))
    try:
        faults.watch(os.path.join(path, "faults"))
        with open(os.path.join(path, "payload.bin"), "rb") as file:
            payload = _given(file.read())
        sys.argv = [payload["job"]]
        _add_modules(payload.get("modules"), path)
        reports.watch()
        value = _run(payload, os.path.join(path, "output"), link, reports)
        reports.finish()
        untrusted = _bring(value, path)
    except BaseException as error:
        reports.finish()
        link.say(raised=_tell(error))
        _flush()
        sys.exit(1)
    link.say(returned=True, untrusted=untrusted)
    _flush()


def _given(data: bytes, classes: Any = None) -> Any:
    try:
        return codec.loads(data, classes=classes)
    except codec.CodecError as error:
        raise codec.CodecError("what the job was given can't be read here: %s" % error) from error


def _job(path: str) -> JobDir:
    folder, job_id = os.path.split(path)
    return JobDir(os.path.dirname(folder), job_id)


def _bring(value: Any, path: str) -> Optional[str]:
    """Write down what the function returned; say why if only who trusts us may read it."""
    try:
        returned = codec.encode(value, "result", figures=True, classes=[])
    except codec.CodecError as error:
        why = str(error)
    else:
        _keep(os.path.join(path, "result.bin"), returned)
        return None
    # Late: hardly any job needs it.
    from . import pickled

    try:
        pickle = pickled.dumps(value)
    except pickled.Unpicklable as error:
        message = "the returned value can't travel: %s It can't be pickled either (%s)."
        raise codec.CodecError(message % (why, error)) from error
    _keep(os.path.join(path, "result.pickle"), [pickle])
    return why[:10_000]


def _add_modules(files: Any, path: str) -> None:
    """Let this job import the modules that came with it, before any others of these names."""
    if not files:
        return
    folder = os.path.join(path, modules.FOLDER)
    modules.place(os.path.dirname(os.path.dirname(path)), folder, files)
    sys.path.insert(0, folder)


class DiskFull(Exception):
    """What the function returned has no room on the worker's disk."""


def _keep(path: str, result: Sequence[Buffer]) -> None:
    folder = os.path.dirname(path)
    size = sum(memoryview(piece).nbytes for piece in result)
    try:
        # Asked before: others need what room there is while this is tried.
        if space.free(folder) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_pieces(path, result)
    except OSError as error:
        if not space.is_full(error):
            raise
        where = space.sentence(os.path.dirname(folder), error)
        raise DiskFull("the returned value has %d bytes, and %s" % (size, where)) from error


def _open_streams() -> None:
    """Make the standard streams anew: those of the template are not the job's."""
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for name, fd in (("stdout", 1), ("stderr", 2)):
        # Lines at once, and no text that can't be printed, whatever the worker's locale.
        stream = open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, AttributeError):  # the function closed it, or set None
            stream.flush()


def _run(payload: Dict[str, Any], output_dir: str, link: _Link, reports: Reports) -> Any:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    chute = Chute(payload.get("chute", {}), reports.teller)
    chute.cancel_event = CancelEvent(loop)
    job_data = dict(payload["job_data"], output_dir=output_dir)
    own = os.getpid()

    async def whole_way() -> Any:
        # Here and not later: a forked process shares the loop's selector with this one.
        try:
            value = await way()
        except BaseException as error:
            _end_forked(own, error)
            raise
        _end_forked(own, None)
        return value

    async def way() -> Any:
        loaded = cells.load(payload, chute, reports.display)
        job_data.update(_instances(payload))
        for hook in loaded.hooks:
            answer = hook(chute)
            if inspect.isawaitable(answer):
                await answer
        link.say(running="%d.%d.%d" % sys.version_info[:3])
        whereabouts.tell(lambda place: link.say(place=place))
        if inspect.iscoroutinefunction(loaded.job):
            return await loaded.job(chute, **job_data)
        return await _in_thread(loop, lambda: loaded.job(chute, **job_data))

    task = loop.create_task(whole_way())
    link.listen(chute.cancel_event.set, lambda: _cancel(loop, task))
    try:
        value = loop.run_until_complete(task)
        shell.stop()
        return value
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _instances(payload: Dict[str, Any]) -> Dict[str, Any]:
    """Return the job data that has instances of the person's classes, which are here by now."""
    main = vars(sys.modules[payload["module"]])

    def find(module: str, qualname: str) -> Any:
        # What was defined around the job function is defined in its module here.
        found = classes.within(main, qualname)
        if isinstance(found, type):
            return found
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
        return classes.find(module, qualname)

    instances = payload.get("instances", {})
    return {key: _given(data, find) for key, data in instances.items()}


def _cancel(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[Any]") -> None:
    try:
        loop.call_soon_threadsafe(task.cancel)
    except RuntimeError:  # the loop is closed: the function has just ended
        return


async def _in_thread(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> Any:
    """Run a plain function in a daemon thread: one that blocks for ever can't hold the exit."""
    future: "asyncio.Future[Any]" = loop.create_future()
    own = os.getpid()

    def settle(result: Any, error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def body() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:
            # StopIteration can't be set on a future; SystemExit would end the loop unsaid.
            plain = isinstance(caught, Exception) and not isinstance(caught, StopIteration)
            _end_forked(own, caught)
            error = caught if plain else _Ended(caught)
        _end_forked(own, None)
        loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name="chute-job", daemon=True).start()
    return await future


def _end_forked(own: int, error: Optional[BaseException]) -> None:
    """End a process that the function forked and that has come to the function's end.

    Its end is not the job's, which goes on in the process with the number `own`: it ends like
    a program of its own.
    """
    if os.getpid() == own:
        return
    code: Any = 0
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
        if not isinstance(code, int):
            print(code, file=sys.stderr)  # noqa: T201  # as Python does
            code = 1
    elif error is not None:
        sys.stderr.write(raised.text(error))
        code = 1
    _flush()
    os._exit(code & 0xFF)


class _Ended(Exception):
    """Carries an exception that a future can't."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(repr(original))
        self.original = original


def _tell(error: BaseException) -> Dict[str, Any]:
    """Return an exception as the supervisor writes it down."""
    if isinstance(error, _Ended):
        error = error.original
    name = raised.name(type(error))
    if isinstance(error, (codec.CodecError, DiskFull)):
        message = str(error)
    elif isinstance(error, SystemExit):
        message = "the function called sys.exit(%r)" % (error.code,)
    else:
        words = raised.words(error)
        message = "%s: %s" % (name, words) if words else name
    return {
        "type": name[:_LONGEST_NAME],
        "message": message[:10_000],
        "traceback": raised.text(error),
        "raised": raised.tell(error),
    }
