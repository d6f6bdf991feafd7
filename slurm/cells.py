"""The progress of the cells of a paper's table that was submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from slurm.status import JobStatus
from slurm.submission import Submission, SubmittedCell

CellState = Literal["measured", "running", "waiting", "failed", "cancelled", "refused"]
"""The state of a cell: measured if all its runs have a result, refused if none of them could be submitted."""

STATES: tuple[CellState, ...] = ("measured", "running", "waiting", "failed", "cancelled", "refused")
"""In the order in which they are counted."""


def find_cells(submission: Submission, jobs: Sequence[JobStatus]) -> list[tuple[SubmittedCell, CellState]]:
    """Find the state of each cell of a submission's table, by that of its jobs."""
    if submission.table is None:
        return []
    measured = submission.addresses()
    state_of = {request: job.state for job in jobs for request in submission.jobs[job.number].requests}
    return [
        (cell, _choose({"measured" if one in measured else state_of[one] for one in cell.requests}))
        for cell in submission.table.cells
    ]


def _choose(states: set[str]) -> CellState:
    """Choose the state of a cell from those of its runs; a job that is done without a result counts as failed."""
    if not states:
        return "refused"
    if "done" in states:
        return "failed"
    worst: tuple[CellState, ...] = ("failed", "cancelled", "running", "waiting")
    return next((state for state in worst if state in states), "measured")
