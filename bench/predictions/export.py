"""Predictions in other people's formats: COCO results JSON, and the archive that PASCAL VOC's evaluation server takes.

The server's archive holds the files that a devkit writes to `results/VOC<year>` (VOCdevkit 2012, VOCinit.m:
`clsrespath`, `detrespath`, `seg.clsresdir`), with VOC's competition number for each task:

    Main/comp2_cls_test_<class>.txt              one line per image: id and score
    Main/comp4_det_test_<class>.txt              one line per box: id, score, xmin ymin xmax ymax, 1-based, inclusive
    Segmentation/comp6_test_cls/<image>.png      indexed, at the image's size, 0 background and 1 ... the classes

Competitions 1, 3 and 5 are the same tasks for methods trained only on VOC's own data. The same predictions always give
the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.core.boxes import to_coco, to_voc
from bench.core.files import atomic_file, write_text
from bench.data.ground_truth import GroundTruth
from bench.data.pixels import resize_nearest, write_indices
from bench.errors import RequestError
from bench.predictions.formats.coco import category_ids
from bench.predictions.table import ResolvedPredictions

KINDS = {"coco": ("boxes", "segments"), "voc-server": ("boxes", "scores", "masks")}
"""The kinds that each format can represent."""

_COMPETITIONS = {"scores": 2, "boxes": 4, "masks": 6}


def write_coco(path: Path, found: ResolvedPredictions, truth: GroundTruth) -> None:
    """Write boxes or segments as COCO results JSON, atomically; read back, a corner may differ in its last digit.

    Raises RequestError for ids that are not numbers.
    """
    rows = ",\n".join(json.dumps(entry, allow_nan=False) for entry in coco_results(found, truth))
    write_text(path, f"[{rows}]\n")


def write_voc_server(path: Path, found: ResolvedPredictions, truth: GroundTruth, *, own_data: bool = False) -> None:
    """Write boxes, scores or masks as a tar for VOC's server, atomically, gzipped if its suffix is `.gz` or `.tgz`.

    own_data: whether the method was trained only on VOC's own photographs. Raises RequestError for datasets other than
    a year of VOC, and for masks that the server would refuse.
    """
    if (year := re.fullmatch(r"voc(\d{4})", truth.dataset)) is None:
        raise RequestError(f"VOC's server evaluates the years of VOC, but these predictions are on {truth.dataset}.")
    competition = _COMPETITIONS[found.kind] - own_data
    files = _masks(found, truth, competition) if found.kind == "masks" else _texts(found, truth, competition)
    with atomic_file(path) as part, ExitStack() as stack:
        out: Any = stack.enter_context(part.open("wb"))
        if path.suffix in (".gz", ".tgz"):
            out = stack.enter_context(gzip.GzipFile("", "wb", fileobj=out, mtime=0))
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in files:
                info = tarfile.TarInfo(f"results/VOC{year[1]}/{name}")
                info.size, info.mode = len(content), 0o644
                archive.addfile(info, io.BytesIO(content))


def coco_results(found: ResolvedPredictions, truth: GroundTruth) -> list[dict[str, Any]]:
    """Convert boxes or segments to COCO results, with numeric `image_id`, and COCO's `category_id` or 1 + class index.

    Raises RequestError if the ids are not numbers.
    """
    categories, numbers = category_ids(truth), _image_numbers(truth)
    shapes: Iterator[dict[str, Any]]
    if found.kind == "segments":
        size = truth.size[found.image][:, ::-1].tolist()
        pairs = zip(size, found.segments, strict=True)
        shapes = ({"segmentation": {"size": one, "counts": counts.decode("ascii")}} for one, counts in pairs)
    else:
        shapes = ({"bbox": box} for box in to_coco(found.box).tolist())
    columns = zip(found.image, found.label, found.score.tolist(), shapes, strict=True)
    return [
        {"image_id": numbers[image], "category_id": categories[label], **shape, "score": score}
        for image, label, score, shape in columns
    ]


def voc_files(found: ResolvedPredictions, truth: GroundTruth, competition: int) -> dict[str, str]:
    """Convert boxes or scores to VOC's text files, name to content, one for each class, in full precision."""
    lines: dict[str, list[str]] = {name: [] for name in truth.classes}
    numbers = [[score] for score in found.score.tolist()]
    if found.kind == "boxes":
        numbers = [[*score, *corners] for score, corners in zip(numbers, to_voc(found.box).tolist(), strict=True)]
    for image, label, row in zip(found.image, found.label, numbers, strict=True):
        lines[truth.classes[label]].append(" ".join([truth.ids[image], *map(repr, row)]))
    start = f"comp{competition}_{'det' if found.kind == 'boxes' else 'cls'}_{truth.split}"
    return {f"{start}_{name}.txt": "".join(f"{line}\n" for line in rows) for name, rows in lines.items()}


def _image_numbers(truth: GroundTruth) -> list[int]:
    try:
        return [int(name) for name in truth.ids]
    except ValueError:
        raise RequestError(f"COCO JSON cannot name the images of {truth.dataset}, whose ids are no numbers.") from None


def _texts(found: ResolvedPredictions, truth: GroundTruth, competition: int) -> Iterator[tuple[str, bytes]]:
    for name, text in sorted(voc_files(found, truth, competition).items()):
        yield f"Main/{name}", text.encode()


def _masks(found: ResolvedPredictions, truth: GroundTruth, competition: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and PNG of each image's mask, at the image's size. Raises RequestError for a pixel of no class."""
    folder = f"Segmentation/comp{competition}_{truth.split.removeprefix('Segmentation/')}_cls"
    for image, mask in zip(found.image.tolist(), found.arrays(), strict=True):
        name, (width, height) = truth.ids[image], map(int, truth.size[image])
        if mask.max(initial=0) > len(truth.classes):
            most = len(truth.classes)
            raise RequestError(f"VOC's server takes pixels of 0 ... {most}, but the mask of {name!r} has {mask.max()}.")
        content = io.BytesIO()
        write_indices(content, resize_nearest(mask, width, height) if width else mask)
        yield f"{folder}/{name}.png", content.getvalue()
