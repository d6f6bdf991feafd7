"""CutMix: the rectangle against its definition, its area, and the loss of both labels."""

from __future__ import annotations

import pytest
import torch
from map_cases import IMAGES, LABELS, made

from methods.cam import Cam
from methods.cutmix import CutMix
from methods.layers.mixing import cut_and_mix, draw_rectangle


@pytest.mark.parametrize("seed", range(5))
def test_pixels_are_those_of_the_other_image_inside_one_rectangle_and_their_own_outside(seed: int) -> None:
    torch.manual_seed(seed)
    images = torch.rand(4, 3, 9, 12)
    mix = cut_and_mix(images, beta=1.0)
    pasted = 0
    for row in range(9):
        for column in range(12):
            taken = mix.images[:, :, row, column].equal(images[mix.source][:, :, row, column])
            assert taken or mix.images[:, :, row, column].equal(images[:, :, row, column])
            pasted += taken and not images[mix.source][:, :, row, column].equal(images[:, :, row, column])
    assert mix.kept == pytest.approx(1 - pasted / (9 * 12))
    assert sorted(mix.source.tolist()) == [0, 1, 2, 3]


def test_a_rectangle_is_cut_off_at_the_border_and_otherwise_has_the_share_that_was_drawn() -> None:
    torch.manual_seed(0)
    sides = []
    for _ in range(300):
        rows, columns = draw_rectangle((40, 60), kept=0.75)
        assert 0 <= rows.start <= rows.stop <= 40
        assert 0 <= columns.start <= columns.stop <= 60
        sides.append((rows.stop - rows.start, columns.stop - columns.start))
    assert max(sides) == (20, 30)
    assert min(side for side, _ in sides) == 10  # the centre is on the border


def test_nothing_is_pasted_where_all_is_kept() -> None:
    rows, columns = draw_rectangle((40, 60), kept=1.0)
    assert (rows.start, columns.start) == (rows.stop, columns.stop)


def test_the_loss_is_that_of_mixed_labels_where_all_are_known() -> None:
    method = made(CutMix)
    torch.manual_seed(3)
    found = method.loss(IMAGES, LABELS)["classification"]
    torch.manual_seed(3)
    torch.rand(())
    mix = cut_and_mix(IMAGES, method.config.beta)
    target = (mix.kept * (LABELS > 0) + (1 - mix.kept) * (LABELS[mix.source] > 0)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(method(mix.images).scores, target)
    torch.testing.assert_close(found, expected)
    assert 0 < mix.kept < 1


def test_cutmix_is_cam_where_nothing_is_mixed_and_at_test() -> None:
    method, cam = made(CutMix, mixed=0.0), made(Cam)
    torch.testing.assert_close(method.loss(IMAGES, LABELS), cam.loss(IMAGES, LABELS))
    torch.testing.assert_close(made(CutMix)(IMAGES).maps, cam(IMAGES).maps)


def test_cutmix_draws_from_torchs_generator() -> None:
    method, losses = made(CutMix), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(method.loss(IMAGES, LABELS)["classification"].item())
    assert losses[0] == losses[1] != losses[2]


def test_images_that_are_given_stay_as_they_are() -> None:
    before = IMAGES.clone()
    cut_and_mix(IMAGES, 1.0)
    assert IMAGES.equal(before)
