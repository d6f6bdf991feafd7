"""The contract suite: checks of what every method must satisfy, on a dozen generated images (`bench check`)."""

from bench.contract.isolated import check_isolated
from bench.contract.suite import Finding, check_method, has_passed

__all__ = ["Finding", "check_isolated", "check_method", "has_passed"]
