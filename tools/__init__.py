"""Programs for maintainers, which are not installed."""
