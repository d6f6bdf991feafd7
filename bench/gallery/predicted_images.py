"""A trained model's predictions on photographs: tables, maps, documents, and a picture of each photograph."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.data.pixels import read_pixels, voc_palette
from bench.errors import UnknownNameError, format_count
from bench.gallery.drawing import Colour, Mark, encode_row, overlay_map
from bench.predictions.table import KINDS
from bench.tables.frames import make_frame

if TYPE_CHECKING:
    import pandas as pd

CLASSES, BOXES, SHOWN = 3, 5, 0.5
"""In a picture: the most classes, the most boxes of a class, and the least score of a class other than the best."""

IN_NOTEBOOK = 12
"""The most photographs that a notebook shows."""

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class PredictedImages:
    """Predictions on N photographs.

    files: path by image id. size: (N, 2), width and height. tables: by kind (`scores`, `points`, `boxes`), with
    the columns of prediction files. maps: (h, w), by image id and class.
    """

    method: str
    classes: tuple[str, ...]
    files: Mapping[str, Path]
    size: NDArray[np.int32]
    tables: Mapping[str, pa.Table]
    maps: Mapping[tuple[str, str], NDArray[np.floating]]
    notes: tuple[str, ...] = ()

    def to_frame(self, kind: str = "boxes") -> pd.DataFrame:
        """Make a pandas DataFrame of `scores`, `points` or `boxes`. Raises UnknownNameError for another kind."""
        if kind not in self.tables:
            raise UnknownNameError(f"kind of prediction of {self.method}", kind, self.tables)
        return make_frame(self.tables[kind].to_pylist(), KINDS[kind])

    def list_documents(self) -> list[dict[str, Any]]:
        """List the predictions on each photograph as JSON values, best first."""
        rows = self._rows
        return [
            {
                "image": image,
                "file": str(path),
                "width": int(width),
                "height": int(height),
                "scores": {row["label"]: row["score"] for row in rows["scores"][image]},
                **{kind: rows[kind][image] for kind in ("points", "boxes") if kind in rows},
            }
            for (image, path), (width, height) in zip(self.files.items(), self.size.tolist(), strict=True)
        ]

    def draw(self, image: str) -> bytes:
        """Draw a photograph with boxes and points of the classes that it shows, then the map of each, as JPEG.

        The class that scores best is shown, and others that score at least a half.
        """
        if image not in self.files:
            raise UnknownNameError("photograph", image, self.files)
        pixels = read_pixels(self.files[image])
        marks = {label: self._mark(image, label, colour) for label, colour in self._choose_classes(image).items()}
        panels = [(pixels, [mark for some in marks.values() for mark in some])]
        for label, some in marks.items():
            if (map_ := self.maps.get((image, label))) is not None:
                panels.append((overlay_map(pixels, map_), some))
        return encode_row(panels)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(table)} {kind}" for kind, table in self.tables.items())
        return f"<{self.method} on {format_count(len(self.files), 'photograph')}: {counts}>"

    def _repr_html_(self) -> str:
        """Show the first photographs in a notebook."""
        figures = []
        for image in [*self.files][:IN_NOTEBOOK]:
            content, caption = base64.b64encode(self.draw(image)).decode("ascii"), html.escape(image)
            picture = f'<img alt="{caption}" src="data:image/jpeg;base64,{content}">'
            figures.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
        return "\n".join(figures)

    @cached_property
    def _rows(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Rows by kind and image, without the image, the best first."""
        grouped = {kind: {image: list[dict[str, Any]]() for image in self.files} for kind in self.tables}
        for kind, table in self.tables.items():
            for row in table.to_pylist():
                grouped[kind][row.pop("image")].append(row)
            for rows in grouped[kind].values():
                rows.sort(key=lambda row: -row["score"])
        return grouped

    def _choose_classes(self, image: str) -> dict[str, Colour]:
        """Return the classes that a picture shows, the best first, with their colours."""
        rows = self._of("scores", image)
        best = [row for place, row in enumerate(rows[:CLASSES]) if not place or row["score"] >= SHOWN]
        palette = np.array(voc_palette()).reshape(-1, 3)
        colours = {row["label"]: palette[1 + self.classes.index(row["label"]) % 255].tolist() for row in best}
        return {label: (red, green, blue) for label, (red, green, blue) in colours.items()}

    def _mark(self, image: str, label: str, colour: Colour) -> list[Mark]:
        """Return the marks of a class: its other boxes, its best box with its name, its point."""
        boxes = [[row[side] for side in KINDS["boxes"][3:]] for row in self._of("boxes", image, label)[:BOXES]]
        marks = [Mark(box, colour, strong=False) for box in boxes[:0:-1]]
        marks += [Mark(box, colour, name=label) for box in boxes[:1]]
        return marks + [Mark((row["x"], row["y"]), colour) for row in self._of("points", image, label)]

    def _of(self, kind: str, image: str, label: str | None = None) -> Sequence[Row]:
        """Return the rows of an image, or of one class in it, best first; none if the kind was not predicted."""
        if kind not in self.tables:
            return ()
        return [row for row in self._rows[kind][image] if label in (None, row["label"])]
