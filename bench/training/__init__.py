"""The training loop, checkpoints, prediction; the part of the harness that needs torch."""
