"""Files of proposals in weakloc's own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data.proposals import Proposals


def save_npz(path: Path, proposals: Proposals) -> None:
    """Write `ids`, `offsets`, `boxes`, and `scores` if there are any, as `read_npz` reads them."""
    arrays = {"ids": np.array(proposals.ids), "offsets": proposals.offsets, "boxes": proposals.boxes}
    if proposals.scores is not None:
        arrays["scores"] = proposals.scores
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
