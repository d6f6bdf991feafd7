"""Backbones, and how their weights are read."""
