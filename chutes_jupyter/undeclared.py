"""Ports that a job listens on without having declared them, as its worker found them.

They are offered to the person, and opened only when one is asked for. What the worker says is
an offer at most: its agent looks again whose they are for every connection (`agent.listening`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chutes_jupyter.errors import SpecError
from chutes_jupyter.models import SSH_PORT, Port

__all__ = ["Listener", "ListenerList", "UndeclaredPort"]

#: Below it are the system's own.
LOWEST, HIGHEST = 1024, 65535
#: No sound agent tells more.
_MOST = 16


class Listener(BaseModel):
    """A port that a job listens on."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    port: Annotated[int, Field(ge=LOWEST, le=HIGHEST)]
    #: Whether on all addresses of its worker, and not on a loopback address alone.
    everywhere: bool = False


def _distinct(found: list[Listener]) -> list[Listener]:
    if len({each.port for each in found}) < len(found):
        raise ValueError("one port twice")
    return found


ListenerList = Annotated[list[Listener], Field(max_length=_MOST), AfterValidator(_distinct)]


@dataclass(frozen=True)
class UndeclaredPort(Port):
    """A port that somebody has asked for, as if it were declared as a web server.

    Its name is its number, which no declared port can be called.
    """

    def __post_init__(self) -> None:
        number = self.port
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not LOWEST <= number <= HIGHEST or number == SSH_PORT:
            rule = f"must be a whole number from {LOWEST} to {HIGHEST}, and not {SSH_PORT}"
            raise SpecError("port", number, rule, "show_port(7860)")

    @classmethod
    def of(cls, number: int) -> UndeclaredPort:
        """Return the port of a number.

        Raises
        ------
        SpecError
            If no job can be reached there.
        """
        return cls(str(number), number, "http")
