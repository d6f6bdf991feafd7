"""Datasets: readers, transforms, region proposals, the cache."""
