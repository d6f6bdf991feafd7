"""The dense CRF: against mean field by brute force, and what must hold of any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import RequestError
from bench.predictions import dense_crf
from bench.predictions.dense_crf import DenseCrf, refine_shares
from bench.registry import configure, parse

SEC = DenseCrf(appearance=10, appearance_xy=80, appearance_rgb=13, smoothness=3, smoothness_xy=3, steps=10)


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    """Dark on the left of column 20, bright on the right, with a little noise."""
    pixels = np.random.default_rng(0).integers(0, 4, (height, width, 3), dtype=np.uint8)
    pixels[:, 20:] += 200
    return pixels


def leaning(height: int = 24, width: int = 32, edge: int = 16) -> np.ndarray:
    """Two labels whose border is four pixels off that of the picture, neither sure of itself."""
    first = np.where(np.arange(width) < edge, 0.6, 0.4).astype(np.float32)
    return np.broadcast_to(np.stack([first, 1 - first])[:, None], (2, height, width)).copy()


def by_brute_force(shares: np.ndarray, pixels: np.ndarray, crf: DenseCrf) -> np.ndarray:
    """Mean field (Eq. 4 of the paper) with every pair of pixels, kernels divided by the roots of their row sums."""
    labels, height, width = shares.shape
    place = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(float)
    colour = pixels.reshape(-1, 3).astype(float)

    def kernel(*features: np.ndarray) -> np.ndarray:
        squared = sum(((one[:, None] - one[None]) ** 2).sum(-1) for one in features)
        gauss = np.exp(-squared / 2)
        root = np.sqrt(gauss.sum(axis=1))
        return gauss / root / root[:, None]

    messages = crf.appearance * kernel(place / crf.appearance_xy, colour / crf.appearance_rgb)
    messages += crf.smoothness * kernel(place / crf.smoothness_xy)
    unary = -np.log(shares / shares.sum(axis=0)).reshape(labels, -1)
    found = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    for _ in range(crf.steps):
        energy = unary - found @ messages
        found = np.exp(-(energy - energy.min(axis=0)))
        found /= found.sum(axis=0)
    return found.reshape(shares.shape)


@pytest.mark.crf
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("steps", "alike"), [(1, 0.96), (5, 0.9)])
def test_it_is_mean_field_over_every_pair_of_pixels(seed: int, steps: int, alike: float) -> None:
    """The package filters on a lattice, so that its kernels are Gaussian only nearly."""
    chance = np.random.default_rng(seed)
    shares = chance.uniform(0.1, 1, (3, 7, 9)).astype(np.float32)
    pixels = chance.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    crf = DenseCrf(appearance=4, appearance_xy=4, appearance_rgb=60, smoothness=3, smoothness_xy=1.5, steps=steps)
    found, slow, before = (
        refine_shares(shares, pixels, crf),
        by_brute_force(shares, pixels, crf),
        shares / shares.sum(axis=0),
    )
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    assert np.corrcoef((found - before).ravel(), (slow - before).ravel())[0, 1] > alike
    assert np.abs(found - slow).mean() < 0.35 * np.abs(slow - before).mean()


@pytest.mark.crf
def test_labels_snap_to_the_edge_of_the_picture() -> None:
    before, after = leaning().argmax(axis=0), refine_shares(leaning(), picture(), SEC).argmax(axis=0)
    assert (before == (np.arange(32) >= 16)).all()
    assert (after == (np.arange(32) >= 20)).all()


@pytest.mark.crf
def test_without_weights_nothing_moves() -> None:
    idle = DenseCrf(appearance=0, appearance_xy=80, appearance_rgb=13, smoothness=0, smoothness_xy=3, steps=10)
    np.testing.assert_allclose(refine_shares(leaning(), picture(), idle), leaning(), rtol=1e-4)


@pytest.mark.crf
@pytest.mark.parametrize("winner", [0, 1, 2])
def test_where_all_pixels_agree_labels_stay_as_they_are(winner: int) -> None:
    shares = np.full((3, 24, 32), 0.3, dtype=np.float32)
    shares[winner] = 0.4
    assert (refine_shares(shares, picture(), SEC).argmax(axis=0) == winner).all()


@pytest.mark.crf
def test_labels_in_another_order_and_a_mirrored_picture_change_no_answer() -> None:
    chance = np.random.default_rng(1)
    shares, pixels = chance.uniform(0.1, 1, (3, 24, 32)).astype(np.float32), picture()
    found = refine_shares(shares, pixels, SEC)
    np.testing.assert_allclose(refine_shares(shares[::-1], pixels, SEC), found[::-1], atol=1e-4)
    turned = refine_shares(shares[:, :, ::-1], pixels[:, ::-1], SEC).argmax(axis=0)[:, ::-1]
    assert (turned == found.argmax(axis=0)).mean() > 0.95  # the lattice lies elsewhere


@pytest.mark.crf
def test_the_same_picture_gives_the_same_bits() -> None:
    assert len({refine_shares(leaning(), picture(), SEC).tobytes() for _ in range(3)}) == 1


@pytest.mark.crf
def test_shares_that_are_0_or_below_are_no_error_and_background_alone_stays() -> None:
    shares = leaning() - 0.5
    assert np.isfinite(refine_shares(shares, picture(), SEC)).all()
    assert (refine_shares(leaning()[:1], picture(), SEC) == 1).all()


def configured(**settings: Any) -> Any:
    cls, variant = parse("cam")
    return configure(cls, variant, dataset="made-up", recipe={}, settings=settings)


def test_without_the_package_a_run_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_crf, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"crf=true needs the package pydensecrf2: pip install 'weakloc\[crf\]'"):
        configured(crf="true")
    assert configured().dense_crf is None


def test_its_parameters_are_those_of_sec_unless_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_crf, "find_spec", lambda name: name)
    assert configured(crf=True).dense_crf == SEC
    assert configured(crf=True, crf_smoothness_xy=1, crf_steps=2).dense_crf == DenseCrf(10, 80, 13, 3, 1, 2)


def test_it_changes_predictions_and_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_crf, "find_spec", lambda name: name)
    changed = configured(crf=True, crf_steps=3, crf_appearance=4, test_scales="64+96", box_rule="mean")
    assert changed.stage("training") == configured().stage("training")
    assert changed.stage("prediction") != configured().stage("prediction")
