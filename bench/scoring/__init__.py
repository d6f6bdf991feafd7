"""Protocols and the evaluation of predictions under them."""
