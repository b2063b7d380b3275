"""The outputs of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chutes_jupyter.server.shapes.base import (
    MOST,
    Answer,
    Asked,
    FileWord,
    Limit,
    Moment,
    OutputPath,
    Problem,
    Start,
)
from chutes_jupyter.server.shapes.jobs import MirrorView


class FilesQuery(Asked):
    """Which files."""

    text: str = Field(default="", description="What occurs in their paths.")
    offset: Start = 0
    limit: Limit = MOST


class FileItem(Answer):
    """One output."""

    path: str
    size: int = Field(description="On the worker, in bytes; of one that only is here, here.")
    modified: Moment | None
    state: FileWord
    arrived: int = Field(description="Bytes of it that are here.")
    current: bool = Field(description="Whether what is here is what the worker listed last.")


class RefusedFile(Answer):
    """A name in the output folder that brings no file."""

    path: str
    reason: str


class FilesAnswer(Answer):
    """The outputs of a job, in the order of their paths."""

    files: list[FileItem]
    total: int
    bytes: int
    here: int = Field(description="How many of all files are here.")
    final: bool = Field(description="Whether no other files will come.")
    confirmed: bool = Field(description="Whether the worker has just listed them; else as known.")
    trouble: str | None
    refused: list[RefusedFile]
    output_dir: str | None
    output_path: str | None


class ContentQuery(Asked):
    """Which file, and whether it is to be saved."""

    path: OutputPath
    download: bool = Field(
        default=False, description="Always as an attachment; pictures and sounds are shown without."
    )


class PreviewQuery(Asked):
    """Which file, and how much of it."""

    path: OutputPath
    rows: Annotated[int, Field(ge=1, le=1000)] = 200


class NotebookCell(Answer):
    """A cell of a notebook, with what it printed; rich outputs are named only."""

    kind: str
    source: str
    outputs: list[str]


class Preview(Answer):
    """A bounded look at a file; which fields are set depends on `kind`. Never HTML."""

    path: str
    size: int
    kind: Literal["text", "json", "table", "image", "audio", "notebook", "binary", "empty"]
    source: Literal["here", "worker"] = Field(description="From where it was read.")
    cut: bool = Field(description="Whether this is only the beginning.")
    text: str | None = Field(default=None, description="Of `text`, `json` and `notebook`.")
    table: list[list[str]] | None = Field(default=None, description="Rows, the head first.")
    notebook: list[NotebookCell] | None = None
    media: str | None = Field(default=None, description="The type of a picture or a sound.")
    content: str | None = Field(
        default=None, description="Where a picture or a sound is, relative to the server's base."
    )


class FetchRequest(Asked):
    """Which files to bring here now, although the job may still run."""

    paths: Annotated[list[OutputPath], Field(max_length=100)] = Field(
        default=[], description="Empty: start to bring all of them."
    )


class FetchedFile(Answer):
    """What came of one file."""

    path: str
    size: int
    here: bool
    problem: Problem | None


class FetchAnswer(Answer):
    """What came of a fetch."""

    files: list[FetchedFile]
    mirror: MirrorView
    output_dir: str | None
    output_path: str | None
