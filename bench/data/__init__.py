"""Datasets: readers, transforms, region proposals, caches of parsed annotations.

Each reader module has a function `open_dataset(name, data_root, cache)`, which `datasets.open_dataset` calls by the
dataset's name; only that one is public. It raises MissingDataError if the dataset is not under the data root.
"""
