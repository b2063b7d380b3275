"""Workers, and logins to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from chutes_jupyter.server.shapes.base import Answer, Asked


class WorkersQuery(Asked):
    """Whether to ask the workers themselves."""

    look: Literal["", "met", "all"] = Field(
        default="",
        description="Ask for GPUs: `met` those that this server is connected to, `all` each, "
        "which may be one more failed login. Takes up to 5 seconds.",
    )


class WorkerGpu(Answer):
    """A GPU, and who has it."""

    index: int
    name: str
    memory_mib: int
    free_mib: int | None
    holder: str | None
    holder_user: str | None
    others: list[str]


class WorkerView(Answer):
    """A worker. Of its environment only the names, since values may be secrets."""

    name: str
    host: str | None = Field(description="None: this machine.")
    python: str | None
    dir: str | None
    env: list[str]
    transport: str | None
    trusted: bool | None
    reachable: bool | None = Field(description="None: not asked lately.")
    trouble: str | None = Field(description="Why it could not be reached.")
    gpus: list[WorkerGpu] | None = Field(description="None: not asked, or it has no GPU tools.")
    waiting: int = Field(description="How many jobs wait for GPUs there.")
    version: str | None = Field(description="Of the Python that its agent runs on.")
    jobs: int = Field(description="How many jobs of it have not ended.")


class WorkersAnswer(Answer):
    """All workers, `local` first."""

    workers: list[WorkerView]


class WorkerRequest(Asked):
    """A worker to add, or what to change of one: only what is said changes."""

    name: Annotated[str, Field(max_length=200)]
    host: str | None = None
    python: str | None = None
    dir: str | None = None
    env: dict[str, SecretStr] | None = None
    transport: str | None = None
    trusted: bool | None = None


class Step(Answer):
    """One step of a test."""

    step: str
    verdict: Literal["good", "odd", "bad"]
    figure: str
    advice: str


class WorkerTest(Answer):
    """All steps that were taken, in order."""

    ok: bool
    steps: list[Step]


class HostKeyAnswer(Answer):
    """The key of a worker's host, or of the first host on the way that is not known."""

    known: bool
    fingerprint: str
    kind: str
    host: str
    message: str


class AcceptRequest(Asked):
    """The fingerprint that was shown and compared."""

    fingerprint: Annotated[str, Field(min_length=10, max_length=200)]


class LoginRequest(Asked):
    """Begin a login, or answer its question."""

    talk: str = Field(default="", description="Empty to begin; else what the last answer said.")
    answer: SecretStr | None = Field(
        default=None, description="To the question; it is never logged. None: give up."
    )


class LoginAnswer(Answer):
    """A question, or the end of a login."""

    done: bool
    already: bool = Field(description="Whether somebody was logged in before.")
    talk: str
    prompt: str
    kind: Literal["secret", "confirm", ""] = ""
    notices: list[str]
