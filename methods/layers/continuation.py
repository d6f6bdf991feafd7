"""How the continuation parameter of C-MIL rises from 0 to 1 (Wan et al., CVPR 2019), as a share of the training."""

from __future__ import annotations

import math
from typing import Literal

Continuation = Literal["log", "linear", "pieces", "sigmoid", "exp"]


def compute_lambda(progress: float, continuation: Continuation) -> float:
    """Compute lambda from the completed share of the training, both in [0, 1].

    The released code uses these functions of the epoch, out of 20.

    >>> [round(compute_lambda(done, "log"), 2) for done in (0.0, 0.05, 0.5, 1.0)]
    [0.0, 0.61, 0.91, 1.0]
    """
    match continuation:
        case "log":
            return math.log1p(progress / 0.0005) / math.log1p(1 / 0.0005)
        case "linear":
            return progress
        case "pieces":
            return math.ceil(5 * progress) / 5
        case "sigmoid":
            return 1 / (1 + math.exp(20 * (0.5 - progress)))
        case "exp":
            return math.exp(5 * (progress - 1))
