"""SmoothGrad against a loop, captum's NoiseTunnel on the same noise, and what its noise has to be."""

from __future__ import annotations

import pytest
import torch
from attribution_cases import CLASSES, PICTURES, explaining, fixed
from captum.attr import NoiseTunnel, Saliency
from map_cases import IMAGES
from torch import Tensor, nn

from methods.layers.attribution import Scores


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("colors", ["largest", "sum"])
def test_maps_are_means_of_gradients_of_noisy_copies(squared: bool, colors: str) -> None:
    method = fixed("smooth-grad", samples=5, batch_size=2, squared=squared, colors=colors)
    image, total = PICTURES[0], torch.zeros(3, 12, 10, dtype=torch.float64)
    for noisy in torch.cat([*method.list_noisy(image)]):
        copy = noisy.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(method.base(copy[None]).scores[0, 2], copy)
        total += gradient**2 if squared else gradient
    magnitude = (total / 5).abs()
    expected = magnitude.amax(dim=0) if colors == "largest" else magnitude.sum(dim=0)
    torch.testing.assert_close(method.explain(image[None].clone(), CLASSES[:1])[0], expected)


class Recording(nn.Module):
    """Scores, and the images that were scored."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores, self.seen = scores, list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().clone())
        found: Tensor = self.scores(images)
        return found


@pytest.mark.parametrize(("squared", "kind"), [(False, "smoothgrad"), (True, "smoothgrad_sq")])
def test_maps_are_captums_for_its_noise(squared: bool, kind: str) -> None:
    method = fixed("smooth-grad", samples=6, squared=squared)
    recording = Recording(Scores(method.base))
    tunnel = NoiseTunnel(Saliency(recording))
    captums = tunnel.attribute(PICTURES[:1], kind, nt_samples=6, stdevs=0.1, target=CLASSES[:1], abs=False)
    method.list_noisy = lambda image: iter([torch.cat(recording.seen)])
    found = method.explain(PICTURES[:1].clone(), CLASSES[:1])
    torch.testing.assert_close(found, captums.abs().amax(dim=1), rtol=1e-5, atol=1e-8)


def test_noise_has_a_share_of_the_images_range_and_is_of_the_image_alone() -> None:
    method = explaining("smooth-grad", samples=30, noise=0.2)
    image = IMAGES[0] * 0.5
    noise = torch.cat([*method.list_noisy(image)]) - image
    assert float(noise.std()) == pytest.approx(0.2 * float(image.max() - image.min()), rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert noise.equal(torch.cat([*method.list_noisy(image)]) - image)
    together = explaining("smooth-grad", samples=4).explain(IMAGES.clone(), CLASSES)
    alone = explaining("smooth-grad", samples=4).explain(IMAGES[1:].clone(), CLASSES[1:])
    torch.testing.assert_close(together[1:], alone)


def test_hardly_any_noise_is_the_gradient() -> None:
    smooth, plain = explaining("smooth-grad", noise=1e-6, samples=2), explaining("gradient")
    torch.testing.assert_close(
        smooth.explain(IMAGES.clone(), CLASSES), plain.explain(IMAGES.clone(), CLASSES), rtol=1e-3, atol=1e-5
    )


def test_released_squares_are_of_25_copies() -> None:
    cls = type(explaining("smooth-grad"))
    config = cls.Config(**cls.variants["released"])
    assert (config.samples, config.squared, config.colors, config.noise) == (25, True, "sum", 0.15)
