"""What a reviewer asks of published results: whether each record is complete and states its origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import registry
from bench.analysis.gate import GateCheck, make_table
from bench.analysis.recheck import require_whole
from bench.core.bootstrap import ROUNDING
from bench.data.published import PUBLISHED
from bench.errors import BadFileError, RequestError, format_count, format_names
from bench.records.collection import StoredResult
from bench.records.replicates import replicates_path
from bench.records.result import TRAINED_ON, Result, list_records, read_result, require_committed
from bench.scoring.protocol import BoundProtocol, dump_conventions
from bench.tables.render import escape_markdown, markdown


@dataclass(frozen=True)
class Review:
    """The findings in a folder of results. objections: what is wrong, one line each, by path of the record."""

    accepted: tuple[StoredResult, ...]
    objections: Mapping[Path, str]


def review(folder: Path, *, others: Iterable[Result] = (), allow_dirty: bool = False) -> Review:
    """Review the records of a folder; others: results that they must not contradict.

    allow_dirty: whether to accept results from edited checkouts, which are marked wherever they are shown.
    """
    accepted: dict[str, StoredResult] = {}
    objections: dict[Path, str] = {}
    known = {other.address: other for other in others}
    for record in list_records(folder):
        try:
            stored = StoredResult(read_result(record), record)
            if (twin := accepted.get(stored.result.address)) is not None:
                raise BadFileError(record, f"the result of {twin.record.name} once more: delete one of them")
            require_reviewed(stored, known.get(stored.result.address), allow_dirty=allow_dirty)
            if record.name != stored.result.file_name:
                raise BadFileError(record, f"expected the name {stored.result.file_name}, as publish gives it")
            accepted[stored.result.address] = stored
        except (BadFileError, RequestError) as error:
            objections[record] = str(error).removeprefix(f"{record}: ").splitlines()[0]
    return Review(tuple(accepted.values()), objections)


def require_reviewed(stored: StoredResult, other: Result | None = None, *, allow_dirty: bool = False) -> None:
    """Raise BadFileError or RequestError for what a reviewer would object to in a result.

    other: the result with the same address that is already published.
    """
    require_whole(stored)
    for find in _FINDERS:
        if objection := find(stored):
            raise BadFileError(stored.record, objection)
    if other is not None and (objection := _find_contradiction(stored.result, other)):
        raise BadFileError(stored.record, objection)
    require_committed([] if allow_dirty else [stored.result])


def _find_gap(stored: StoredResult) -> str:
    """Name a missing part of a result; empty if it is complete."""
    result = stored.result
    if not replicates_path(stored.record).exists():
        return "no bootstrap replicates beside it, which ranks need: publish copies them"
    if lacking := [
        name for name, value in result.metrics.items() if value is not None and name not in result.intervals
    ]:
        return f"no interval of {lacking[0]}: score the predictions again"
    if result.outcomes_digest is None:
        return "no digest of its outcomes per image: score the predictions again"
    if not result.created:
        return "it does not say when it was made: score the predictions again"
    return ""


def _find_unsaid(stored: StoredResult) -> str:
    """Name what a record does not state about its origin; empty if it states everything."""
    result = stored.result
    if result.tuned_on == "unknown":
        return "it does not say what its settings were chosen on: score again with --tuned-on"
    revision, packages = result.provenance.get("revision"), result.provenance.get("packages") or {}
    if not (revision or packages.get("weakloc")):
        return "neither a revision nor a version of the code that made it"
    if revision and (not re.fullmatch("[0-9a-f]{40}", revision) or result.provenance.get("dirty") is None):
        return "its revision is none of git's, or it does not say whether the code differed from it"
    if result.training is not None and result.seed is None:
        return "it was trained, but it does not say with which seed"
    return ""


def _find_misuse(stored: StoredResult) -> str:
    """Describe how a result departs from its protocol; empty if it does not, or if it is marked accordingly."""
    result = stored.result
    if result.protocol not in registry.protocols():
        return f"protocol {result.protocol} is not known here: a results repository needs it as a --plugin"
    bound = registry.bind(registry.protocol(result.protocol))
    if objection := bound.find_mismatch(result) or _find_other_images(result, bound):
        return objection
    if (count := result.counts.get(TRAINED_ON, 0)) and not bound.record.evaluates_training_split:
        return f"{format_count(count, 'evaluated image')} were trained on"
    if not _has_conventions(result, bound) and not any("not " + result.protocol in note for note in result.notes):
        return f"its conventions are not those of {result.protocol}, and no note says so"
    return ""


def _find_other_images(result: Result, bound: BoundProtocol) -> str:
    """Describe how a record passes off a part of a split, or another split, as the protocol's; empty if it does not."""
    if not result.partial and result.split != bound.record.eval_split:
        return f"evaluated on {result.split}, but not marked partial: the protocol's is {bound.record.eval_split}"
    published = PUBLISHED.get(result.dataset, {}).get(result.split, {}).get("images", result.images)
    if not result.partial and result.images != published:
        return f"{result.images} images, but not marked partial: {result.dataset} {result.split} has {published}"
    return ""


def _has_conventions(result: Result, bound: BoundProtocol) -> bool:
    own = dump_conventions(bound.conventions)
    return all(own.get(name) == value for name, value in result.conventions.items())


def _find_contradiction(result: Result, other: Result) -> str:
    """Describe how a result of the same predictions, protocol and truth has other numbers; empty if it does not."""
    for name, value in other.metrics.items():
        mine = result.metrics.get(name)
        if (mine is None) != (value is None) or abs((mine or 0.0) - (value or 0.0)) > ROUNDING:
            return f"{name} is {mine}, but {value} is published of the same predictions under the same protocol"
    return ""


def _find_forgery(stored: StoredResult) -> str:
    from bench.analysis.origin import find_forgery  # loads the method

    return find_forgery(stored.result)


_FINDERS: Sequence[Callable[[StoredResult], str]] = (_find_gap, _find_unsaid, _find_misuse, _find_forgery)


def make_comment(found: Review, checks: Sequence[GateCheck] | None, tolerance: float) -> tuple[str, bool]:
    """Write the comment for a merge request (objections, and how numbers moved); also return whether it can be merged.

    checks: against the baselines; None without any.
    """
    regressed = sum(check.status == "regressed" for check in checks or ())
    can_merge = not found.objections and not regressed
    verdict = "can be merged" if can_merge else "cannot be merged"
    wrong = format_count(len(found.objections), "record") + " with objections"
    moved = "no baselines to compare with" if checks is None else f"{regressed} regressed"
    lines = [
        f"## weakloc: {verdict}",
        f"{format_count(len(found.accepted), 'result')} without objections, {wrong}; {moved}.",
    ]
    if edited := [one.result.file_name for one in found.accepted if one.result.is_edited]:
        lines += [f"From edited checkouts, marked §: {escape_markdown(format_names(edited))}."]
    if found.objections:
        rows = [f"- {escape_markdown(f'{record.name}: {reason}')}" for record, reason in found.objections.items()]
        lines += ["### Objections", "\n".join(rows)]
    if moving := [check for check in checks or () if check.status != "unchanged"]:
        lines += ["### Against the baselines", markdown(make_table(moving, tolerance))]
    return "\n\n".join(lines), can_merge
