"""`predict` and `load_model`: the model of a run, applied to photographs."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.core.progress import SILENT, Progress
from bench.errors import BusyError, RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from bench.core.files import Places
    from bench.execution.trained import TrainedModel
    from bench.gallery.predicted_images import PredictedImages

AT_ONCE = 64
"""Number of photographs whose maps are in memory together."""

DOCUMENT, PICTURES, UNFINISHED, LEASE = "predictions.json", "pictures", ".unfinished", "lease"

_WRITTEN = re.compile(
    r"predictions\.json|(scores|points|boxes)\.parquet|maps/\d{6,}\.parquet|pictures/.+\.jpg", re.DOTALL
)
"""Paths of written files, relative to the folder."""


def load_model(
    run: str,
    *,
    places: Places,
    proposals: str | None = None,
    data: str | None = None,
    data_options: Mapping[str, Any] = MappingProxyType({}),
    device: str = "auto",
) -> TrainedModel:
    """Load the model of a run. data, data_options: the dataset that names the classes, if no result does.

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
    """Predict on photographs, and on those in folders, a batch at a time; also write all to the folder `out`, if given.

    Raises as `TrainedModel.predict` and `PredictionWriter`.
    """
    from bench.data.photographs import describe_left_out, find_photographs, name_unreadable

    files, notes = find_photographs(images), describe_left_out(images)
    names = [*files]
    with name_unreadable(files), nullcontext() if out is None else PredictionWriter(out, model, files) as writer:
        for start in range(0, len(names), AT_ONCE):
            batch = {name: files[name] for name in names[start : start + AT_ONCE]}
            predicted = model.predict_files(batch, notes, workers=workers, progress=progress)
            if writer is not None:
                writer.add(predicted)
            yield predicted


def make_document(model: TrainedModel, images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make the document of predictions on photographs."""
    return {
        "run": model.run,
        "method": model.method.name,
        "dataset": model.dataset,
        "classes": list(model.classes),
        "images": list(images),
    }


class PredictionWriter:
    """Writes predictions into a folder: a document, tables as parquet, maps as shards, and pictures.

    All is first written into a subfolder; once complete, its content replaces what `predict` wrote before. While the
    subfolder exists, the files beside it may be replaced, so that another call can follow a killed one.
    Raises RequestError for a folder with files not written by `predict`, or with the photographs themselves, BusyError
    for one that another process is writing into.
    """

    def __init__(self, out: Path, model: TrainedModel, files: Mapping[str, Path]) -> None:
        from bench.predictions.table import About

        self._out, self._part, self._model = out, out / UNFINISHED, model
        self._about = About(model.method.name, ids=tuple(files))
        self._tables: defaultdict[str, list[pa.Table]] = defaultdict(list)
        self._documents: list[dict[str, Any]] = []
        self._shards, self._claim = 0, ExitStack()
        if taken := next((path for path in files.values() if out.resolve() in path.resolve().parents), None):
            raise RequestError(f"--out {out}: the photograph {taken} lies in it. Give another folder.")
        if (other := find_other(out)) is not None:
            raise RequestError(f"--out {out}: predict did not write {other}. Give a new or empty folder.")

    def __enter__(self) -> PredictionWriter:
        from bench.core.lease import claim, find_holder

        if (holder := find_holder(self._part / LEASE)) is not None:
            raise BusyError(f"--out {self._out}: {holder} is writing there. Wait for it, or give another folder.")
        self._claim.enter_context(claim(self._part / LEASE, unless=lambda: False))
        for left in (path for path in self._part.iterdir() if path.name != LEASE):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._claim:
            if kind is None:
                self._finish()
        shutil.rmtree(self._part, ignore_errors=True)
        with suppress(OSError):  # nothing was there before, and nothing was written
            self._out.rmdir()

    def add(self, predicted: PredictedImages) -> None:
        """Write the pictures and maps of some photographs."""
        from bench.core.files import atomic_file
        from bench.predictions.arrays import write_shard

        self._documents += predicted.list_documents()
        for kind, table in predicted.tables.items():
            self._tables[kind].append(table)
        if predicted.maps:
            images, labels = zip(*predicted.maps, strict=True)
            path = self._part / "maps" / f"{self._shards:06}.parquet"
            write_shard(path, "maps", images, [*predicted.maps.values()], self._about, labels)
            self._shards += 1
        for image in predicted.files:
            with atomic_file(self._part / PICTURES / f"{image}.jpg") as part:
                part.write_bytes(predicted.draw(image))

    def _finish(self) -> None:
        """Write the tables and the document, then replace the folder's former content; the document comes last."""
        import pyarrow as pa

        from bench.core.files import write_json
        from bench.predictions.table import write

        for kind, tables in self._tables.items():
            write(self._part / f"{kind}.parquet", kind, pa.concat_tables(tables), self._about)
        write_json(self._part / DOCUMENT, make_document(self._model, self._documents))
        for before in [self._out / DOCUMENT, *(path for path in self._out.iterdir() if path != self._part)]:
            shutil.rmtree(before) if before.is_dir() else before.unlink(missing_ok=True)
        for written in sorted(self._part.iterdir(), key=lambda path: path.name == DOCUMENT):
            if written.name != LEASE:
                written.rename(self._out / written.name)


def find_other(out: Path) -> str | None:
    """Find a file in a folder that `predict` did not write; None if everything may be replaced."""
    if out.exists() and not out.is_dir():
        return "this file"
    is_ours = (out / UNFINISHED).is_dir() or _is_document(out / DOCUMENT)
    for path in sorted(out.rglob("*")):
        file = path.relative_to(out)
        if file.parts[0] != UNFINISHED and not path.is_dir() and not (is_ours and _WRITTEN.fullmatch(file.as_posix())):
            return str(file)
    return None


def _is_document(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"run", "method", "images"} <= document.keys()
