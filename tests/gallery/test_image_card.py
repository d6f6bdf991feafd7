"""What a picture says of an image and class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.gallery.image_card import Run


def make_run(**columns: Any) -> Run:
    return Run(truth=None, found={}, outcomes=pa.table(columns), masks={}, maps={})  # type: ignore[arg-type]


def test_of_detections_the_best_tells_whether_it_hit() -> None:
    run = make_run(
        image=[0, 0, 1, 1, 2],
        label=[0, 0, 0, 0, 1],
        score=[0.9, 0.2, 0.1, 0.8, np.nan],
        hit=[False, True, False, True, False],
        missed=[False, False, False, False, True],
    )
    assert [run.is_hit(*pair) for pair in ((0, 0), (1, 0), (2, 1), (2, 0))] == [False, True, False, None]


@pytest.mark.parametrize("hits", [[True, False], [False, True]])
def test_of_several_boxes_of_a_class_one_that_hits_is_enough(hits: list[bool]) -> None:
    assert make_run(image=[0, 0], label=[3, 3], hit=hits).is_hit(0, 3)
