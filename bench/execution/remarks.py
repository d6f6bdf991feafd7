"""Caveats about the data and settings behind a result: reported before a run, and kept in its record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.data.oddities import describe_annotations
from bench.data.published import describe_departure
from bench.errors import format_count
from bench.execution.code_changes import describe_kept
from bench.records.result import TRAINED_ON
from bench.scoring.score import describe_conventions

_LOOKED_AT = 64
"""Photographs of a split whose size is compared with the annotated one."""

if TYPE_CHECKING:
    from bench.execution.resolve import ResolvedRun
    from bench.scoring.score import Evaluation


def list_warnings(resolved: ResolvedRun) -> list[str]:
    """List, before a run, the caveats that will apply to its result."""
    truths = ([resolved.train] if resolved.learns else []) + ([] if resolved.withheld else [resolved.test])
    remarks = [
        _describe_withheld(resolved),
        _describe_unfrozen(resolved),
        *map(describe_departure, truths),
        describe_conventions(resolved.bound.record),
        _describe_overlap(count_overlap(resolved), len(resolved.test.ids)),
        *(line for truth in truths for line in describe_annotations(resolved.dataset, truth, _LOOKED_AT)),
    ]
    return list(dict.fromkeys(filter(None, remarks)))


def add_remarks(evaluation: Evaluation, resolved: ResolvedRun, kept: list[str]) -> Evaluation:
    """Add the remarks that only runs have, not files of predictions. kept: modules edited since its steps were made."""
    overlap = count_overlap(resolved)
    departure = describe_departure(resolved.train) if resolved.learns else ""
    sizes = describe_annotations(resolved.dataset, resolved.test, _LOOKED_AT)
    notes = [
        *(line for line in sizes if line not in evaluation.notes),
        _describe_overlap(overlap, len(resolved.test.ids)),
        f"trained on: {departure}" if departure and departure != describe_departure(resolved.test) else "",
        describe_kept(kept) if kept else "",
    ]
    counts = evaluation.counts | ({TRAINED_ON: overlap} if overlap else {})
    return replace(evaluation, counts=counts, notes=(*evaluation.notes, *filter(None, notes)))


def count_overlap(resolved: ResolvedRun) -> int:
    """Count the evaluated images that are also trained on; 0 if the protocol intends that, as CorLoc does."""
    if not resolved.learns or resolved.bound.record.evaluates_training_split:
        return 0
    return len({*resolved.train.ids} & {*resolved.test.ids})


def _describe_unfrozen(resolved: ResolvedRun) -> str:
    """Describe a freeze_backbone without effect; it is not refused, since addresses of release 0.1 contain it."""
    is_idle = getattr(resolved.config, "freeze_backbone", False) and resolved.config.weights == "none"  # type: ignore[attr-defined]
    return "freeze_backbone=true has no effect with weights=none: all layers learn" if is_idle else ""


def _describe_withheld(resolved: ResolvedRun) -> str:
    if resolved.withheld is None:
        return ""
    split = f"{resolved.dataset.name} {resolved.test.split}"
    return f"{split} is without ground truth here, so its predictions are kept, to be exported, and get no number"


def _describe_overlap(overlap: int, images: int) -> str:
    return f"{overlap} of {format_count(images, 'evaluated image')} are also trained on" if overlap else ""
