"""The doctor's steps as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chutes_jupyter.commands.doctor import examine
from chutes_jupyter.commands.doctor.report import Report
from chutes_jupyter.commands.surroundings import Surroundings
from chutes_jupyter.harmless import harmless
from chutes_jupyter.server.shapes.workers import Step, WorkerTest

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker

_VERDICTS: dict[str, Literal["good", "odd", "bad"]] = {"✓": "good", "!": "odd", "✗": "bad"}


class Steps(Report):
    """Gathers the steps of a test instead of showing them."""

    def __init__(self) -> None:
        super().__init__(Surroundings(write=_nowhere))
        self.steps: list[Step] = []

    def _show(self, sign: str, step: str, figure: str, advice: str = "") -> None:
        self.steps.append(
            Step(
                step=step,
                verdict=_VERDICTS[sign],
                figure=harmless(figure, lines=False),
                advice=harmless(advice),
            )
        )


async def test(worker: Worker) -> WorkerTest:
    """Go through all that a job needs of a worker."""
    report = Steps()
    failed = await examine(worker, report)
    return WorkerTest(ok=not failed, steps=report.steps)


def _nowhere(_text: str) -> None:
    """Show nothing."""
