"""The former name of `bench.training.collectives`, kept for methods outside this repository."""

from bench.training.collectives import all_gather as gathered

__all__ = ["gathered"]
