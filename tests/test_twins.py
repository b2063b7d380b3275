"""Which exceptions of a job are of the type that was raised, and that a name runs nothing."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import sys
import types
import warnings

import pytest

from chutes_jupyter import errors
from chutes_jupyter.errors import JobFailed
from chutes_jupyter.twins import twin

NOT_AS_SUCH = {
    "Exception", "StopIteration", "StopAsyncIteration", "ExceptionGroup",
    "SyntaxError", "IndentationError", "TabError", "_IncompleteInputError",
}  # fmt: skip
BUILTIN = sorted(
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_builtin_type_is_caught_by_its_own_name_and_by_ours(name: str) -> None:
    kind = twin([("builtins", name)])
    error = kind("job failed", value=3, exception_type=name, remote_traceback="tb")
    assert isinstance(error, JobFailed)
    assert isinstance(error, getattr(builtins, name)) == (
        name not in NOT_AS_SUCH or name == "Exception"
    )
    assert type(error).__name__ == "JobFailed"
    assert str(error) == "job failed\n\ntb"
    assert (error.value, error.exception_type) == (3, name)
    assert "job failed" in repr(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize(
    "name",
    ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "BaseException", "print", "no.such"],
)
def test_what_is_no_plain_exception_is_ours_alone(name: str) -> None:
    assert twin([("builtins", name)]) is JobFailed


def test_a_type_of_a_loaded_module_is_found_and_else_one_that_it_derives_from() -> None:
    assert issubclass(twin([("asyncio.queues", "QueueFull")]), asyncio.QueueFull)
    bases = [("torch_that_is_not_here", "OutOfMemoryError"), ("builtins", "RuntimeError")]
    assert issubclass(twin(bases), RuntimeError)
    assert "xmlrpc.client" not in sys.modules
    assert twin([("xmlrpc.client", "Fault")]) is JobFailed
    assert "xmlrpc.client" not in sys.modules


class Mine(ValueError):
    """Of the person's own, with arguments that nobody here knows."""

    def __init__(self, code: int, text: str) -> None:
        raise AssertionError("nothing of it is called")

    def __str__(self) -> str:
        raise AssertionError("nothing of it is called")


def test_a_class_of_the_notebook_is_caught_without_being_called() -> None:
    error = twin([(__name__, "Mine")])("words")
    assert isinstance(error, Mine)
    assert str(error) == "words"


def noisy() -> dict[str, type]:
    def ran(*_: object, **__: object) -> None:
        raise AssertionError("its code ran")

    class Meta(type):
        __getattribute__ = ran  # type: ignore[assignment]

    return {
        "metaclass": Meta("A", (ValueError,), {}),
        "init_subclass": type("B", (ValueError,), {"__init_subclass__": classmethod(ran)}),
        "new": type("C", (ValueError,), {"__new__": ran}),
        "del": type("D", (ValueError,), {"__del__": ran}),
        "setattr": type("E", (ValueError,), {"__setattr__": ran}),
        "getattr": type("F", (ValueError,), {"__getattr__": ran}),
        "property": type("G", (ValueError,), {"value": property(ran)}),
    }


class Lazy(types.ModuleType):
    """Runs code when it is asked for anything."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError("its code ran")

    __getattribute__ = __getattr__


def test_no_name_runs_code_here(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = types.ModuleType("holder")
    vars(holder).update(noisy())
    monkeypatch.setitem(sys.modules, "holder", holder)
    monkeypatch.setitem(sys.modules, "lazy", Lazy("lazy"))
    monkeypatch.setitem(sys.modules, "odd", 7)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in noisy():
            assert twin([("holder", name)]) is JobFailed, name
        for module in ("lazy", "odd", "", "builtins"):
            assert twin([(module, "anything.at.all"), (module, "")]) is JobFailed


def test_no_worker_says_what_only_this_side_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in errors.__all__:
        monkeypatch.setattr(sys.modules[__name__], "Again", getattr(errors, name), raising=False)
        bases = [("chutes_jupyter.errors", name), ("chutes_jupyter", name), (__name__, "Again")]
        assert twin(bases) is JobFailed
