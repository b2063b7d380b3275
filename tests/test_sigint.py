"""Interrupts at every moment of a wait: none may leave something half done."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Future
from types import FrameType
from typing import Any

import pytest

from chutes_jupyter import portal, sigint
from chutes_jupyter.sigint import Deferred
from tests.interrupting import Interrupter

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def handler() -> Any:
    """Python's own handler, whatever runs the tests; it is there again after each."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def answers() -> bool:
    """Whether the background thread does: asked without a lock that a wait may have kept."""
    done = threading.Event()
    portal.spawn(_set, done)
    return done.wait(PATIENCE)


async def _set(done: threading.Event) -> None:
    done.set()


def test_no_interrupt_of_a_wait_stops_the_background_thread():
    portal.call(asyncio.sleep, 0)
    interrupter = Interrupter(within="wait_shortly")

    def wait_shortly() -> None:
        portal.wait(portal.spawn(asyncio.sleep, PATIENCE), 0.12)

    met = 0
    while met < 1000:
        ended: list[type[BaseException]] = []
        try:
            interrupter.run(wait_shortly)
        except (KeyboardInterrupt, TimeoutError, RuntimeError) as error:
            ended.append(type(error))
        if not interrupter.where:
            break
        assert answers(), interrupter.where
        assert ended == [KeyboardInterrupt], interrupter.where
        met += 1
    assert 50 < met < 1000


def test_an_interrupt_waits_for_the_end_of_what_must_not_be_left_half_done():
    done = []
    with pytest.raises(KeyboardInterrupt), Deferred():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]


def test_an_interrupt_is_heeded_where_that_is_said_also_further_in():
    done = []
    with pytest.raises(KeyboardInterrupt), Deferred():
        signal.raise_signal(signal.SIGINT)
        with Deferred() as inner:
            done.append(1)
            inner.heed()
            done.append(2)
    assert done == [1]


def test_the_handler_of_the_program_gets_the_interrupt():
    got: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: got.append(frame))
    with Deferred() as deferred:
        signal.raise_signal(signal.SIGINT)
        assert got == []
        deferred.heed()
        deferred.heed()
    assert len(got) == 1
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_interrupts_that_are_ignored_stay_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Deferred():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_hangs_is_interrupted_at_the_second_try(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sigint, "_PATIENCE", -1.0)
    with Deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_another_thread_changes_no_handler_and_takes_no_interrupt():
    found: Future[Any] = Future()

    def run() -> None:
        try:
            with Deferred() as deferred:
                deferred.heed()
            found.set_result(signal.getsignal(signal.SIGINT))
        except KeyboardInterrupt as error:
            found.set_exception(error)

    with pytest.raises(KeyboardInterrupt), Deferred():
        noting = signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(PATIENCE)
        assert found.exception(0) is None
    assert found.result(0) == noting
