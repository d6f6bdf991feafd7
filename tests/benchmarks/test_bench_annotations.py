"""The annotations of VOC from the cache against parsing them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from timing import times_faster

from bench.data.voc import CLASSES, VocDataset

pytestmark = pytest.mark.slow

ITEM = """<object><name>{}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"""
TEXT = f"""<annotation><size><width>100</width><height>80</height><depth>3</depth></size>
{"".join(map(ITEM.format, CLASSES[:3]))}</annotation>"""


def second_load(folder: Path, cache: Path, ids: list[str]) -> float:
    """How many times faster than the first load of a cache it is."""
    caches = itertools.count()

    def load(into: Path) -> None:
        VocDataset("voc2007", folder, into).annotations(ids)

    load(cache)
    return times_faster(lambda: load(cache), lambda: load(cache / f"fresh-{next(caches)}"), rounds=3)


def test_the_second_load_is_many_times_faster(tmp_path: Path, full: bool) -> None:
    annotations = tmp_path / "VOC2007" / "Annotations"
    for folder in (annotations, tmp_path / "VOC2007" / "ImageSets" / "Main"):
        folder.mkdir(parents=True)
    ids = [f"{number:06d}" for number in range(10_000 if full else 3000)]
    for image in ids:
        (annotations / f"{image}.xml").write_text(TEXT)
    assert second_load(annotations.parent, tmp_path / "cache", ids) > (20 if full else 8)


@pytest.mark.voc2007
def test_the_second_load_of_all_annotations_of_voc2007_is_many_times_faster(
    data_root: Path, tmp_path: Path, full: bool
) -> None:
    folder = data_root / "VOCdevkit" / "VOC2007"
    ids = sorted(path.stem for path in (folder / "Annotations").iterdir())
    assert len(ids) == 9963
    assert second_load(folder, tmp_path, ids) > (20 if full else 8)
