"""Scoring families: predictions and truth to numbers, one file each."""
