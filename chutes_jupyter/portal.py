"""The background thread: one event loop a process, where every connection lives.

It starts with the first call and ends with the process. A fork of the process gets a thread
of its own at its first call; what it inherited is never touched.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from concurrent.futures import Future
from concurrent.futures import wait as futures_wait
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from chutes_jupyter.sigint import Deferred

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal

__all__ = ["at_exit", "call", "is_here", "settled", "spawn", "wait", "while_waiting"]

P = ParamSpec("P")
T = TypeVar("T")

Meanwhile: TypeAlias = "Callable[[], AbstractContextManager[Callable[[], object] | None]]"

#: The steps of a wait, in seconds; the shorter one where something is done between them. An
#: interrupt is heeded at the end of a step.
_STEP, _SHORT_STEP = 0.1, 0.05

_log = logging.getLogger(__name__)
_meanwhile: Meanwhile = contextlib.nullcontext
_lock = threading.Lock()
_portal: _Portal | None = None
#: Portals of the process that this one was forked from. They are kept, not closed: their
#: finalizers would touch sockets and selectors that the parent still uses.
_inherited: list[_Portal] = []


class _Portal:
    """The thread, its loop, and what is to be done before they end."""

    def __init__(self) -> None:
        from anyio.from_thread import start_blocking_portal

        self.pid = os.getpid()
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self._stack = contextlib.ExitStack()
        context = start_blocking_portal("asyncio", name="chutes_jupyter")
        self.portal: BlockingPortal = self._stack.enter_context(context)
        self.thread, self.loop = self.portal.call(_where)

    def close(self) -> None:
        """Do what was asked for the end, the latest first, and stop the thread."""
        for function in reversed(self.closing):
            try:
                self.portal.call(function)
            except Exception:  # noqa: BLE001 - logged, and the rest goes on
                _log.exception("closing the background thread")
        self._stack.close()


async def _where() -> tuple[int, asyncio.AbstractEventLoop]:
    return threading.get_ident(), asyncio.get_running_loop()


def _current() -> _Portal:
    global _portal
    with _lock:
        if _portal is not None and _portal.pid != os.getpid():
            _inherited.append(_portal)
            _portal = None
        if _portal is None:
            with Deferred():
                _portal = _Portal()
        return _portal


def call(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run an async function in the background loop and return its result.

    An interrupt (Ctrl-C) ends the wait and cancels the function.
    """
    return wait(spawn(function, *args, **kwargs))


def spawn(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Start an async function in the background loop; cancelling the future cancels it."""

    async def run() -> T:
        return await function(*args, **kwargs)

    current = _current()
    if current.thread == threading.get_ident():
        raise RuntimeError("the background thread can't wait for itself")
    # Not the portal's own way: it waits for the loop, and an interrupt in that wait would leave
    # a task behind that nobody knows.
    future: Future[T] = Future()
    current.loop.call_soon_threadsafe(_start, run, future, current.loop)
    return future


def _start(
    run: Callable[[], Coroutine[Any, Any, T]], future: Future[T], loop: asyncio.AbstractEventLoop
) -> None:
    """Start a task in the loop, and tie it to a future of another thread."""
    if future.cancelled():
        return
    task = loop.create_task(run())

    def end(_task: asyncio.Task[T]) -> None:
        if task.cancelled():
            future.cancel()
        elif error := task.exception():
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        elif future.set_running_or_notify_cancel():
            future.set_result(task.result())

    def cancel(_future: Future[T]) -> None:
        if future.cancelled() and not task.done() and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    task.add_done_callback(end)
    future.add_done_callback(cancel)


def wait(future: Future[T], timeout: float | None = None) -> T:
    """Wait for a future of `spawn`; whatever ends the wait early cancels it.

    Raises
    ------
    TimeoutError
        If it took longer than `timeout` seconds.
    """
    with Deferred():
        try:
            return _wait_in_steps(future, timeout)
        except BaseException:
            future.cancel()
            raise


def _wait_in_steps(future: Future[T], timeout: float | None) -> T:
    if not settled(future, timeout):
        raise TimeoutError
    return future.result()


def settled(future: Future[Any], timeout: float | None) -> bool:
    """Wait until a future of `spawn` has come to something; return whether it has in time.

    Parameters
    ----------
    future : Future
        What to wait for; it goes on if the time is over.
    timeout : float, optional
        For how many seconds at the most.
    """
    # In steps, and interrupted between them: the future's lock is also the background thread's,
    # and a message that is in hand is somebody's.
    until = None if timeout is None else time.monotonic() + timeout
    with Deferred() as interrupts, _meanwhile() as between:
        step = _STEP if between is None else _SHORT_STEP
        while True:
            left = step if until is None else until - time.monotonic()
            if futures_wait([future], max(0.0, min(step, left))).done:
                return True
            interrupts.heed()
            if until is not None and left <= step:
                return False
            if between is not None:
                between()


def while_waiting(meanwhile: Meanwhile | None) -> None:
    """Say what is done, on the waiting thread, between the steps of a wait.

    Parameters
    ----------
    meanwhile : callable, optional
        Returns, for one wait, a context with what to call between its steps, or with None.
    """
    global _meanwhile
    _meanwhile = meanwhile or contextlib.nullcontext


def is_here() -> bool:
    """Whether the caller runs in the background thread, where nothing may block."""
    current = _portal
    return current is not None and current.thread == threading.get_ident()


def at_exit(function: Callable[[], Awaitable[None]]) -> None:
    """Run an async function in the background loop before it ends with the process."""
    _current().closing.append(function)


def _close() -> None:
    global _portal
    with _lock:
        ending, _portal = _portal, None
    if ending is not None and ending.pid == os.getpid():
        ending.close()


def _after_fork() -> None:
    # The lock may have been held by a thread that the child does not have.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# Before the thread pools end, where that can be had (the latest registered goes first): a job
# that is on its way to its worker may still have to look up a host's name.
import_module("concurrent.futures.thread")
_register: Any = getattr(threading, "_register_atexit", atexit.register)
_register(_close)
