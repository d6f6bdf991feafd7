"""Features of a frozen net: computed once for each image and view, kept on disk in float16, and read by memory map.

A view is a size, and whether the image is mirrored. The features of a view are a folder of `runs/cache/features`, named
by the digest of all that they depend on, with files of `PART` images each, written whole or not at all. There are no
locks: processes that fill a view at the same time take its parts in different orders and skip those already stored.
Missing features, including those deleted meanwhile, are computed. Features are rounded to float16 with and without the
cache, so the cache changes no result.

Shapes: N images, R regions, K channels; see docs/conventions.md.
"""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.files import atomic_file, digest
from bench.core.progress import SILENT, Progress, Step
from bench.errors import RequestError, format_bytes
from bench.method import FrozenNet
from bench.training.device import autocast, to_input, use_deterministic_algorithms
from bench.training.inputs import Images, mirror_boxes, prefetch, scale_boxes

PART = 64
"""Images in one file."""

VERSION = 1
"""Bumped by hand whenever the same key would store other features."""

RESERVE = 1 << 30
"""Bytes of the disk that the cache leaves free."""

NORM_IMAGES = 2000
"""The most images, evenly spaced over the training split, on which channel statistics are measured."""

OPEN = 256
"""The most files open at once: many systems allow 1,024 per process, and a large split has more."""

REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of the operating system that mean that no, or no further, features can be written."""


class ImageView(NamedTuple):
    """How the net sees an image: at which size (side of a square, or larger side), and whether mirrored.

    longest: if not 0, `size` is that of the shorter side, and `longest` the limit of the larger one.
    """

    size: int
    mirrored: bool = False
    longest: int = 0


class Stored(NamedTuple):
    """Features of a view of an image, (R, K), (1, K) or (1, K, h, w), float32; the view's height, width and scales."""

    features: list[Tensor]
    shape: tuple[int, int]
    scale: tuple[float, float]


class LoadedView(NamedTuple):
    """A view of an image (1, 3, h, w), as bytes, and the scales of x and y; with cached features, without pixels."""

    image: Tensor
    scale: tuple[float, float]
    mirrored: bool
    features: Sequence[Tensor] | None = None

    def place(self, boxes: NDArray[np.float32]) -> Tensor:
        """Place boxes (R, 4) of the original image in the pixels of this view; further columns stay."""
        placed = scale_boxes(boxes, *self.scale)
        return mirror_boxes(placed, self.image.shape[-1]) if self.mirrored else placed


@dataclass(eq=False)
class FeatureCache:
    """The features that a frozen net computes from the images of a split.

    proposals: returns the boxes (R, 4) of an image in its own pixels, for a net that takes boxes. content: a digest of
    all that determines images and boxes. root: the folder of the features; None if they are not stored, as when the
    method alters its images or needs float32, and only their statistics are measured.
    """

    net: FrozenNet
    images: Images
    ids: tuple[str, ...]
    precision: str
    device: torch.device
    content: str
    proposals: Callable[[str], NDArray[np.float32]] | None = None
    root: Path | None = None
    progress: Progress = SILENT
    workers: int = 0
    _views: dict[ImageView, Path] = field(default_factory=dict)
    """Folders of the views that were filled."""
    _map: Callable[[Path], NDArray[Any]] = field(default_factory=lambda: lru_cache(OPEN)(_map_file))

    def fill(self, views: Sequence[ImageView]) -> None:
        """Store the missing features of these views; report the space needed, or why features are not stored."""
        if self.root is None:
            return
        self._views.update({view: self._locate(view) for view in views})
        todo = [missing for view in views for missing in self._list_missing(view)]
        if not todo or not self._check_room(todo):
            return
        random.SystemRandom().shuffle(todo)
        written: list[Path] = []
        with self.progress.task("Computing frozen features", sum(map(self._count_images, todo))) as step:
            try:
                for view, part in todo:
                    self._store(view, part, step, written)
            except OSError as error:
                if error.errno not in REFUSED:
                    raise
                for path in reversed(written):  # make room; a part's geometry, which marks it as whole, goes first
                    _remove(path)
                self._say_live(f"{error.strerror}: {error.filename or self.root}")

    def read(self, name: str, view: ImageView) -> Stored | None:
        """Return the stored features of an image; None if there are none."""
        if view not in self._views:
            return None
        part, place = divmod(self._rows[name], PART)
        folder = self._views[view]
        try:
            geometry = self._map(_name(folder, part, "geometry"))
            first, (end, height, width, scale_x, scale_y, outputs) = int(geometry[place - 1][0]), geometry[place]
            rows = slice(first if place else 0, int(end))
            halves = [self._map(_name(folder, part, f"output{number}"))[rows] for number in range(int(outputs))]
        except (FileNotFoundError, EOFError, ValueError, LookupError, TokenError):  # deleted meanwhile, or damaged
            _remove(_name(folder, part, "geometry"))  # so that the next run stores the part again
            return None
        except OSError:
            return None
        features = [torch.from_numpy(np.array(half)).float() for half in halves]
        return Stored(features, (int(height), int(width)), (float(scale_x), float(scale_y)))

    def read_batch(self, names: Sequence[str], views: Sequence[ImageView]) -> list[Tensor] | None:
        """Return the stored features of images (B, K, h, w), of each in its view; None unless all are stored."""
        each = []
        for name, view in zip(names, views, strict=True):
            if (stored := self.read(name, view)) is None:
                return None
            each.append(stored.features)
        return [torch.cat(outputs) for outputs in zip(*each, strict=True)]

    def measure_channels(self, sizes: Sequence[int], longest: int = 0) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the mean and the standard deviation (K,) of each output's channels."""
        chosen = np.unique(np.linspace(0, len(self.ids) - 1, min(NORM_IMAGES, len(self.ids))).round().astype(int))
        sums: list[Tensor] = []  # of each output (3, K): number of values, their sum, the sum of their squares
        with self.progress.task("Measuring frozen features", len(chosen) * len(sizes)) as step:
            for row, size in product(chosen.tolist(), sizes):
                name, view = self.ids[row], ImageView(size, longest=longest)
                stored = self.read(name, view) or self._compute(name, self._load(name, view))
                channels = [output.double().movedim(1, 0).flatten(1) for output in stored.features]
                more = [torch.stack([torch.ones_like(x).sum(1), x.sum(1), (x * x).sum(1)]).cpu() for x in channels]
                sums = [a + b for a, b in zip(sums, more, strict=True)] if sums else more
                step(1)
        means = [total / count.clamp(min=1) for count, total, _ in sums]
        variances = [squares / count.clamp(min=1) - m * m for (count, _, squares), m in zip(sums, means, strict=True)]
        return [mean.float() for mean in means], [variance.clamp(min=0).sqrt().float() for variance in variances]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _net_digest(self) -> str:
        return self.net.digest()

    def _locate(self, view: ImageView) -> Path:
        """Return the folder of a view: of all that its features depend on, to the last bit."""
        processor = ""
        if self.device.type == "cpu":
            processor = f"{torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"
        elif self.device.type == "cuda":  # not its number: the processes of a training share what they compute
            processor = torch.cuda.get_device_name(self.device)
        computing = (self.device.type, processor, torch.__version__)
        seen = view if view.longest else view[:2]  # as before there was `longest`
        key = [self._net_digest, self.content, *seen, self.precision, *map(str, computing), VERSION]
        return (self.root or Path()) / digest(key)

    def _list_missing(self, view: ImageView) -> list[tuple[ImageView, int]]:
        """List the parts of a view that are not stored, by number."""
        count = -(-len(self.ids) // PART)
        return [(view, part) for part in range(count) if not _name(self._views[view], part, "geometry").exists()]

    def _count_images(self, missing: tuple[ImageView, int]) -> int:
        return min(PART, len(self.ids) - missing[1] * PART)

    def _load(self, name: str, view: ImageView) -> LoadedView:
        """Load the pixels of a view of an image."""
        if self.net.takes_boxes:
            return load_fitted_view(self.images, None, name, view)
        image = self.images.load_square(name, view.size)
        return LoadedView((image.flip(-1) if view.mirrored else image)[None], (1.0, 1.0), view.mirrored)

    def _compute(self, name: str, loaded: LoadedView) -> Stored:
        """Compute the features of a view of an image."""
        boxes = None if self.proposals is None else loaded.place(self.proposals(name)).to(self.device)
        height, width = loaded.image.shape[2:]
        with torch.no_grad(), use_deterministic_algorithms(self.device), autocast(self.device, self.precision):
            features = self.net.extract(to_input(loaded.image, self.device), boxes)
        return Stored([feature.cpu() for feature in features], (height, width), loaded.scale)

    def _store(self, view: ImageView, part: int, step: Step, written: list[Path]) -> None:
        """Compute and write a part of a view, unless another process has done so; add its files to `written`."""
        folder, names = self._views[view], self.ids[part * PART : (part + 1) * PART]
        if not _name(folder, part, "geometry").exists():
            load = [partial(self._load, name, view) for name in names]
            loaded = prefetch(lambda number: load[number](), len(names), self.workers)
            stored = [self._compute(name, one) for name, one in zip(names, loaded, strict=True)]
            ends = np.cumsum([len(one.features[0]) for one in stored])
            geometry = [(end, *one.shape, *one.scale, len(one.features)) for end, one in zip(ends, stored, strict=True)]
            for number, outputs in enumerate(zip(*(one.features for one in stored), strict=True)):
                _write(path := _name(folder, part, f"output{number}"), torch.cat(outputs).half().numpy())
                written.append(path)
            _write(
                path := _name(folder, part, "geometry"), np.array(geometry, dtype=np.float64)
            )  # last: now it is whole
            written.append(path)
        step(len(names))

    def _check_room(self, todo: Sequence[tuple[ImageView, int]]) -> bool:
        """Report how much will be written and where; if the disk has no room for it, report that and return False."""
        missing = groupby(todo, key=itemgetter(0))
        needed = sum(self._measure(view, [part for _, part in parts]) for view, parts in missing)
        root = cast("Path", self.root)
        size = f"{format_bytes(needed)} of features of the frozen net"
        try:
            root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(root).free
        except OSError as error:
            self._say_live(f"{error.strerror}: {root}")
            return False
        if needed > free - RESERVE:
            self._say_live(f"{size} do not fit: {format_bytes(free)} are free in {root}")
            return False
        self.progress.say(f"Storing {size} in {root}, which may be deleted at any time.")
        return True

    def _measure(self, view: ImageView, parts: Sequence[int]) -> int:
        """Return the bytes of parts of a view, estimated from their first image that has features."""
        names = [name for part in parts for name in self.ids[part * PART : (part + 1) * PART]]
        counts = [1 if self.proposals is None else len(self.proposals(name)) for name in names]
        first = int(np.argmax(np.array(counts) > 0))
        features = self._compute(names[first], self._load(names[first], view)).features
        return sum(2 * output.numel() for output in features) * sum(counts) // max(1, counts[first])

    def _say_live(self, reason: str) -> None:
        """Report that features are computed each time, and why."""
        self.progress.say(f"Features of the frozen net are not stored, but computed in every epoch ({reason}).")


def load_fitted_view(images: Images, cache: FeatureCache | None, name: str, view: ImageView) -> LoadedView:
    """Load a view of an image whose aspect is kept: its cached features, or, if there are none, its pixels."""
    if cache is not None and (stored := cache.read(name, view)) is not None:
        return LoadedView(make_placeholder(1, *stored.shape), stored.scale, view.mirrored, stored.features)
    if view.longest:
        image, scale_x, scale_y = images.load_shorter(name, view.size, view.longest)
    else:
        image, scale_x, scale_y = images.load_fitted(name, view.size)
    return LoadedView((image.flip(-1) if view.mirrored else image)[None], (scale_x, scale_y), view.mirrored)


def provide(
    cache: FeatureCache | None, images: Tensor, features: Sequence[Tensor] | None, boxes: Tensor | None = None
) -> AbstractContextManager[None]:
    """Return a context in which a cache's net returns these features, if any, for these images and boxes (R, 4)."""
    if cache is None or features is None:
        return nullcontext()
    return give(cache.net, images, [feature.to(cache.device, non_blocking=True) for feature in features], boxes)


@contextmanager
def give(net: FrozenNet, images: Tensor, features: Sequence[Tensor], boxes: Tensor | None = None) -> Iterator[None]:
    """Let a frozen net return these features for these images in the block, in which pixels must not be read.

    Raises RequestError if they are.
    """
    try:
        with net.provide(images, features, boxes if net.takes_boxes else None):
            yield
    except RuntimeError as error:
        if not images.is_meta or "meta" not in str(error):
            raise
        raise RequestError(
            "The method looks at pixels, and images whose features are cached have none: let its `alters_images` "
            "return True."
        ) from error


def make_placeholder(images: int, height: int, width: int) -> Tensor:
    """Return images (B, 3, H, W) without pixels, to go with cached features: any access to pixels fails."""
    return torch.empty((images, 3, height, width), device="meta")


def _name(folder: Path, part: int, name: str) -> Path:
    return folder / f"{part * PART:08d}.{name}.npy"


def _map_file(path: Path) -> NDArray[Any]:
    return cast("NDArray[Any]", np.load(path, mmap_mode="r", allow_pickle=False))


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _write(path: Path, array: NDArray[Any]) -> None:
    """Write an array atomically; not at all if its folder is deleted meanwhile."""
    with suppress(FileNotFoundError), atomic_file(path) as part, part.open("wb") as file:
        np.save(file, array)
