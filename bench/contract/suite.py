"""The contract's clauses for each kind of method, and how a method is checked against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from bench import registry
from bench.contract import clauses
from bench.contract.subject import SIDE, Caught, Subject
from bench.core.files import Places
from bench.core.progress import SILENT, Progress
from bench.data.datasets import open_dataset
from bench.errors import RequestError
from bench.method import MapMethod, Predictor, ProposalMethod
from bench.training.device import pick_device

if TYPE_CHECKING:
    from bench.contract.clauses import Clause
    from bench.recipe import MethodClass

Clauses = Mapping[str, "Clause"]

_BUILDS, _GPU = "every variant and recipe can be built", "it trains and predicts on a GPU"
_ALL: Clauses = {
    "its file begins with the line that is listed": clauses.summary,
    "every setting has a stage and a description": clauses.fields,
    _BUILDS: clauses.builds,
}
_TRAINED: Clauses = {
    "the loss is finite and looks at the labels": clauses.loss,
    "the loss falls on two images": clauses.learns,
    "it predicts every kind that it claims": clauses.predicts,
    "images may be tall, wide or tiny": clauses.accepts_any_size,
    "a seed gives the same weights and predictions": clauses.repeats,
    "saved and loaded, its weights predict the same": clauses.loads,
    "cached features of a frozen net serve as well as pixels": clauses.accepts_features,
    _GPU: clauses.gpu,
}
_CLAUSES: dict[type, Clauses] = {
    MapMethod: {
        **_ALL,
        "scores and maps have their shapes": clauses.map_shapes,
        "a batch may be of one image": clauses.accepts_one_image,
        **_TRAINED,
    },
    ProposalMethod: {
        **_ALL,
        "scores have their shape, for one proposal too": clauses.proposal_shapes,
        "proposals in another order get the same scores": clauses.order,
        **_TRAINED,
    },
    Predictor: {
        **_ALL,
        "it predicts every kind that it claims": clauses.predicts,
        "images may be tall, wide or tiny": clauses.accepts_any_size,
        "it predicts the same again, and looks at the truth only if it says so": clauses.ignores_truth,
    },
}


@dataclass(frozen=True)
class Finding:
    """A clause, and whether a method satisfies it. detail: what is wrong, or why the clause was skipped."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str = ""


def has_passed(findings: Sequence[Finding]) -> bool:
    """Whether at least one clause was checked, and none failed."""
    statuses = {finding.status for finding in findings}
    return "ok" in statuses and "failed" not in statuses


def check_method(name: str, places: Places, progress: Progress = SILENT, *, net: str | None = None) -> list[Finding]:
    """Check a method, or one variant of it, against every clause of its kind, on a net if one is given.

    Raises UnknownNameError, BadFileError for a file that is not one method, RequestError for a method of no known kind;
    any other exception of its code is a finding.
    """
    clauses = list_clauses(name)
    with progress.task(f"Checking {name}", len(clauses), unit="clauses") as step:
        findings = []
        for finding in examine(name, places, net=net):
            findings.append(finding)
            step()
    return findings


def list_clauses(name: str) -> list[str]:
    """List the clauses of a method. Raises as `check_method`."""
    return [*_select_clauses(registry.parse(name)[0])]


def examine(name: str, places: Places, *, net: str | None = None, known: Sequence[Finding] = ()) -> Iterator[Finding]:
    """Yield the finding of each clause, in order, after those that are known."""
    cls, variant = registry.parse(name)
    dataset = open_dataset("shapes", places, {"train": 4, "val": 4, "test": 4, "size": SIDE})
    findings = [*known]
    with TemporaryDirectory() as folder:
        settings = {} if net is None else {"net": net}
        subject = Subject(cls, variant, dataset, Path(folder), pick_device("cpu"), settings)
        for clause, holds in [*_select_clauses(cls).items()][len(findings) :]:
            reason = _reason_to_skip(clause, findings)
            findings.append(Finding(clause, "skipped", reason) if reason else _finding(clause, holds, subject))
            yield findings[-1]


def _select_clauses(cls: MethodClass) -> Clauses:
    for kind, kept in _CLAUSES.items():
        if issubclass(cls, kind):
            return kept
    raise RequestError(f"{cls.name}: expected a MapMethod, a ProposalMethod or a Predictor, but it is none of them.")


def _reason_to_skip(clause: str, findings: Sequence[Finding]) -> str:
    if any(one.name == _BUILDS and one.status == "failed" for one in findings):
        return "it cannot be built"
    if clause == _GPU and pick_device("auto").type == "cpu":
        return "no GPU here"
    return ""


def _finding(clause: str, holds: Clause, subject: Subject) -> Finding:
    wrong: list[str] = []
    with Caught() as caught:
        for complaint in holds(subject):
            wrong.append(complaint)
    if caught.error is not None:
        wrong.append(subject.describe_error(caught.error))
    return Finding(clause, "failed" if wrong else "ok", "; ".join(wrong))
