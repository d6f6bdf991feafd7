"""EdgeBoxes (Zitnick and Dollar, ECCV 2014) by OpenCV, from edges that a structured forest finds; it needs its model.

The forest is a file that OpenCV distributes apart from its packages: `<data root>/edge-boxes/model.yml.gz`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.files import Places, digest, file_digest
from bench.data.computed import Search, SearchBoxes, to_corners
from bench.errors import BadFileError, MissingDataError

VERSION = 1
MOST = 2000
"""Boxes an image, the best ones; all other parameters are OpenCV's defaults, which are the authors'."""

PATCH = 32

HOW_TO_GET = (
    "Get testdata/cv/ximgproc/model.yml.gz of OpenCV's repository opencv_extra on GitHub, and give the folder that "
    "holds edge-boxes/model.yml.gz as --data-root DIR, or as BENCH_DATA."
)
_COUNTS = ("numberOfTrees", "numberOfTreesToEvaluate", "stride", "shrinkNumber", "patchSize", "patchInnerSize")


def edge_boxes(pixels: NDArray[np.uint8], model: str) -> SearchBoxes:
    """Proposals (n, 4) of RGB pixels (h, w, 3), best first, each once: half-open corners.

    There are none in a blank image, and none where a side is under the 32 pixels that the forest looks at.
    """
    import cv2

    if min(pixels.shape[:2]) < PATCH:
        return to_corners([])
    forest = _load_forest(model)
    edges = forest.detectEdges(pixels.astype(np.float32) / 255)
    directions = forest.computeOrientation(edges)
    search = cv2.ximgproc.createEdgeBoxes(maxBoxes=MOST)
    return to_corners(search.getBoundingBoxes(forest.edgesNms(edges, directions), directions)[0])


def build_edge_boxes_search(places: Places) -> Search:
    """Build the search with the model under the data root; its cache depends on the model and OpenCV's version.

    Raises MissingDataError without the model, BadFileError for a file that is none.
    """
    import cv2

    if places.data_root is None:
        raise MissingDataError("EdgeBoxes' model", Path("nowhere (no data root is set)"), HOW_TO_GET)
    model = places.data_root / "edge-boxes" / "model.yml.gz"
    if not model.is_file():
        raise MissingDataError("EdgeBoxes' model", model, HOW_TO_GET)
    _check_model(model)
    kept = digest([VERSION, MOST, file_digest(model), cv2.__version__])
    return Search("EdgeBoxes", partial(edge_boxes, model=str(model)), places.cache / "proposals" / f"edge-boxes-{kept}")


@lru_cache(maxsize=1)
def _load_forest(model: str) -> Any:
    """Load the forest, once per process: it takes seconds."""
    import cv2

    return cv2.ximgproc.createStructuredEdgeDetection(model)


def _check_model(model: Path) -> None:
    """Raise BadFileError for what OpenCV's own reader, which checks nothing, would crash on."""
    import cv2

    try:
        good = _is_forest(cv2.FileStorage(str(model), cv2.FILE_STORAGE_READ))
    except (cv2.error, SystemError):  # the latter where its constructor cannot say why
        good = False
    if not good:
        raise BadFileError(model, f"not a model of OpenCV's structured edge detection. {HOW_TO_GET}")


def _is_forest(file: Any) -> bool:
    options = file.getNode("options")
    if options.empty() or any(file.getNode(name).empty() for name in ("childs", "featureIds", "thresholds")):
        return False
    return all(options.getNode(name).isInt() and options.getNode(name).real() >= 1 for name in _COUNTS)
