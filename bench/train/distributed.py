"""The former name of `bench.training.collectives`, kept for methods outside this repository."""

from bench.training.collectives import gathered

__all__ = ["gathered"]
