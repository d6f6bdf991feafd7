"""Scoring families, one file each: they turn predictions and ground truth into metrics."""
