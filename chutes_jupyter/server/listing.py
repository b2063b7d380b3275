"""Filtering and paging of the list of jobs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chutes_jupyter.server.shapes.jobs import Facet, JobPage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chutes_jupyter.server.shapes.jobs import JobsQuery, JobSummary

#: So many values of each kind are counted in an answer.
_MOST_FACETS = 200


def page(
    jobs: Sequence[JobSummary], query: JobsQuery, *, silent: Mapping[str, str], cursor: str
) -> JobPage:
    """Return the asked page of the jobs that match."""
    found = [each for each in jobs if _matches(each, query)]
    return JobPage(
        jobs=found[query.offset : query.offset + query.limit],
        total=len(found),
        offset=query.offset,
        states=_facets(each.state for each in jobs),
        workers=_facets(each.worker for each in jobs),
        notebooks=_facets(each.notebook for each in jobs if each.notebook),
        silent=dict(silent),
        cursor=cursor,
    )


def _facets(values: Iterable[str]) -> list[Facet]:
    counts = Counter(values).most_common(_MOST_FACETS)
    return [Facet(value=value, count=count) for value, count in counts]


def _matches(job: JobSummary, query: JobsQuery) -> bool:
    return (
        _has_state(job, query.state)
        and query.worker in ("", job.worker)
        and query.notebook in ("", job.notebook)
        and query.name in ("", job.name)
        and _has_words(job, query.text)
    )


def _has_state(job: JobSummary, states: str) -> bool:
    wanted = {word.strip() for word in states.split(",")} - {""}
    return not wanted or bool(wanted & {job.state, "live" if job.live else "ended"})


def _has_words(job: JobSummary, text: str) -> bool:
    if not text.strip():
        return True
    ports = " ".join(port.name for port in job.ports)
    parts = (job.label, job.id, job.worker, job.state, job.reason, job.notebook, ports)
    whole = "\n".join(part for part in parts if part).casefold()
    return all(word in whole for word in text.casefold().split())
