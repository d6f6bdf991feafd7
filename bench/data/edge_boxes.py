"""EdgeBoxes (Zitnick and Dollar, ECCV 2014) by OpenCV, on edges found by a structured forest, whose model it needs.

OpenCV distributes the forest apart from its packages; it belongs at `<data root>/edge-boxes/model.yml.gz`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.files import Places, digest, file_digest
from bench.data.computed import Search, SearchBoxes, to_corners
from bench.data.opencv import load_ximgproc
from bench.errors import BadFileError, MissingDataError

VERSION = 1
MAX_BOXES = 2000
"""The best boxes kept per image; all other parameters are OpenCV's defaults, which are the authors'."""

PATCH = 32

HOW_TO_GET = (
    "Get testdata/cv/ximgproc/model.yml.gz of OpenCV's repository opencv_extra on GitHub, and give the folder that "
    "holds edge-boxes/model.yml.gz as --data-root DIR, or as BENCH_DATA."
)
_COUNTS = ("numberOfTrees", "numberOfTreesToEvaluate", "stride", "shrinkNumber", "patchSize", "patchInnerSize")


def edge_boxes(pixels: NDArray[np.uint8], model: str) -> SearchBoxes:
    """Compute proposals (R, 4), half-open corners, best first, without duplicates, from RGB pixels (H, W, 3), uint8.

    Empty for a blank image, and if a side is shorter than the forest's 32-pixel patch.
    """
    import cv2

    if min(pixels.shape[:2]) < PATCH:
        return to_corners([])
    forest = _load_forest(model)
    edges = forest.detectEdges(pixels.astype(np.float32) / 255)
    directions = forest.computeOrientation(edges)
    search = cv2.ximgproc.createEdgeBoxes(maxBoxes=MAX_BOXES)
    return to_corners(search.getBoundingBoxes(forest.edgesNms(edges, directions), directions)[0])


def build_edge_boxes_search(places: Places) -> Search:
    """Return the search with the model under the data root, cached by the model's content and OpenCV's version.

    Raises MissingDataError without the model, BadFileError for another file in its place, RunError without ximgproc.
    """
    cv2 = load_ximgproc()
    if places.data_root is None:
        raise MissingDataError("EdgeBoxes' model", Path("nowhere (no data root is set)"), HOW_TO_GET)
    model = places.data_root / "edge-boxes" / "model.yml.gz"
    if not model.is_file():
        raise MissingDataError("EdgeBoxes' model", model, HOW_TO_GET)
    _check_model(model)
    key = digest([VERSION, MAX_BOXES, file_digest(model), cv2.__version__])
    return Search("EdgeBoxes", partial(edge_boxes, model=str(model)), places.cache / "proposals" / f"edge-boxes-{key}")


@lru_cache(maxsize=1)
def _load_forest(model: str) -> Any:
    """Read the forest, once per process since it takes seconds."""
    import cv2

    return cv2.ximgproc.createStructuredEdgeDetection(model)


def _check_model(model: Path) -> None:
    """Raise BadFileError for a file on which OpenCV's reader, which checks nothing, would crash."""
    import cv2

    try:
        is_valid = _is_forest(cv2.FileStorage(str(model), cv2.FILE_STORAGE_READ))
    except (cv2.error, SystemError):  # SystemError: its constructor failed without a message
        is_valid = False
    if not is_valid:
        raise BadFileError(model, f"not a model of OpenCV's structured edge detection. {HOW_TO_GET}")


def _is_forest(file: Any) -> bool:
    options = file.getNode("options")
    if options.empty() or any(file.getNode(name).empty() for name in ("childs", "featureIds", "thresholds")):
        return False
    return all(options.getNode(name).isInt() and options.getNode(name).real() >= 1 for name in _COUNTS)
