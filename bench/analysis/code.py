"""The code that evaluates predictions: cached evaluations are valid only while it stays the same."""

from __future__ import annotations

from bench import registry
from bench.core.source_code import digest_code

_EVALUATING = (
    "bench/analysis",
    "bench/core",
    "bench/data",
    "bench/gallery/evaluated.py",
    "bench/predictions",
    "bench/records",
    "bench/scoring",
    "protocols/scoring",
)
"""Files and folders of the code that reads, matches and counts predictions and ground truth."""


def digest_evaluation_code() -> str:
    """Compute the digest of the code that reads, matches and counts predictions, whatever their protocol."""
    return digest_code(registry.ROOT, *_EVALUATING)
