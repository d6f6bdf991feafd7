"""The code that evaluates predictions: what the cache says of them holds only as long as this is the same."""

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
"""Files and folders from which predictions and ground truth are read, matched and counted."""


def digest_evaluation_code() -> str:
    """Compute the digest of the code that reads, matches and counts predictions, whatever their protocol."""
    return digest_code(registry.ROOT, *_EVALUATING)
