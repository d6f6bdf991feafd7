"""Layers, losses and base classes that methods are built from."""
