"""The exception tree: as it is drawn, and what each one carries."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from chutes_jupyter import errors


def drawn() -> dict[str, str]:
    """Return each name of the drawing with its parent's, read from the module's docstring."""
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^((?:[│├└ ]|── )*)([A-Z]\w+)", line)
        if not match or (not match[1] and match[2] != "ChuteError"):
            continue
        depth = len(match[1]) // 4
        while stack and stack[-1][0] >= depth:
            stack.pop()
        if stack:
            parents[match[2]] = stack[-1][1]
        stack.append((depth, match[2]))
    return parents


def test_the_drawing_is_the_tree():
    classes = {
        name: each
        for name, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, errors.ChuteError)
    }
    bases = {
        name: each.__mro__[1].__name__
        for name, each in classes.items()
        if each is not errors.ChuteError
    }
    assert drawn() == bases
    assert sorted(classes) == sorted(errors.__all__) == errors.__all__


def test_some_are_builtin_errors_too():
    assert issubclass(errors.SpecError, ValueError)
    assert issubclass(errors.WaitTimeout, TimeoutError)


def test_a_failed_job_shows_where_it_failed():
    failure = errors.JobFailed(
        "job train-3f9c2a failed: ValueError: x",
        remote_traceback='Traceback …\n  File "In[3]", line 2',
        exception_type="builtins.ValueError",
    )
    assert str(failure) == (
        'job train-3f9c2a failed: ValueError: x\n\nTraceback …\n  File "In[3]", line 2'
    )
    assert str(errors.JobFailed("no reason")) == "no reason"
    assert failure.exception_type == "builtins.ValueError"
    assert failure.value is None


@pytest.mark.parametrize("kind", [errors.JobCancelled, errors.JobTimedOut])
def test_what_a_stopped_job_returned_comes_along(kind):
    error = kind("job x was stopped", value={"epochs": 2})
    assert error.value == {"epochs": 2}
    assert str(error) == "job x was stopped"


def test_host_keys_and_refusals_carry_what_a_program_needs():
    assert errors.UnknownHostKey("new host", "SHA256:abc").fingerprint == "SHA256:abc"
    assert errors.RequestRefused("unknown_job", "no such job").code == "unknown_job"


EXAMPLES = [
    errors.SpecError("timeout", 5, "must be more", "timeout=30"),
    errors.RequestRefused("io", "disk full"),
    errors.UnknownHostKey("new", "SHA256:abc"),
    errors.JobFailed("m", value=1, remote_traceback="tb", exception_type="E"),
    errors.JobCancelled("m", value=2),
    errors.ConfigError("m"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda each: type(each).__name__)
def test_errors_cross_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
