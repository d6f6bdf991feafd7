"""Pages of images, with each run's predictions beside the truth, and lists of a split's images to walk along."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from bench.core.boxes import FloatArray
from bench.core.files import digest
from bench.data.ground_truth import ONLY_DIFFICULT
from bench.errors import BenchError, format_count
from bench.gallery.drawing import fit
from bench.gallery.layers import Cell, make_layers, make_thumbnail
from bench.gallery.split_images import RunImages, SplitImages, read_true_mask
from bench.records.result import Result
from bench.site.data import make_data_file
from bench.site.folder import SiteFile
from bench.site.paths import encode_name, images_folder, protocol_page, run_page
from bench.tables.leaderboard import make_distinct_labels

Render = Callable[..., str]
Json = dict[str, Any]

UP, LIST_UP, IMAGE_UP = "../", "../../", "../../../"

HARDEST = "hardest"
"""The walk of a page whose address names none."""


@dataclass(frozen=True)
class Walk:
    """An order of all or some images of a split, as indices into its list of images."""

    name: str
    title: str
    images: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SplitPages:
    """The pages of a split's images. folder: their path; cache: where small pictures are kept."""

    split: SplitImages
    folder: str
    cache: Path

    @cached_property
    def runs(self) -> dict[str, RunImages]:
        """The runs of the split by their addresses."""
        return {run.result.address: run for run in self.split.runs}

    @cached_property
    def names(self) -> list[str]:
        """The file name of each image, without suffix."""
        return [encode_name(self.split.truth.ids[row]) for row in self.split.rows]

    @cached_property
    def walks(self) -> dict[str, Walk]:
        """The orders to walk along, by name."""
        return {walk.name: walk for walk in _list_walks(self.split, self.smallest)}

    @cached_property
    def smallest(self) -> FloatArray:
        """The share of each image (N,) of the split that its smallest object covers."""
        return _measure_smallest(self.split)

    @cached_property
    def cards(self) -> _CardMaker:
        """The maker of the entries of runs."""
        return _CardMaker(self.split)

    @cached_property
    def thumbnails(self) -> dict[int, Path]:
        """The small pictures by row; a damaged or missing photograph has none and is shown as a grey canvas."""
        made = {}
        for row in self.split.rows:
            with suppress(BenchError):
                photograph = self.split.dataset.image_path(self.split.truth.ids[row])
                if photograph.is_file():
                    made[row] = make_thumbnail(photograph, self.cache)
        return made

    @cached_property
    def state(self) -> str:
        """The digest of everything except code and photographs that the pages depend on."""
        where, rows, pictured = self.split.where, self.split.rows, sorted(self.thumbnails)
        truth, runs = self.split.truth.digest, [run.state for run in self.split.runs]
        return digest([self.folder, where, truth, rows, pictured, runs])

    @property
    def data(self) -> str:
        """The path of the data file of the split."""
        return f"{self.folder}.js"

    def find_page(self, walk: str) -> str:
        """Return the path of the page that lists a walk."""
        return f"{self.folder}.html" if walk == HARDEST else f"{self.folder}.{walk}.html"

    def find_image(self, row: int, suffix: str = "html") -> str | None:
        """Return the path of an image's file with a suffix; None if the image has no page."""
        if row not in self._places:
            return None
        return f"{self.folder}/{self.names[self._places[row]]}.{suffix}"

    @cached_property
    def _places(self) -> dict[int, int]:
        return {row: place for place, row in enumerate(self.split.rows)}


def make_split_pages(splits: Sequence[SplitImages], cache: Path) -> list[SplitPages]:
    """Find a folder for each split; among splits of the same name, the second and later ones are numbered."""
    folders = [images_folder(split.where.dataset, split.where.split) for split in splits]
    counts, made = Counter[str](), []
    for folder, split in zip(folders, splits, strict=True):
        counts[folder] += 1
        own = folder if counts[folder] == 1 else f"{folder}~{counts[folder]}"  # an encoded name never contains ~
        made.append(SplitPages(split, own, cache))
    return made


def list_first(pages: Sequence[SplitPages], protocol: str = "") -> list[tuple[str, str, str]]:
    """List the name, first page and number of images of each split, or of those with runs under a protocol."""
    return [
        (f"{one.split.where.dataset} {one.split.where.split}", one.find_page(HARDEST), str(len(one.split.rows)))
        for one in pages
        if not protocol or any(run.result.protocol == protocol for run in one.split.runs)
    ]


def find_data(pages: Sequence[SplitPages], result: Result) -> str | None:
    """Return the path of the data file of a result's split; None where its images have no pages."""
    return next((one.data for one in pages if result.address in one.runs), None)


def list_chosen(pages: Sequence[SplitPages], result: Result) -> list[tuple[str, list[dict[str, Any]]]]:
    """List the worst and best images of a result, by title, as its own page shows them."""
    for one in pages:
        if (run := one.runs.get(result.address)) is not None:
            shown = partial(_make_entry, one, root=UP, values=run.values, hash=f"runs={quote(result.address)}")
            return [(title, [*map(shown, rows)]) for title, rows in run.chosen.items()]
    return []


def list_files(pages: SplitPages, render: Render, code: str) -> Iterator[SiteFile]:
    """List the files of a split: its data and lists, and the page, data and pictures of each image.

    Nothing is made, and no predictions are read, until the content of one is requested.
    """
    depends = [code, pages.state]
    yield SiteFile(pages.data, depends, partial(_make_split_file, pages))
    for walk in pages.walks.values():
        yield SiteFile(pages.find_page(walk.name), depends, partial(_render_list, pages, walk, render))
    for place in range(len(pages.split.rows)):
        yield from _list_image_files(pages, place, render, depends)


def _make_split_file(pages: SplitPages) -> str:
    walks = {
        name: {"title": walk.title, "page": pages.find_page(name), "images": walk.images}
        for name, walk in pages.walks.items()
    }
    rows = pages.split.rows
    content = {
        "rows": rows,
        "pages": [pages.find_image(row) for row in rows],
        "images": [pages.find_image(row, "js") for row in rows],
        "walks": walks,
    }
    return make_data_file(pages.data, content)


def _render_list(pages: SplitPages, walk: Walk, render: Render) -> str:
    return render("images.html", LIST_UP, **_make_list_values(pages, walk))


def _list_image_files(pages: SplitPages, place: int, render: Render, depends: Sequence[str]) -> Iterator[SiteFile]:
    split, row = pages.split, pages.split.rows[place]
    thumbnail = pages.thumbnails.get(row)
    own = [*depends, thumbnail and thumbnail.name]
    image, path = _Image(pages, place), f"{pages.folder}/{pages.names[place]}"
    if thumbnail is not None:
        yield SiteFile(f"{path}.jpg", thumbnail.name, partial(Path, thumbnail))
    for kind in _list_cells(split, row):
        yield SiteFile(f"{path}.{kind}.png", own, partial(image.make_layer, kind))
    yield SiteFile(f"{path}.js", own, image.make_data_file)
    yield SiteFile(f"{path}.html", own, partial(image.render, render))


class _Image:
    """Makes the files of an image."""

    def __init__(self, pages: SplitPages, place: int) -> None:
        self._pages, self._place = pages, place

    @cached_property
    def _layers(self) -> Layers:
        return _stack_layers(self._pages, self._pages.split.rows[self._place])

    @cached_property
    def _data(self) -> dict[str, Any]:
        return describe_image(self._pages, self._pages.split.rows[self._place], self._layers)

    def make_layer(self, kind: str) -> Path:
        return self._layers[kind][0]

    def make_data_file(self) -> str:
        return make_data_file(f"{self._pages.folder}/{self._pages.names[self._place]}.js", self._data)

    def render(self, render: Render) -> str:
        values = _make_image_values(self._pages, self._place, self._data)
        return render("image.html", IMAGE_UP, **values)


# Walks


def _list_walks(split: SplitImages, smallest: FloatArray) -> Iterator[Walk]:
    """List the walks: hardest first, by size and number of objects if there are boxes, and by class."""
    truth, rows = split.truth, np.array(split.rows, dtype=np.int64)
    rank, values = truth.id_rank[rows], split.values[rows]
    values = np.where(np.isfinite(values), values, 2)
    hardest = np.lexsort((rank, values)).tolist()
    title = "hardest first" if (values < 2).any() else "all images"
    yield Walk(HARDEST, title, tuple(hardest))
    count = np.bincount(truth.objects.image, minlength=len(truth.ids))[rows]
    if count.any():
        yield Walk("size", "smallest object first", tuple(np.lexsort((rank, smallest[rows])).tolist()))
        yield Walk("objects", "most objects first", tuple(np.lexsort((rank, -count)).tolist()))
    for label, name in enumerate(truth.classes):
        shows = truth.labels[rows, label] >= ONLY_DIFFICULT
        if shows.any():
            some = tuple(place for place in hardest if shows[place])
            yield Walk(f"class-{encode_name(name)}", name, some)


def _measure_smallest(split: SplitImages) -> FloatArray:
    """Return the share of each image (N,) that its smallest object's box covers; 1 without objects."""
    truth = split.truth
    share = np.ones(len(truth.ids))
    corners = truth.objects.box
    area = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    whole = np.maximum(truth.size[truth.objects.image].astype(np.float64).prod(axis=1), 1)
    np.minimum.at(share, truth.objects.image, area / whole)
    return share


def _make_list_values(pages: SplitPages, walk: Walk) -> dict[str, Any]:
    split = pages.split
    where = f"{split.where.dataset} {split.where.split}"
    first, hash = pages.walks[HARDEST], "" if walk.name == HARDEST else f"walk={walk.name}"
    others = [
        (one.title, _name_file(pages.find_page(one.name)), len(one.images), one.name.startswith("class-"))
        for one in (pages.walks.values() if walk is first else [first])
    ]
    return {
        "title": f"{where}: {walk.title}",
        "runs": format_count(len(split.runs), "run"),
        "others": others,
        "images": [
            _make_entry(pages, split.rows[place], root=LIST_UP, values=split.values, hash=hash) for place in walk.images
        ],
    }


def _name_file(path: str) -> str:
    """Return a path relative to its own folder."""
    return path.rpartition("/")[2]


def _make_entry(pages: SplitPages, row: int, root: str, values: FloatArray, hash: str) -> dict[str, Any]:
    """Make the entry of an image in a list. root: path from the page to the index; values: (N,); hash: of the link."""
    split = pages.split
    name, value = split.truth.ids[row], values[row]
    width, height = fit(*measure(split, row))
    return {
        "link": f"{root}{pages.find_image(row)}{hash and '#'}{hash}",
        "picture": f"{root}{pages.find_image(row, 'jpg')}" if row in pages.thumbnails else "",
        "width": width,
        "height": height,
        "name": name,
        "value": f"{100 * value:.0f} %" if np.isfinite(value) else "",
        "classes": ", ".join(split.truth.classes[label] for label in split.shown[row]),
    }


def measure(split: SplitImages, row: int) -> tuple[int, int]:
    """Return the width and height of an image; 1 for an unknown one."""
    width, height = split.truth.size[row].tolist()
    return width or 1, height or 1


# An image

Layers = dict[str, tuple[Path, int, int, dict[str, int]]]
"""By kind: the file, width and height of a cell, and the indices of cells by `ADDRESS`, or `ADDRESS CLASS` for maps."""


def _list_cells(split: SplitImages, row: int) -> dict[str, dict[str, tuple[Mapping[str, Cell], str]]]:
    """List the cells of an image by kind and address, each as the mapping that holds it and its name there."""
    named = str(row)
    masks = {run.result.address: (run.masks, named) for run in split.runs if named in run.masks}
    maps = {
        f"{run.result.address} {label}": (run.maps, name)
        for run in split.runs
        for label in (*split.shown[row], -1)
        if (name := f"{row}-{label}") in run.maps
    }
    return {kind: cells for kind, cells in (("masks", masks), ("maps", maps)) if cells}


def _stack_layers(pages: SplitPages, row: int) -> Layers:
    """Stack the maps and masks of an image; the true mask comes first, with an empty address."""
    stacked = {}
    for kind, named in _list_cells(pages.split, row).items():
        cells = {key: kept[name] for key, (kept, name) in named.items()}
        if kind == "masks" and (true := read_true_mask(pages.split.truth, row)) is not None:
            cells = {"": true, **cells}
        stacked[kind] = _stack(cells, kind, pages.cache)
    return stacked


def _stack(cells: Mapping[str, Cell], kind: str, cache: Path) -> tuple[Path, int, int, dict[str, int]]:
    """Stack the cells of the same size as the first; if the image's size is unknown, others are of another image."""
    first = next(iter(cells.values()))
    fitting = {key: cell for key, cell in cells.items() if cell.shape == first.shape}
    places = {key: place for place, key in enumerate(fitting)}
    return make_layers([*fitting.values()], kind, cache), first.shape[1], first.shape[0], places


def describe_image(pages: SplitPages, row: int, layers: Layers) -> dict[str, Any]:
    """Describe an image and the predictions of runs on it, in the form that `assets/images.js` draws."""
    split = pages.split
    width, height = measure(split, row)
    path = str(pages.find_image(row)).removesuffix(".html")
    places = {kind: layer[3] for kind, layer in layers.items()}
    runs = {run.result.address: _describe_run(run, row, split, places) for run in split.runs}
    described: dict[str, Any] = {
        "id": split.truth.ids[row],
        "page": f"{path}.html",
        "picture": f"{path}.jpg" if row in pages.thumbnails else "",
        "width": width,
        "height": height,
        "radius": max(width, height) / 50,
        "classes": [split.truth.classes[label] for label in split.shown[row]],
        "truth": _list_truth(split, row),
        "layers": {
            kind: {"file": f"{path}.{kind}.png", "width": wide, "height": high}
            for kind, (_, wide, high, _) in layers.items()
        },
        "runs": {address: predicted for address, predicted in runs.items() if predicted},
    }
    if (mask := places.get("masks", {}).get("")) is not None:
        described["mask"] = mask
    return described


def _list_truth(split: SplitImages, row: int) -> list[list[Any]]:
    shown, objects = split.shown[row], split.truth.objects
    first, last = np.searchsorted(objects.image, [row, row + 1]).tolist()
    return [
        [shown.index(label), int(difficult), *np.round(corners, 1).tolist()]
        for label, difficult, corners in zip(
            objects.label[first:last].tolist(), objects.difficult[first:last], objects.box[first:last], strict=True
        )
        if label in shown
    ]


def _describe_run(run: RunImages, row: int, split: SplitImages, places: Mapping[str, Mapping[str, int]]) -> Json:
    """Describe a run's predictions on an image, with the indices of its mask and maps among the cells of their kind."""
    predicted: Json = json.loads(run.said[row])
    address = run.result.address
    if (mask := places.get("masks", {}).get(address)) is not None:
        predicted["mask"] = mask
    if mapped := places.get("maps"):
        labels = enumerate((*split.shown[row], -1))
        keys = [(at if label >= 0 else -1, f"{address} {label}") for at, label in labels]
        if maps := [[at, mapped[key]] for at, key in keys if key in mapped]:
            predicted["maps"] = maps
    return predicted


class _CardMaker:
    """Makes the entries of runs on an image's page: names that link to the run, and the verdict on each class."""

    def __init__(self, split: SplitImages) -> None:
        by_protocol: dict[str, list[RunImages]] = {}
        for run in split.runs:
            by_protocol.setdefault(run.result.protocol, []).append(run)
        self._groups = {
            name: [(run.result.address, self._make_head(run, label)) for run, label in _rank(runs)]
            for name, runs in sorted(by_protocol.items(), key=lambda pair: (not _has_pictures(pair[1]), pair[0]))
        }

    def _make_head(self, run: RunImages, label: str) -> str:
        seed = "" if run.result.seed is None else f", seed {run.result.seed}"
        page = IMAGE_UP + run_page(run.result.address)
        return _escape('<li data-run="{}"><a href="{}">{}</a>{} ', run.result.address, page, label, seed)

    def make(self, data: Mapping[str, Any]) -> list[tuple[str, str, Markup]]:
        """Make the name, page and entries of each protocol with runs on an image. data: from `describe_image`."""
        names = [f"{name} " if len(data["classes"]) > 1 else "" for name in data["classes"]]
        words = {
            (str(place), hit): _escape('<span class="{0}">{1}{0}</span>', "hit" if hit else "miss", name)
            for place, name in enumerate(names)
            for hit in (False, True)
        }
        return [
            (name, IMAGE_UP + protocol_page(name), self._list_cards(group, data["runs"], words))
            for name, group in self._groups.items()
        ]

    def _list_cards(
        self, group: Sequence[tuple[str, str]], said: Mapping[str, Any], words: Mapping[tuple[str, bool], str]
    ) -> Markup:
        cards = (f"{head}{_name_verdict(said.get(address, {}), words)}</li>" for address, head in group)
        return Markup("\n".join(cards))  # each part is escaped


def _escape(text: str, *values: object) -> str:
    """Put values into a text of markup, escaped."""
    return str(Markup(text).format(*values))


def _name_verdict(said: Mapping[str, Any], words: Mapping[tuple[str, bool], str]) -> str:
    """Return as markup the verdict on each class, or else the image's value, and the classes that scored best."""
    parts = [words[pair] for pair in said.get("hits", {}).items()]
    if not parts and "value" in said:
        parts = [f"{100 * said['value']:.1f} %"]
    parts += [_escape("{} {}", name, score) for name, score in said.get("scores", ())]
    return ", ".join(parts)


def _has_pictures(runs: Sequence[RunImages]) -> bool:
    """Whether any of these runs predicts boxes, points or masks."""
    return any({"boxes", "points", "masks"} & run.result.predictions_digest.keys() for run in runs)


def _rank(runs: Sequence[RunImages]) -> list[tuple[RunImages, str]]:
    """Pair the runs of a protocol, the best first, with labels that tell them apart."""
    labels = make_distinct_labels([run.result for run in runs], lambda result: result.seed)

    def key(pair: tuple[RunImages, str]) -> tuple[float, str]:
        result = pair[0].result
        metric, value = next(iter(result.metrics.items()), ("", None))
        sign = 1 if result.higher_is_better.get(metric, True) else -1
        return (float("inf") if value is None else -sign * value), result.address

    return sorted(zip(runs, labels, strict=True), key=key)


def _make_image_values(pages: SplitPages, place: int, data: Mapping[str, Any]) -> dict[str, Any]:
    split, row = pages.split, pages.split.rows[place]
    walk = pages.walks[HARDEST]
    at = walk.images.index(place)
    before, after = (walk.images[at - 1] if at else None), (walk.images[at + 1 : at + 2] or (None,))[0]
    difficult = [int(split.truth.labels[row, label]) == ONLY_DIFFICULT for label in split.shown[row]]
    shows = [f"{name} (difficult)" if odd else name for name, odd in zip(data["classes"], difficult, strict=True)]
    value = split.values[row]
    return {
        "title": data["id"],
        "where": f"{split.where.dataset} {split.where.split}",
        "shows": ", ".join(shows) or "no class",
        "objects": format_count(len(data["truth"]), "object") if data["truth"] else "",
        "smallest": f"{100 * pages.smallest[row]:.1f} %" if data["truth"] else "",
        "value": f"{100 * value:.0f} %" if np.isfinite(value) else "",
        "runs": format_count(sum("value" in predicted for predicted in data["runs"].values()), "run"),
        "image": {**data, "runs": {}},
        "picture": f"{pages.names[place]}.jpg" if data["picture"] else "",
        "walk": {"title": walk.title, "page": "../" + _name_file(pages.find_page(HARDEST))},
        "place": f"{at + 1} of {len(walk.images)}",
        "number": place,
        "data": f"{pages.folder}/{pages.names[place]}.js",
        "split": pages.data,
        "previous": "" if before is None else f"{pages.names[before]}.html",
        "next": "" if after is None else f"{pages.names[after]}.html",
        "groups": pages.cards.make(data),
    }
