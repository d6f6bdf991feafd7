"""The former name of `bench.training`, kept for methods outside this repository."""
