"""What ``chutes_jupyter`` is on a worker: names that let a module with jobs in it be imported.

A copy of this file is the package's ``__init__.py`` there. Declarations were checked where the
person wrote them; here they only keep what they were given. It imports nothing, since every job
pays for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["Chute", "Image", "NodeSelector", "Port"]


class _Kept:
    """Keeps its arguments: those by name as attributes, in order those of `_names`."""

    _names: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(zip(self._names, args))
        self.__dict__.update(kwargs)

    def __repr__(self) -> str:
        shown = ", ".join("%s=%r" % item for item in sorted(self.__dict__.items()))
        return "%s(%s)" % (type(self).__name__, shown)


class Port(_Kept):
    """A port of a job: ``name``, ``port``, ``proto``."""

    _names = ("name", "port", "proto")


class NodeSelector(_Kept):
    """What a job asks of its worker."""

    _names = ("gpu_count", "min_vram_gb_per_gpu", "max_hourly_price_per_gpu", "include", "exclude")


class Image(_Kept):
    """An image; each of its steps returns the image."""

    _names = ("username", "name", "tag", "readme")

    def __getattr__(self, name: str) -> Callable[..., Image]:
        # Only steps come here. Names with underscores are what copy, pickle and Jupyter look for.
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: self


class Chute(_Kept):
    """A chute; its decorators give the function back."""

    _names = ("username", "name", "image")

    def job(
        self, ports: Any = (), timeout: Any = None, upload: Any = True, ssh: Any = False
    ) -> Callable[[Function], Function]:
        """Return a decorator that keeps the job's options on the function."""

        def keep(function: Function) -> Function:
            options = {"ports": list(ports), "timeout": timeout, "upload": upload, "ssh": ssh}
            function.__dict__.update(
                options, name=function.__name__, options=lambda **_: function, submit=_submit
            )
            return function

        return keep

    def on_startup(
        self,
        priority: int = 50,  # noqa: ARG002 - declared; the worker gets it with the job
    ) -> Callable[[Function], Function]:
        """Return a decorator that leaves the function as it is."""

        def keep(function: Function) -> Function:
            return function

        return keep


def _submit(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError(
        "this is a worker, and jobs are submitted from the notebook: "
        "call the function itself, or return what the notebook needs for the next job."
    )


def __getattr__(name: str) -> Any:
    raise AttributeError(
        "chutes_jupyter.%s is not there on a worker, where the package is a stand-in with %s: "
        "use it in the notebook." % (name, ", ".join(__all__))
    )
