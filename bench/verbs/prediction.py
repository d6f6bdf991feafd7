"""`predict` and `load_model`: the model of a run, put on photographs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.core.progress import SILENT, Progress
from bench.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from bench.core.files import Places
    from bench.execution.trained import TrainedModel
    from bench.gallery.predicted_images import PredictedImages

AT_ONCE = 64
"""Photographs whose maps are in memory together."""

PICTURES = "pictures"


def load_model(
    run: str,
    *,
    places: Places,
    proposals: str | None = None,
    data: str | None = None,
    data_options: Mapping[str, Any] = MappingProxyType({}),
    device: str = "auto",
) -> TrainedModel:
    """Load the model of a run. data, data_options: the dataset that names the classes, where no result does.

    Raises UnknownNameError for the address, RequestError for a run without a model, or whose files are gone.
    """
    from bench.data.datasets import open_dataset
    from bench.execution.trained import load_model as load

    def find_classes(name: str) -> tuple[str, ...]:
        return open_dataset(data or name, places, data_options).classes

    return load(run, places, proposals=proposals, find_classes=find_classes, device=device)


def predict(
    model: TrainedModel,
    images: Sequence[Path],
    out: Path | None = None,
    *,
    workers: int = 2,
    progress: Progress = SILENT,
) -> Iterator[PredictedImages]:
    """Predict on photographs, and on those in folders, some at a time; all is also written to the folder `out`.

    Raises as `TrainedModel.predict`.
    """
    from bench.data.photographs import find_photographs

    files = find_photographs(images)
    writer = None if out is None else PredictionWriter(out, model.method.name, files)
    names = [*files]
    for start in range(0, len(names), AT_ONCE):
        some = {name: files[name] for name in names[start : start + AT_ONCE]}
        predicted = model.predict_files(some, workers=workers, progress=progress)
        if writer is not None:
            writer.add(predicted)
        yield predicted
    if writer is not None:
        writer.close()


class PredictionWriter:
    """Writes predictions on photographs into a folder: tables as parquet, maps as shards, and pictures."""

    def __init__(self, out: Path, made_by: str, files: Mapping[str, Path]) -> None:
        from bench.predictions.table import About

        self._out, self._about = out, About(made_by, ids=tuple(files))
        self._tables: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._shards = 0
        photographs = {path.resolve() for path in files.values()}
        if taken := next((path for path in map(self._locate_picture, files) if path.resolve() in photographs), None):
            raise RequestError(f"--out {out}: {taken} would be replaced by its picture. Give another folder.")

    def add(self, predicted: PredictedImages) -> None:
        """Write the pictures and maps of some photographs."""
        from bench.core.files import atomic_file
        from bench.predictions.arrays import write_shard

        for kind, table in predicted.tables.items():
            self._tables[kind].append(table)
        if predicted.maps:
            images, labels = zip(*predicted.maps, strict=True)
            path = self._out / "maps" / f"{self._shards:06}.parquet"
            write_shard(path, "maps", images, [*predicted.maps.values()], self._about, labels)
            self._shards += 1
        for image in predicted.files:
            with atomic_file(self._locate_picture(image)) as part:
                part.write_bytes(predicted.draw(image))

    def close(self) -> None:
        """Write the tables."""
        import pyarrow as pa

        from bench.predictions.table import write

        for kind, tables in self._tables.items():
            write(self._out / f"{kind}.parquet", kind, pa.concat_tables(tables), self._about)

    def _locate_picture(self, image: str) -> Path:
        return self._out / PICTURES / f"{image}.jpg"
