"""Tracks: named, versioned comparisons in which all methods have the same data, net and budget."""
