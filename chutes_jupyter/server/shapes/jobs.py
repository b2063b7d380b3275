"""Jobs, as they go in and out of the API."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chutes_jupyter.server.shapes.base import (
    MOST,
    Answer,
    Asked,
    Limit,
    MirrorWord,
    Moment,
    Start,
    Wait,
)
from chutes_jupyter.server.shapes.ports import UndeclaredItem
from chutes_jupyter.server.shapes.readings import ProgressView


class JobPort(Answer):
    """A port as the job declares it."""

    name: str
    port: int
    proto: str


class JobSummary(Answer):
    """One job in a list: what the worker last confirmed, and when that was."""

    id: str
    label: str = Field(description="The id as it is shown and typed: `train-3f9c2a`.")
    name: str
    worker: str
    state: str
    live: bool = Field(description="Whether it has not ended.")
    event: int = Field(description="The number of the event that told the state; 0: none so far.")
    reason: str | None
    created: Moment
    started: Moment | None
    ended: Moment | None
    timeout: int | None
    confirmed: Moment | None = Field(description="When its worker last confirmed this.")
    trouble: str | None = Field(description="Why its worker can't be reached at present.")
    notebook: str | None
    cell: str | None = Field(
        description="The id of the notebook's cell that submitted it, where that is known."
    )
    output_dir: str | None
    output_path: str | None = Field(
        description="The same as the server's file browser calls it, if it is below its root."
    )
    ports: list[JobPort]
    progress: ProgressView | None = Field(description="How far it is, as it last said.")
    gpu: list[float] = Field(
        description="In percent, how busy its busiest GPU was in the newest samples; in lists of "
        "jobs that run, as long as somebody follows `/events`."
    )


class MirrorView(Answer):
    """How far the outputs are on this machine; as far as this server brings them itself."""

    state: MirrorWord
    reason: str | None
    done: int
    total: int
    files_done: int
    files_total: int


class JobView(JobSummary):
    """Everything that is known of one job."""

    elapsed: float | None = Field(description="How long the function has run, in seconds.")
    upload: bool
    outage: str = Field(description="Since when its worker can't be reached, in words, or empty.")
    trouble_since: Moment | None
    gpus: str | None
    python: str | None
    notices: list[str]
    cancel_asked: bool = Field(description="Whether a cancel is on its way from this server.")
    cancel_by: str | None
    removed: bool
    mirror: MirrorView
    ready_ports: list[str]
    undeclared: list[UndeclaredItem] = Field(
        description="Ports that it listens on and did not declare, as `/ports` has them."
    )


class JobsQuery(Asked):
    """Which jobs."""

    state: str = Field(
        default="", description="States, joined by commas; also `live` and `ended`. Empty: all."
    )
    worker: str = ""
    notebook: str = ""
    name: str = ""
    text: str = Field(default="", description="Words that all occur in label, notebook, reason …")
    offset: Start = 0
    limit: Limit = 100
    refresh: bool = Field(
        default=False,
        description="Ask the workers first; those that are silent keep what is known.",
    )


class Facet(Answer):
    """A value that jobs have, and how many of them have it."""

    value: str
    count: int


class JobPage(Answer):
    """One page of a list, the newest job first."""

    jobs: list[JobSummary]
    total: int = Field(description="How many jobs match.")
    offset: int
    states: list[Facet] = Field(description="Of all jobs, whatever was asked for.")
    workers: list[Facet]
    notebooks: list[Facet]
    silent: dict[str, str] = Field(description="Workers that did not answer lately, and why.")
    cursor: str = Field(description="Where `/events` goes on from this page: its `cursor`.")


class CancelRequest(Asked):
    """How to cancel."""

    wait: Wait = Field(default=5.0, description="For the worker's word that it knows, in seconds.")


class CancelAnswer(Answer):
    """What came of a cancel."""

    told: bool = Field(
        description="Whether the worker knows. Else this server keeps the cancel and delivers it."
    )
    job: JobView


class RemoveQuery(Asked):
    """What goes along with a job."""

    outputs: bool = Field(default=False, description="Also its output files, here and there.")


class KeptJob(Answer):
    """A job that was not removed."""

    id: str
    label: str
    reason: str


class CleanRequest(Asked):
    """Which jobs to remove; all that have ended where nothing is said."""

    jobs: Annotated[tuple[str, ...], Field(max_length=MOST)] = ()
    worker: str | None = None
    older: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Only those that ended so many seconds ago, or longer."
    )
    outputs: bool = False
    dry: bool = Field(default=False, description="Change nothing, only say what would go.")


class CleanAnswer(Answer):
    """What was removed, or would be."""

    removed: list[str]
    kept: list[KeptJob]
    freed: dict[str, int] = Field(description="Bytes, by worker.")
    freed_here: int
    silent: list[str]
