"""Open the cache of frozen features for a training or a prediction, or report why they are computed each time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.core.files import array_digest
from bench.core.progress import Progress
from bench.method import Attribution

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from bench.data.ground_truth import GroundTruth
    from bench.data.proposals import Proposals
    from bench.execution.resolve import ResolvedRun
    from bench.method import Method
    from bench.training.feature_cache import FeatureCache
    from bench.training.inputs import Images


def open_features(
    resolved: ResolvedRun,
    method: Method,
    images: Images,
    truth: GroundTruth,
    *,
    root: Path | None,
    most: int | None = None,
    device: torch.device,
    workers: int,
    progress: Progress,
) -> FeatureCache | None:
    """Return the cache of a method's frozen net for a split; None if it has no frozen net.

    Reports why features are computed each time, if they are. root: where features are stored; None: nowhere. most: the
    largest number of proposals per image.
    """
    from bench.training.feature_cache import FeatureCache

    if reason := _explain_live(method, root):
        progress.say(f"Features of images are computed each time: {reason}.")
    if (net := method.frozen_net()) is None:
        return None
    content, proposals = [resolved.datasets.data_digest(resolved.dataset, truth)], None
    boxes = resolved.proposals(truth) if net.takes_boxes else None
    if boxes is not None:
        proposals = partial(_select, boxes, method.config, most)
        counts = str([len(proposals(name)) for name in truth.ids])
        content += [boxes.digest, str(getattr(method.config, "min_proposal", "")), counts]
    return FeatureCache(
        net=net,
        images=images,
        ids=truth.ids,
        precision=method.config.precision,
        device=device,
        content=array_digest(truth.ids, tuple(content)),
        proposals=proposals,
        root=None if reason else root,
        progress=progress,
        workers=workers,
    )


def _explain_live(method: Method, root: Path | None) -> str:
    """Explain why features are not stored; empty if they are."""
    if (net := method.frozen_net()) is None:
        return _explain_unfrozen(method)
    if root is None:
        return "--no-feature-cache"
    if not net.rounds:
        return "feature_precision=float32"
    if random_views := method.config.list_random_views():
        return ", ".join(random_views)
    return "the method alters its images" if method.alters_images() else ""


def _explain_unfrozen(method: Method) -> str:
    if not getattr(method.config, "freeze_backbone", False):
        return "the net learns"
    if method.config.weights == "none":
        return "freeze_backbone keeps pretrained weights, but weights=none has none, so all of the net learns"
    return f"{method.name} looks into the net" if isinstance(method, Attribution) else "roi_head=fc learns below them"


def _select(proposals: Proposals, config: Any, most: int | None, image: str) -> Any:
    from bench.training.inputs import select_proposals

    return select_proposals(proposals, config, image)[:most, :4]
