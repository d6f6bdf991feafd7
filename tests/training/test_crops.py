"""Crops are those of torchvision, drawn from the seed of a training; scores of crops are averaged, maps are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from train_cases import CPU, FLAT, Colours, Corners, Photographs, boxes, made, make_source, train, weights

from bench.data.images import fit_shorter
from bench.method import MapConfig
from bench.training.batches import plan
from bench.training.crops import cut_test_crops, draw_crop, draw_resized_crop, load_random_crop
from bench.training.inputs import Images
from bench.training.predict import predict
from bench.training.prediction_parts import Split

SIZES = [(24, 32), (40, 31), (33, 33), (5, 200), (200, 5)]
"""Heights and widths; the last two are too long for most draws."""


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("height", "width"), SIZES[:3])
def test_random_crops_are_drawn_as_by_torchvision(height: int, width: int) -> None:
    reference = v2.RandomCrop(24)
    for seed in range(20):
        torch.manual_seed(seed)
        params = reference.make_params([noise(height, width)])
        crop = draw_crop(height, width, 24, torch.Generator().manual_seed(seed))
        assert crop == (params["top"], params["left"], 24, 24)


@pytest.mark.parametrize("limits", [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.6), (0.5, 3.0))])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resized_crops_are_drawn_as_by_torchvision(
    height: int, width: int, limits: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    reference = v2.RandomResizedCrop(24, *limits)
    for seed in range(20):
        torch.manual_seed(seed)
        params = reference.make_params([noise(height, width)])
        crop = draw_resized_crop(height, width, *limits, torch.Generator().manual_seed(seed))
        assert crop._asdict() == params


def test_pixels_of_a_resized_crop_are_torchvisions(tmp_path: Path) -> None:
    images = Images(Photographs(tmp_path, 1))
    config = MapConfig(**{**FLAT, "augment": "resized-crop"})
    for seed in range(5):
        torch.manual_seed(seed)
        expected = v2.RandomResizedCrop(32)(images.load_whole("00"))
        found = load_random_crop(images, "00", config, torch.Generator().manual_seed(seed))
        assert (found.int() - expected.int()).abs().max() <= 1  # both round to bytes


@pytest.mark.parametrize(("height", "width"), SIZES[:3])
def test_test_crops_are_torchvisions(height: int, width: int) -> None:
    image = noise(height, width)
    assert torch.equal(cut_test_crops(image, 21, 10), torch.stack(v2.functional.ten_crop(image, [21, 21])))
    assert torch.equal(cut_test_crops(image, 21, 1)[0], v2.CenterCrop(21)(image))


@pytest.mark.parametrize(("height", "width"), SIZES[:3])
@pytest.mark.parametrize("longest", [0, 50])
def test_a_shorter_side_is_resized_as_by_torchvision(height: int, width: int, longest: int) -> None:
    image = noise(height, width)
    found, scale_x, scale_y = fit_shorter(image, 48, longest)
    expected = v2.Resize(48, max_size=longest or None, antialias=True)(image.float() / 255)
    torch.testing.assert_close(found, expected.clamp(0, 1))
    assert (scale_x, scale_y) == (found.shape[2] / width, found.shape[1] / height)


def test_crops_move_nothing_else_that_is_drawn() -> None:
    plain, cropped = (plan(MapConfig(**FLAT, augment=augment), 20, 0, 0) for augment in ("none", "crop"))
    assert plain.order.tolist() == cropped.order.tolist()
    assert plain.mirrored.tolist() == cropped.mirrored.tolist()


@pytest.mark.parametrize("resize", ["warp", "shorter-side"])
def test_a_training_image_is_a_crop_of_the_resized_photograph(tmp_path: Path, resize: str) -> None:
    photographs = Photographs(tmp_path, 6)
    found = make_source(made(Colours, augment="crop", resize=resize, resize_to=40, batch_size=6), photographs)
    chosen = plan(found.config, 6, 0, 0)
    ((images, _), _) = found.step(chosen, 0)[0]
    for image, row, mirrored in zip(images, chosen.order, chosen.mirrored, strict=True):
        name = found.ids[row]
        whole = found.images.load_square(name, 40) if resize == "warp" else found.images.load_shorter(name, 40)[0]
        assert whole.shape[1:] == ((40, 40) if resize == "warp" else (40, 53))
        crops = whole.unfold(1, 32, 1).unfold(2, 32, 1)
        assert (crops == (image.flip(-1) if mirrored else image)[:, None, None]).all(dim=(-1, -2)).all(dim=0).any()


@pytest.mark.parametrize("augment", ["crop", "resized-crop"])
def test_a_training_on_crops_repeats_with_any_workers_and_is_of_its_seed(tmp_path: Path, augment: str) -> None:
    photographs, settings = Photographs(tmp_path, 8), {"augment": augment, "resize_to": 40, "batch_size": 4}
    first = weights(train(made(Colours, epochs=2, **settings), tmp_path / "a", photographs))
    again = weights(train(made(Colours, epochs=2, **settings), tmp_path / "b", photographs, workers=2))
    other = weights(train(made(Colours, epochs=2, **settings | {"augment": "none"}), tmp_path / "c", photographs))
    assert first == again != other


@pytest.mark.parametrize("count", [1, 10])
def test_scores_are_averaged_over_crops_and_maps_are_of_the_whole_image(tmp_path: Path, count: int) -> None:
    photographs, kinds = Photographs(tmp_path, 3), ["scores", "points"]
    method, whole = made(Colours, test_crops=count, resize_to=40), made(Colours)
    split = Split(photographs.ground_truth("test"), Images(photographs), None)
    tables, _ = predict(method, split, kinds, tmp_path / "a", device=CPU)
    plain, _ = predict(whole, split, kinds, tmp_path / "b", device=CPU)
    squares = torch.stack([cut_test_crops(split.images.load_square(name, 40), 32, count) for name in photographs.ids])
    with torch.no_grad():
        expected = torch.stack([method(crops / 255).scores.sigmoid().mean(0) for crops in squares])
    np.testing.assert_allclose(tables["scores"]["score"].to_numpy(), expected.flatten(), rtol=1e-5)
    assert tables["points"].select(["x", "y"]).equals(plain["points"].select(["x", "y"]))
    assert tables["points"]["score"].equals(tables["scores"]["score"])


def test_crops_must_fit_what_they_are_cut_from() -> None:
    for settings in ({"augment": "crop"}, {"test_crops": 10}):
        with pytest.raises(ValueError, match="resize_to=32 is smaller than a crop of input_size=48"):
            MapConfig(**{**FLAT, "input_size": 48, "resize_to": 32, **settings})


def test_scales_may_be_of_the_shorter_side(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, 1)
    for longest, shape in ((100, (48, 64)), (60, (45, 60))):
        method = made(Corners, input_size=48, longest_side=longest, flip=False, min_proposal=0)
        found = make_source(method, photographs, boxes(photographs, [(0, 0, 32, 24)]))
        [((image, proposals, _), _)] = found.step(plan(method.config, 1, 0, 0), 0)
        assert image.shape[2:] == shape
        assert proposals.tolist() == [[0, 0, shape[1], shape[0]]]
