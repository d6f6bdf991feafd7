"""weakloc: a benchmark harness and leaderboard for weakly supervised vision.

Importing it loads nothing: what it offers (`bench.api`) is loaded when it is first used.
"""

from typing import TYPE_CHECKING

__all__ = [
    "analyse_errors",
    "audit",
    "compare",
    "datasets",
    "load_model",
    "methods",
    "plan",
    "protocols",
    "results",
    "run",
    "score",
    "table",
]

if TYPE_CHECKING:
    from bench.api import (
        analyse_errors,
        audit,
        compare,
        datasets,
        load_model,
        methods,
        plan,
        protocols,
        results,
        run,
        score,
        table,
    )
else:  # a type checker would take any name for an attribute of this package

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'bench' has no attribute {name!r}")
        from bench import api

        return getattr(api, name)

    def __dir__():
        return [*globals(), *__all__]
