"""What verbs that look at anybody's predictions share: the options that name them, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bench import registry
from bench.cli import options
from bench.errors import BadFileError, RequestError, WrongKindError, listing

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.data.ground_truth import Truth
    from bench.predictions.table import Predictions, ResolvedPredictions
    from bench.scoring.protocol import BoundProtocol, Record

FORMATS = "Parquet, COCO results JSON, CSV of scores, or a folder: VOC's text files, PNG masks, .npy maps, our shards."


class Given(NamedTuple):
    """Predictions by kind, and what they are held against."""

    protocol: BoundProtocol
    truth: Truth
    predictions: dict[str, Predictions]

    def resolved(self) -> dict[str, ResolvedPredictions]:
        """The predictions held against the truth. Raises BadFileError."""
        from bench.predictions.table import resolve

        return {kind: resolve(one, self.truth) for kind, one in self.predictions.items()}


given = options.together(
    click.option("--protocol", required=True, metavar="NAME", shell_complete=options.complete("protocols")),
    click.option("--predictions", "file", type=options.FILE, required=True, help=FORMATS),
    click.option("--scores", "scores_file", type=options.FILE, help="Class scores from another file."),
    options.conventions,
    options.data,
    click.option("--split", help="Judge on this id list instead of the protocol's."),
    options.places,
    options.plugin,
)


def read_given(
    *,
    protocol: str,
    file: Path,
    scores_file: Path | None,
    conventions: dict[str, Any],
    data: str | None,
    data_options: dict[str, Any],
    split: str | None,
    places: Places,
) -> Given:
    """Read what the options of `given` name. Raises BadFileError where the protocol does not take it."""
    from bench.data.datasets import open_dataset
    from bench.predictions.formats import read_all

    bound = registry.bind(registry.protocol(protocol).with_conventions(conventions))
    dataset = open_dataset(data or bound.record.dataset, places, data_options)
    truth = dataset.truth(split or bound.record.eval_split)
    try:
        found = read_all(file, truth, bound.record.predicts)
    except WrongKindError as error:
        raise _belongs_elsewhere(error, bound.record) from None
    if scores_file is not None:
        found += _scores(scores_file, truth, bound)
    return Given(bound, truth, {one.kind: one for one in found})


def _belongs_elsewhere(error: WrongKindError, record: Record) -> BadFileError:
    """The same error, with the protocols that judge what the file holds, those of the same dataset first."""
    others = [registry.protocol(name) for name in registry.protocols()]
    takers = [one for one in others if set(error.kinds) & set(one.predicts)]
    names = [one.name for one in sorted(takers, key=lambda one: one.dataset != record.dataset)]
    kinds = " or ".join(error.kinds)
    rule = f"holds {kinds}, but {record.name} judges {' or '.join(record.predicts)}; {kinds} are judged by"
    return BadFileError(error.file, f"{rule} {listing(names)} (python -m bench list protocols).")


def _scores(file: Path, truth: Truth, bound: BoundProtocol) -> list[Predictions]:
    from bench.predictions.formats import read_all

    if "scores" not in bound.record.also:
        raise RequestError(f"--scores: {bound.record.name} takes no class scores beside {bound.record.predicts[0]}.")
    return read_all(file, truth, ["scores"])
