"""Addresses of release 0.1: whoever asks for what was trained and predicted then finds it, under either name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.config import RENAMED
from bench.core.files import Places
from bench.data.proposals import Proposals
from bench.execution.resolve import DatasetCache, Request, resolve_request
from bench.records.store import PredictionsKey, TrainingKey

FIXTURE = json.loads((Path(__file__).parent / "addresses_0_1.json").read_text())
"""Of each method and variant: settings, configs as they were addressed (of later rows what differs), addresses."""

MELM = {"background": "true", "aggregate": "probability"}

IMPLIED_VARIANTS = {
    "danet:released": {"box_rule": "all-foreground", "root_width": "0"},
    "acol:released": {"erased_by": "best"},
    "spn:released-voc": {"box_rule": "mean-components", "difficult_labels": "ignore"},
    "wsddn:released": {"spatial_rule": "paper", "nms_iou": "0.3"},
    "melm": {**MELM, "readout": "l2"},
    **{f"melm:{name}": MELM for name in ("d", "l", "d+rl", "l+rl", "d+arl", "l1+arl", "l2+arl")},
}
"""Variants that have changed since, and what they were."""

REVISED = {"spg": 2}
"""Methods whose settings train to other weights since, by version."""

DATA = {"train": 20, "val": 10, "test": 8, "size": 64, "classes": 4}


class NoProposals(DatasetCache):
    """Computes no proposals: the digests of those of release 0.1 are put in anyway."""

    def proposals(self, *_: Any) -> Proposals:
        return Proposals.from_arrays((), [], [])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> DatasetCache:
    return NoProposals(Places(tmp_path_factory.mktemp("runs")))


def keys(
    shelf: DatasetCache, method: str, protocol: str, settings: dict[str, str]
) -> tuple[TrainingKey | None, PredictionsKey]:
    """The keys of a request, with the digests that data and proposals had when the fixture was made."""
    settings = list_former_values(method) | settings
    current = {RENAMED.get(key, key) for key in settings}
    settings |= {key: value for key, value in IMPLIED_VARIANTS.get(method, {}).items() if key not in current}
    request = Request(method, registry.protocol(protocol), settings=settings, data="shapes", data_options=DATA)
    job = resolve_request(request, shelf, device=torch.device("cpu"), threads=1)
    digests, training, predictions = FIXTURE["digests"][protocol], job.training, job.predictions
    if method in REVISED and training is not None:
        assert training.method_version == predictions.method_version == REVISED[method]
        training, predictions = replace(training, method_version=1), replace(predictions, method_version=1)
    scored = predictions.proposals is not None
    predictions = replace(predictions, proposals=digests["proposals"] if scored else None)
    if training is None:
        return None, replace(predictions, images=digests["images_of_predictors"])
    training = replace(
        training,
        data=digests["data"],
        labels=digests["labels"],
        proposals=digests["training_proposals"] if scored else None,
    )
    return training, replace(predictions, images=digests["images"], training=training.address)


def list_former_values(method: str) -> dict[str, str]:
    """Settings that came later with another default than the runs of release 0.1 imply, as those imply them."""
    config = registry.parse(method)[0].Config
    former = {key: value for key, value in config.list_implied().items() if value != config.model_fields[key].default}
    return {key: json.dumps(value).strip('"') for key, value in former.items()}


@pytest.mark.parametrize("renamed", [False, True], ids=["former-names", "present-names"])
@pytest.mark.parametrize("method", FIXTURE["methods"])
def test_addresses_do_not_move(shelf: DatasetCache, method: str, renamed: bool) -> None:
    rows = FIXTURE["methods"][method]
    for row in rows:
        settings = {RENAMED.get(key, key) if renamed else key: value for key, value in row["settings"].items()}
        for protocol, (trained, predicted) in row["addresses"].items():
            training, predictions = keys(shelf, method, protocol, settings)
            if training is not None:
                config = {**rows[0]["training_config"], **row["training_config"]}
                assert as_json(training)["config"] == config
                assert training.address == trained
            assert as_json(predictions)["config"] == {**rows[0]["prediction_config"], **row["prediction_config"]}
            assert predictions.address == predicted


def as_json(key: TrainingKey | PredictionsKey) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(key))))


@pytest.mark.parametrize(
    ("method", "settings", "counts"),
    [
        ("cam", {"weights": "imagenet"}, True),
        ("cam", {"weights": "none"}, False),
        ("cam", {"weights": "imagenet", "freeze_backbone": False}, False),
        ("wsddn", {"weights": "imagenet"}, True),
        ("wsddn", {"weights": "imagenet", "roi_head": "fc"}, False),
        ("wsddn", {"weights": "file.pth", "roi_head": "fc"}, True),
    ],
)
def test_settings_of_frozen_features_count_where_features_are_frozen(
    method: str, settings: dict[str, Any], counts: bool
) -> None:
    config = registry.parse(method)[0].Config(**{"freeze_backbone": True, **settings})
    found = config.select_addressed("training").keys() & {"feature_norm", "feature_precision"}
    assert len(found) == (2 if counts else 0)
