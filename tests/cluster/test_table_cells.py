"""The cells of a paper's table that was submitted, by what became of their jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.core.files import Places
from bench.execution.request import Request
from slurm.cells import find_cells
from slurm.plan import Job
from slurm.status import JobStatus, State
from slurm.submission import Means, SubmittedCell, SubmittedTable, create, read

MEANS = Means("cpu", 0, 1, 0)


def _submit(tmp_path: Path, cells: list[tuple[int, ...]]):
    requests = [Request("cam", registry.protocol("voc07-point"), seed) for seed in range(3)]
    jobs = [Job("cam", learns=True, requests=(seed,)) for seed in range(3)]
    table = SubmittedTable(
        "spn-2", "shapes", tuple(SubmittedCell(0, str(n), "CAM", "All", c) for n, c in enumerate(cells))
    )
    return create(requests, jobs, Places(tmp_path), MEANS, table)


def test_a_table_is_kept_with_its_submission(tmp_path: Path) -> None:
    submission = _submit(tmp_path, [(0, 1), ()])
    assert read(submission.folder).table == submission.table
    without = create([], [], Places(tmp_path), MEANS)
    assert without.table is None
    assert find_cells(without, []) == []


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("done", "running", "waiting"), ["measured", "running", "running", "refused"]),
        (("done", "done", "waiting"), ["measured", "measured", "waiting", "refused"]),
        (("done", "failed", "running"), ["measured", "failed", "failed", "refused"]),
        (("done", "done", "done"), ["measured", "measured", "failed", "refused"]),
        (("done", "cancelled", "waiting"), ["measured", "cancelled", "cancelled", "refused"]),
    ],
)
def test_a_cell_is_measured_when_all_its_runs_are(
    tmp_path: Path, states: tuple[State, ...], expected: list[str]
) -> None:
    """Three jobs of one run each; the last one never has a result."""
    submission = _submit(tmp_path, [(0,), (0, 1), (1, 2), ()])
    for number in (0, 1):
        if states[number] == "done":
            submission.end(number, results=[str(number)], failed={})
    if states[2] == "done":
        submission.end(2, failed={submission.name_request(2): "no"})
    jobs = [JobStatus(number, state) for number, state in enumerate(states)]
    assert [state for _, state in find_cells(submission, jobs)] == expected
