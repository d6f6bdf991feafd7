"""Settings by the names of release 0.1, wherever a person or another's method may write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench import registry
from bench.config import RENAMED, BaseConfig, MapConfig, ProposalConfig, prediction, training
from bench.errors import RequestError
from bench.method import Predictor
from bench.records.result import migrate


class OtherConfig(ProposalConfig):
    """Of a method from elsewhere, which was written for release 0.1."""

    size: int = training(320, "larger side", ge=32)
    nms: float = prediction(0.4, "IoU", gt=0, le=1)


class Other(Predictor):
    name = "other"
    Config = OtherConfig
    kinds = ("boxes",)
    variants = {"frozen": {"freeze": True}}
    recipes = {"voc2007": {"clip": 5.0}}

    def predict(self, truth: Any, proposals: Any) -> dict[str, Any]:
        return {}


class Unrelated(BaseConfig):
    """Has a setting of its own that is called as one of ours once was."""

    size: int = training(7, "something else")


def configured(variant: str | None = None, recipe: dict[str, Any] | None = None, **settings: Any) -> Any:
    return registry.configure(Other, variant, dataset="voc2007", recipe=recipe or {}, settings=settings)


def test_every_renamed_setting_is_one_of_ours() -> None:
    assert set(RENAMED.values()) <= set(MapConfig.model_fields) | set(ProposalConfig.model_fields)
    assert not set(RENAMED) & (set(MapConfig.model_fields) | set(ProposalConfig.model_fields))


def test_former_names_are_understood_in_settings_variants_and_recipes() -> None:
    config = configured("frozen", {"head_lr": 3.0, "score_floor": 0.5}, max_boxes="7")
    assert (config.freeze_backbone, config.grad_clip_norm, config.head_lr_multiplier) == (True, 5.0, 3.0)
    assert (config.score_threshold, config.max_detections) == (0.5, 7)


def test_a_layer_under_a_former_name_is_overruled_under_the_present_one() -> None:
    assert configured("frozen", freeze_backbone="false").freeze_backbone is False
    assert configured("frozen", {"size": 64}, input_size="96").input_size == 96


def test_a_field_that_is_redefined_under_its_former_name_keeps_the_redefinition() -> None:
    assert "size" not in OtherConfig.model_fields
    config = configured()
    assert (config.input_size, config.nms_iou) == (320, 0.4)


def test_a_config_made_and_read_in_python_knows_the_former_names() -> None:
    config = OtherConfig(size=64, nms=0.2)
    assert (config.size, config.input_size, config.nms) == (64, 64, 0.2)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="clap"):
        _ = config.clap  # type: ignore[attr-defined]


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(RequestError, match="size is the former name of input_size, and both are given"):
        configured(size=64, input_size=64)
    with pytest.raises(ValidationError, match="nms is the former name of nms_iou"):
        OtherConfig(nms=0.2, nms_iou=0.2)


def test_a_setting_of_the_same_name_that_is_anothers_own_stays() -> None:
    assert Unrelated(size=8).model_dump() == {"size": 8}


def test_a_field_without_a_type_is_refused_and_not_forgotten() -> None:
    with pytest.raises(TypeError, match="size is now called input_size"):
        type("Untyped", (MapConfig,), {"size": training(64, "side"), "__module__": __name__})


def test_a_record_of_release_0_1_is_read_with_the_present_names() -> None:
    old = {"schema": 1, "config": {"size": 64, "nms": 0.3, "lr": 0.1}}
    assert migrate(old)["config"] == {"input_size": 64, "nms_iou": 0.3, "lr": 0.1}
