"""Runs: a request resolved to its addresses, then trained, predicted, scored and recorded."""
