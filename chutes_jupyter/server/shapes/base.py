"""What every shape of the API is made of, and the one of errors.

`openapi.json` is made from these models, and a test holds it to them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

#: The most jobs, files or events of one answer.
MOST = 1000
#: The most bytes of a log in one answer.
MOST_LOG = 256 * 1024
#: How long a request may wait for news, in seconds: proxies end what is silent for longer.
MOST_WAIT = 25.0

Moment = Annotated[float, Field(description="Seconds since the epoch.")]
Limit = Annotated[int, Field(ge=1, le=MOST)]
Start = Annotated[int, Field(ge=0)]
Wait = Annotated[float, Field(ge=0, le=MOST_WAIT, description="Wait for news, in seconds.")]
OutputPath = Annotated[
    str,
    Field(min_length=1, max_length=4096, description="Below the output folder, parts joined by /."),
]
MirrorWord = Literal["arriving", "complete", "stopped"]
FileWord = Literal["worker", "arriving", "here", "failed"]


class Asked(BaseModel):
    """What a request may say; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What an answer says."""

    model_config = ConfigDict(frozen=True)


class Problem(Answer):
    """Every answer that is an error, whatever its status."""

    code: str = Field(description="A word for programs, such as `job_not_found`.")
    message: str = Field(description="What was wrong, in words for a person.")
    hint: str = Field(description="What to do next; may be empty.")
    details: dict[str, Any] = Field(
        default={}, description="What programs may need besides, such as a host key's fingerprint."
    )


class About(Answer):
    """What answers here."""

    version: str
    api: int
    tabs: bool = Field(description="Whether ports can be opened in tabs.")


class Nothing(Answer):
    """An answer that only says that it was done."""


class LiveQuery(Asked):
    """Where a stream goes on; the header Last-Event-ID says the same."""

    cursor: str = ""
