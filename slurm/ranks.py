"""The processes of a task, which share each of its jobs: SLURM starts them, and torch joins them."""

from __future__ import annotations

import os
import random

from slurm.attempts import get_current_attempt

PORTS = range(20_000, 32_000)
"""Ports below the range from which Linux assigns arbitrary ones."""


def size() -> int:
    """Return the number of processes of this task."""
    from submitit import JobEnvironment

    return int(JobEnvironment().num_tasks)


def meet(number: int) -> None:
    """Set torchrun's variables for the processes that share this job, with a separate port for each attempt."""
    from submitit.helpers import TorchDistributedEnvironment

    if size() == 1:
        return
    attempt = get_current_attempt()
    os.environ["MASTER_PORT"] = str(random.Random(f"{attempt.task} {attempt.number} {number}").choice(PORTS))
    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
