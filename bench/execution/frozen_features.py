"""Open the cache of frozen features for a training or a prediction, and say what is computed live instead."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.core.files import array_digest
from bench.core.progress import Progress

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
    """Return the features that a method's frozen net gives of a split; None if the net learns.

    root: where they are kept; None: nowhere. most: proposals an image has at most.
    """
    from bench.training.feature_cache import FeatureCache

    if (net := method.frozen_net()) is None:
        return None
    reason = _explain_live(method, root)
    if reason:
        progress.say(f"Features of the frozen net are computed each time: {reason}.")
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
    """Say why features of a frozen net cannot be kept; empty if they can."""
    net = method.frozen_net()
    if root is None:
        return "--no-feature-cache"
    if net is not None and not net.rounds:
        return "feature_precision=float32"
    return "the method alters its images" if method.alters_images() else ""


def _select(proposals: Proposals, config: Any, most: int | None, image: str) -> Any:
    from bench.training.inputs import select_proposals

    return select_proposals(proposals, config, image)[:most, :4]
