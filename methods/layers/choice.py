"""Settings of baselines that choose among the proposals of an image."""

from __future__ import annotations

from bench.method import BaseConfig, prediction


class ChoiceConfig(BaseConfig):
    """Settings of the proposals; `ProposalConfig` has the same fields."""

    proposals: str = prediction(
        "selective-search", "selective-search, edge-boxes, or a file (.mat, .pkl, .npz)", file=True
    )
    min_proposal: int = prediction(20, "minimum side of a proposal in pixels; smaller ones are removed", ge=0)
