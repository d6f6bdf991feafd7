"""Six photographs for the first page: the truth, and the predictions of a leaderboard's leader, middle and floor.

They are chosen by a rule: those on which the three differ most, new classes first, ties by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np

from bench.gallery.split_images import RunImages
from bench.site.images import SplitPages, describe_image, measure
from bench.site.parts import list_groups
from bench.site.paths import protocol_page, run_page
from bench.site.plots import find_role
from bench.tables.ranked import SeedGroup

if TYPE_CHECKING:
    from bench.site.material import Material

NUMBER = 6

ROLES = ("leader", "middle", "floor")


class Three(NamedTuple):
    """The runs of the leader, a middle method and the floor, and the pages of the images that they predicted."""

    pages: SplitPages
    runs: tuple[RunImages, ...]
    names: tuple[str, ...] = ROLES


def make_strip(material: Material) -> dict[str, Any] | None:
    """Return the template's values for the first leaderboard whose three runs predict boxes or points, and have pages.

    Making them needs predictions, so they come from the earlier site unless results or images have changed.
    """
    depends = [material.depend_on(material.results), *(pages.state for pages in material.pages)]
    kept: dict[str, Any] | None = material.earlier.recall("strip", depends, partial(_make_strip, material))
    return kept


def _make_strip(material: Material) -> dict[str, Any] | None:
    track, three = next(_find_threes(material), ("", None))
    if three is None or not (rows := choose_rows(three)):
        return None
    first = three.runs[0].result
    return {
        "track": track,
        "protocol": first.protocol,
        "page": protocol_page(first.protocol),
        "where": f"{first.dataset} {first.split}",
        "list": three.pages.find_page("hardest"),
        "runs": [
            {"role": role, "label": name, "page": run_page(run.result.address)}
            for role, name, run in zip(ROLES, three.names, three.runs, strict=True)
        ],
        "images": [draw(three, row) for row in rows],
    }


def _find_threes(material: Material) -> Iterator[tuple[str, Three]]:
    """Find the three runs of each leaderboard, with the name of its track, in the order of the first page."""
    results = {result.address: result for result in material.results}
    for track, tables in material.tracks:
        for table in tables:
            rows = [*zip((row[0].text for row in table.rows), list_groups(table, results), strict=True)]
            methods = [row for row in rows if find_role(row[1][0]) == "method"]
            floors = [row for row in rows if find_role(row[1][0]) == "floor"]
            if len(methods) > 1 and floors:
                chosen = methods[0], methods[len(methods) // 2], floors[0]
                found = (look_up(pages, chosen) for pages in material.pages)
                yield from ((track.name, three) for three in found if three is not None)


def look_up(pages: SplitPages, rows: Sequence[tuple[str, SeedGroup]]) -> Three | None:
    """Find the first seed of each named row with stored points or boxes; None unless every row has one."""
    here = {
        run.result.address: run
        for run in pages.split.runs
        if run.chosen and {"points", "boxes"} & run.result.predictions_digest.keys()
    }
    found = [next((here[one.address] for one in group if one.address in here), None) for _, group in rows]
    runs = tuple(run for run in found if run is not None)
    return Three(pages, runs, tuple(name for name, _ in rows)) if len(runs) == len(rows) else None


def choose_rows(three: Three) -> list[int]:
    """Choose the images on which the three differ most, new classes first; none on which they all agree."""
    split = three.pages.split
    rows = np.array(sorted(three.pages.thumbnails), np.int64)
    values = np.stack([run.values[rows] for run in three.runs])
    difference = np.nan_to_num(values.max(axis=0) - values.min(axis=0))
    ordered = rows[np.lexsort((split.truth.id_rank[rows], -difference))][: np.count_nonzero(difference)].tolist()
    first, rest, seen = list[int](), list[int](), set[int]()
    for row in ordered:
        shown = split.shown[row]
        (rest if not shown or seen & {*shown} else first).append(row)
        seen |= {*shown}
    return [*first, *rest][:NUMBER]


def draw(three: Three, row: int) -> dict[str, Any]:
    """Draw an image: its true boxes, and the best box or point of each class by each of the three."""
    pages, split = three.pages, three.pages.split
    width, height = measure(split, row)
    image = describe_image(pages, row, {})
    addresses = ",".join(quote(run.result.address) for run in three.runs)
    return {
        "name": image["id"],
        "link": f"{image['page']}#runs={addresses}",
        "picture": image["picture"],
        "width": width,
        "height": height,
        "radius": image["radius"],
        "classes": ", ".join(image["classes"]),
        "truth": [corners for _, _, *corners in image["truth"]],
        "said": [
            {"role": role, "marks": _list_marks(run, row), "verdict": _name_verdict(float(run.values[row]))}
            for role, run in zip(ROLES, three.runs, strict=True)
        ],
    }


def _name_verdict(value: float) -> str:
    """Name an image's value: hit, miss, or the share of its classes that hit."""
    return {1.0: "hit", 0.0: "miss"}.get(value, f"{100 * value:.0f} %")


def _list_marks(run: RunImages, row: int) -> list[list[float]]:
    """List the best box, or the centre of the best point's pixel, of each class."""
    predicted = json.loads(run.said[row])
    points = [[at, x + 0.5, y + 0.5] for at, x, y in predicted.get("points", ())]
    best = {mark[0]: mark[1:] for mark in reversed([*predicted.get("boxes", ()), *points])}
    return [*best.values()]
