"""The ports of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chutes_jupyter.server.shapes.base import Answer, Asked


class ForwardView(Answer):
    """A port at an address of the machine of this server."""

    url: str
    address: str
    port: int
    warning: str = ""


class PortItem(Answer):
    """A port, and how it is reached."""

    name: str = Field(description="As it is declared; of one that was shown its number.")
    port: int
    proto: str
    ready: bool = Field(description="Whether the job's server has answered.")
    over: bool = Field(description="Whether the job has ended, and the port with it.")
    notice: str = Field(description="Why it can't be reached from here, or what to know; or empty.")
    forward: ForwardView | None = Field(description="Where this server's machine has it already.")
    forwards: list[ForwardView] = Field(description="Those that were asked for.")
    tab: bool = Field(description="Whether it can be opened in a tab: `POST …/tab`.")


class UndeclaredItem(Answer):
    """A port that a job listens on without having declared it."""

    port: int
    address: Literal["any", "loopback"] = Field(
        description="Where it listens: on all addresses of its worker, or on a loopback address."
    )


class PortsAnswer(Answer):
    """The ports of a job."""

    ports: list[PortItem] = Field(description="Those that it declared, and those that were shown.")
    undeclared: list[UndeclaredItem] = Field(
        description="What else its processes listen on: `POST …/ports/{port}/show`."
    )
    trouble: str | None


class TabRequest(Asked):
    """How the browser calls this server."""

    browser_origin: Annotated[str, Field(max_length=300)] = Field(
        default="", description="`window.location.origin`; the Origin header where it is empty."
    )
    kind: Literal["path"] | None = Field(
        default=None,
        description="`path` where the browser did not find the address of `probe`; else the best.",
    )


class TabAnswer(Answer):
    """Where to open a port."""

    kind: Literal["origin", "domain", "path"]
    url: str
    probe: str | None = Field(
        description="Answers JSON if the browser finds the host of `url`; null for a path."
    )
    notes: list[str] = Field(description="What will not work in this kind of tab.")


class ForwardRequest(Asked):
    """Where on this machine; a free port of a loopback address where nothing is said."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    bind: Annotated[str, Field(max_length=100)] | None = None


class ClosedAnswer(Answer):
    """How many forwards were closed."""

    closed: int


class SshAnswer(Answer):
    """The command that opens a shell in a job, for a terminal of this machine."""

    command: str
    words: list[str]
