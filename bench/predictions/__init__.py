"""Predictions: tables and arrays on disk, foreign formats, decoding maps into boxes, points and masks."""

from bench.predictions.table import About, write

__all__ = ["About", "write"]
