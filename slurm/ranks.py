"""The processes of a task, which share each of its jobs: SLURM starts them, and torch joins them."""

from __future__ import annotations

import os
import random

from slurm.attempts import get_current_attempt

PORTS = range(20_000, 32_000)
"""Below those that Linux gives to whoever asks for any."""


def size() -> int:
    """How many processes this task has."""
    from submitit import JobEnvironment

    return int(JobEnvironment().num_tasks)


def meet(number: int) -> None:
    """Set torchrun's variables: the processes that share this job, and a port of its own for each attempt."""
    from submitit.helpers import TorchDistributedEnvironment

    if size() == 1:
        return
    attempt = get_current_attempt()
    os.environ["MASTER_PORT"] = str(random.Random(f"{attempt.task} {attempt.number} {number}").choice(PORTS))
    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
