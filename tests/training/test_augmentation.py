"""Random changes of training images are torchvision's, drawn from the seed of a training, and spelled out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from train_cases import CPU, FLAT, Colours, Corners, Photographs, boxes, made, make_source, train, weights

from bench import registry
from bench.errors import RequestError
from bench.method import MapConfig, ProposalConfig
from bench.training.augmentation import distort
from bench.training.batches import Plan, plan
from bench.training.crops import load_random_crop
from bench.training.device import use_deterministic_algorithms
from bench.training.inputs import Images

JITTER, RANDAUGMENT = (0.4, 0.3, 0.2, 0.1), (2, 9)
ALL: dict[str, Any] = {"color_jitter": JITTER, "randaugment": RANDAUGMENT}
VIEWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "crop": {"augment": "crop", "resize_to": 40},
    "shorter-side": {"augment": "crop", "resize": "shorter-side", "resize_to": 40},
    "resized-crop": {"augment": "resized-crop"},
    "narrow": {"augment": "resized-crop", "crop_area": (0.3, 0.6), "crop_aspect": (1.0, 2.0)},
}


class InterruptedHereError(Exception):
    """The process ends here, as far as the loop can tell."""


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plan_one(seed: int, *, mirrored: bool = False) -> Plan:
    """The plan of an epoch of one image."""
    return Plan(np.array([0]), np.array([mirrored]), np.array([32]), np.array([seed]))


@pytest.mark.parametrize(
    ("settings", "transforms", "seeds"),
    [
        ({"color_jitter": JITTER}, [v2.ColorJitter(*JITTER)], 10),
        ({"randaugment": RANDAUGMENT}, [v2.RandAugment(2, 9)], 60),  # so that each of its 14 operations is drawn
        (ALL, [v2.ColorJitter(*JITTER), v2.RandAugment(2, 9)], 10),
    ],
    ids=["color_jitter", "randaugment", "both"],
)
def test_pixels_are_torchvisions_and_nothing_is_drawn_for_others(
    settings: dict[str, Any], transforms: list[Any], seeds: int
) -> None:
    config, image, changed = MapConfig(**settings), noise(3, 24, 32), 0
    given = image.clone()
    for seed in range(seeds):
        torch.manual_seed(seed)
        expected = v2.Compose(transforms)(image)
        state = torch.get_rng_state()
        with use_deterministic_algorithms(CPU):
            found = distort(image, config, seeded(seed))
        assert found.dtype == torch.uint8
        assert found.equal(expected)
        assert torch.get_rng_state().equal(state)
        changed += not found.equal(image)
    assert image.equal(given)  # which stays in memory for the next epoch
    assert changed > seeds / 2


def test_without_settings_an_image_stays_as_it_is() -> None:
    image = noise(3, 24, 32)
    assert distort(image, MapConfig(), seeded(0)) is image


@pytest.mark.parametrize("view", VIEWS)
def test_what_the_record_spells_out_is_what_torchvision_does(tmp_path: Path, view: str) -> None:
    method = made(Colours, flip=False, **VIEWS[view], **ALL)
    source = make_source(method, Photographs(tmp_path, 1))
    *views, jitter, randaugment = [eval(one, vars(v2)) for one in method.config.list_transforms()]
    for seed in range(5):
        torch.manual_seed(seed)
        expected = v2.Compose(views)(source.images.load_whole("00"))
        state = torch.get_rng_state()
        shown = (
            source.images.load_square("00", 32)
            if view == "whole"
            else load_random_crop(source.images, "00", method.config, seeded(seed))
        )
        assert (shown.int() - expected.int()).abs().max() <= 1  # both round to bytes
        torch.set_rng_state(state)
        [((found, _), _)] = source.step(plan_one(seed), 0)
        assert found[0].equal(randaugment(jitter(shown)))


@pytest.mark.parametrize(
    ("config", "transforms"),
    [
        (MapConfig(), ("Resize((224, 224))", "RandomHorizontalFlip(p=0.5)")),
        (
            MapConfig(augment="crop", color_jitter=JITTER),
            (
                *("Resize((256, 256))", "RandomCrop(224)", "RandomHorizontalFlip(p=0.5)"),
                "ColorJitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)",
            ),
        ),
        (ProposalConfig(flip=False), ("Resize(None, max_size=688)",)),
        (
            ProposalConfig(scales=(480, 576), longest_side=1000, flip=False),
            ("RandomChoice([Resize(480, max_size=1000), Resize(576, max_size=1000)])",),
        ),
    ],
)
def test_transforms_are_listed_in_the_order_in_which_they_are_applied(
    config: MapConfig | ProposalConfig, transforms: tuple[str, ...]
) -> None:
    assert config.list_transforms() == transforms


def test_a_mirrored_image_is_mirrored_before_its_colours_change(tmp_path: Path) -> None:
    source = make_source(made(Colours, color_jitter=JITTER), Photographs(tmp_path, 1))
    [((found, _), _)] = source.step(plan_one(3, mirrored=True), 0)
    expected = distort(source.images.load_square("00", 32).flip(-1), source.config, seeded(3))
    assert found[0].equal(expected)


def test_colours_of_a_region_methods_image_change_and_its_boxes_stay(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 1)
    given = boxes(photographs, [(0, 0, 16, 24), (3, 4, 30, 20)])
    plain, jittered = (
        make_source(made(Corners, min_proposal=0, color_jitter=ranges), photographs, given).step(plan_one(5), 0)
        for ranges in ((), JITTER)
    )
    [((image, proposals, _), _)], [((changed, same, _), _)] = plain, jittered
    torch.manual_seed(5)
    assert changed.equal(v2.ColorJitter(*JITTER)(image))
    assert not changed.equal(image)
    assert same.equal(proposals)


MODERN: dict[str, Any] = {
    **{"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "warmup_steps": 1, "batch_size": 4},
    **{"augment": "resized-crop", "crop_area": (0.2, 1.0), **ALL},
}


def test_adamw_on_random_views_repeats_with_any_workers_and_after_an_interruption(tmp_path: Path) -> None:
    photographs, calls, settings = Photographs(tmp_path, 8), iter(range(1, 99)), {**MODERN, "epochs": 3}

    def check() -> None:
        if next(calls) == 2:
            raise InterruptedHereError

    whole = weights(train(made(Colours, **settings), tmp_path / "whole", photographs, workers=2))
    with pytest.raises(InterruptedHereError):
        train(made(Colours, **settings), tmp_path / "run", photographs, check=check)
    assert weights(train(made(Colours, **settings), tmp_path / "run", photographs)) == whole


def test_each_setting_changes_the_training(tmp_path: Path) -> None:
    photographs, settings = Photographs(tmp_path, 8), {**MODERN, "epochs": 1, "batch_size": 2, "warmup_steps": 2}
    changed = ("optimizer", "schedule", "warmup_steps", "crop_area", "color_jitter", "randaugment")
    others = [{}, *({key: MapConfig.model_fields[key].default} for key in changed)]
    found = [
        weights(train(made(Colours, **settings | other), tmp_path / str(number), photographs))
        for number, other in enumerate(others)
    ]
    assert all(one != another for place, one in enumerate(found) for another in found[:place])


def test_what_is_drawn_later_moves_nothing_that_was_drawn_before() -> None:
    plain, all_of_it = (plan(MapConfig(**FLAT, **more), 20, 0, 0) for more in ({}, ALL))
    for name in ("order", "mirrored", "size", "crop"):
        assert getattr(plain, name).tolist() == getattr(all_of_it, name).tolist()


def test_a_crop_is_the_same_with_and_without_what_follows(tmp_path: Path) -> None:
    images, config = Images(Photographs(tmp_path, 1)), MapConfig(**FLAT, augment="resized-crop")
    more = config.model_copy(update=ALL)
    assert load_random_crop(images, "00", config, seeded(1)).equal(load_random_crop(images, "00", more, seeded(1)))


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("cam", {"optimizer": "adam"}, "optimizer=adam (your setting) is not allowed"),
        ("cam", {"schedule": "linear"}, "schedule=linear (your setting) is not allowed"),
        ("cam", {"color_jitter": "0.4"}, "color_jitter=0.4 (your setting) is not allowed: it takes brightness"),
        ("cam", {"color_jitter": "0.4+0.4+0.4+0.6"}, "it takes brightness, contrast and saturation of at least 0, and"),
        ("wsddn", {"color_jitter": "-0.4+0+0+0"}, "wsddn: color_jitter=-0.4+0+0+0 (your setting) is not allowed"),
        ("cam", {"randaugment": "2+31"}, "randaugment=2+31 (your setting) is not allowed: it takes a number of operat"),
        ("cam", {"randaugment": "0+9"}, "randaugment=0+9 (your setting) is not allowed"),
        ("cam", {"randaugment": "9"}, "randaugment=9 (your setting) is not allowed"),
        ("cam", {"augment": "resized-crop", "crop_area": "0.5+0.2"}, "crop_area=0.5+0.2 (your setting) is not allowed"),
        ("cam", {"augment": "resized-crop", "crop_area": "0.5+1.2"}, "two numbers above 0 and up to 1, the lower one"),
        ("cam", {"augment": "resized-crop", "crop_aspect": "0+1"}, "two numbers above 0, the lower one first"),
        ("cam", {"crop_area": "0.5+1"}, "crop_area=0.5+1.0 has an effect only with augment=resized-crop."),
        ("cam", {"lr_final": "0.1"}, "cam: lr_final=0.1 has an effect only with schedule=cosine or poly."),
        (
            "cam",
            {"schedule": "cosine", "poly_power": "2"},
            "has an effect only with schedule=poly. Change",
        ),
        ("cam", {"schedule": "poly", "lr_steps": "5"}, "cam: lr_steps=5 has an effect only with schedule=step."),
        ("cam", {"beta2": "0.99"}, "cam: beta2=0.99 has an effect only with optimizer=adamw."),
        ("cam", {"schedule": "cosine", "lr_drop": "0.5"}, "only with schedule=step, and no lr_steps."),
        ("cam", {"lr_steps": "5", "lr_drop": "0.5"}, "lr_drop=0.5 has an effect only with"),
        ("cam", {"iterations": "9", "epochs": "3"}, "epochs=3 has an effect only with no iterations."),
        ("cam", {"resize": "shorter-side"}, "resize=shorter-side has an effect only with augment=crop, or test_crops."),
        ("cam", {"augment": "resized-crop", "resize_to": "300"}, "resize_to=300 has an effect only with"),
        ("cam", {"crf_steps": "5"}, "crf_steps=5 has an effect only with crf."),
        ("wsddn", {"scales": "480+576", "input_size": "600"}, "input_size=600 has an effect only with no scales."),
        ("cam", {"warmup_steps": "5", "warmup_epochs": "1"}, "cam: warmup_steps and warmup_epochs both say"),
        ("cam", {"label_smoothing": "1"}, "label_smoothing=1 (your setting) is not allowed"),
        ("weldon:ap", {"label_smoothing": "0.1"}, "weldon: label_smoothing needs loss=multi-label or softmax"),
        ("wsddn", {"augment": "resized-crop"}, "wsddn has no setting augment: it would move the image away from under"),
        ("melm", {"randaugment": "2+9"}, "melm has no setting randaugment: it would move the image away from under"),
    ],
)
def test_what_a_setting_cannot_be_is_refused_by_its_name(method: str, settings: dict[str, str], says: str) -> None:
    cls, variant = registry.parse(method)
    with pytest.raises(RequestError) as error:
        registry.configure(cls, variant, dataset="voc2007", recipe={}, settings=settings)
    assert says in str(error.value)


def test_what_others_set_may_have_no_effect() -> None:
    """A recipe or a variant says nothing of what a user sets beside it."""
    cls, variant = registry.parse("cam")
    given = {"schedule": "cosine", "test_crops": "1", "resize_to": "300", "feature_norm": "none", "crf_steps": "10"}
    config: Any = registry.configure(cls, variant, dataset="voc2007", recipe={"lr_drop": 0.5}, settings=given)
    assert (config.lr_drop, config.resize_to) == (0.5, 300)


def test_equal_settings_have_one_address() -> None:
    def address(**settings: Any) -> dict[str, Any]:
        return MapConfig(**FLAT | settings).select_addressed("training")

    assert address(lr_steps=(5, 3)) == address(lr_steps=(3, 5))
    assert address(color_jitter=(0.0, 0.0, 0.0, 0.0)) == address()
    assert address(resize="shorter-side") == address()
    assert address(lr_final=0.1) == address()


def test_settings_count_where_they_have_an_effect() -> None:
    plain = MapConfig(**FLAT).select_addressed("training")
    later = ("optimizer", "schedule", "lr_final", "poly_power", "warmup_steps", "warmup_epochs", "beta2", *ALL)
    assert not {*later, "crop_area", "crop_aspect"} & set(plain)
    assert "lr_drop" in plain
    chosen = MapConfig(**FLAT, optimizer="adamw", schedule="poly", poly_power=1.0, warmup_steps=3, **ALL)
    addressed = chosen.select_addressed("training")
    assert {"optimizer", "schedule", "poly_power", "warmup_steps", *ALL} <= set(addressed)
    assert "lr_drop" not in addressed
