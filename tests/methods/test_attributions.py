"""Attributions against what they are by definition: gradients by hand, mass and relevance by dense matrices."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from map_cases import IMAGES, LABELS, TASK, made
from PIL import Image
from pyarrow import parquet
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import one_hot

from bench import registry
from bench.core.files import Places
from bench.data.ground_truth import GroundTruth, empty_objects
from bench.errors import RequestError, UnknownNameError
from bench.execution.pipeline import Request, run
from bench.method import Attribution
from bench.records.store import Store
from bench.training.inputs import Images
from bench.training.predict import Split, predict
from methods.classifier import Classifier
from methods.layers.attribution import Scores

LATER = {
    "grad-cam-plus-plus": {},
    "layer-cam": {},
    "hires-cam": {},
    "x-grad-cam": {},
    "score-cam": {"channels": 4},
    "integrated-gradients": {"path_points": 4},
    "smooth-grad": {"samples": 2},
    "rise": {"masks": 20},
    "occlusion": {"occluder_step": 0.3},
    "extremal-perturbation": {"updates": 2, "areas": (0.1,), "perturbed_by": "fade"},
}
"""Those that came after the papers here, with settings by which each is quick."""
NAMES = ("gradient", "deconv", "guided-backprop", "grad-cam", "lrp", "mwp", "c-mwp", *LATER)
RUN = (*NAMES[:7], "rise", "score-cam")
"""Those that are run from training to points; the contract suite does so with the others."""
CLASSES = torch.tensor([2, 0])


def test_every_attribution_explains_one_training_and_points(tmp_path: Path) -> None:
    """Each is its own prediction of the same weights, those that the classifier by itself has."""
    data = {"train": 4, "val": 4, "test": 3, "size": 64, "classes": 4}
    places, settings = Places(tmp_path / "runs"), {"epochs": 1, "precision": "float32"}
    asked = [(name, "voc07-point", settings | {"base": "classifier"} | LATER.get(name, {})) for name in RUN]
    requests = [
        Request(method, registry.protocol(name), settings=more, data="shapes", data_options=data)
        for method, name, more in [*asked, ("classifier", "voc07-cls", settings)]
    ]
    report = run(requests, places, device="cpu", workers=0, threads=1)
    assert not report.failed
    assert [result.method for result in report.results] == [*RUN, "classifier"]
    assert len({result.training for result in report.results}) == 1
    assert [folder.name for folder in (places.runs / "trainings").iterdir()] == [report.results[0].training]
    folders = [Store(places).predictions_folder(result.predictions) for result in report.results[:-1]]
    points = [parquet.read_table(folder / "points.parquet") for folder in folders]
    assert all(one["score"].equals(points[0]["score"]) for one in points)
    assert len({tuple(one["x"].to_pylist() + one["y"].to_pylist()) for one in points}) > 3


def explaining(name: str, base: str | None = None, **settings: Any) -> Any:
    return made(registry.method(name, base), **settings)  # type: ignore[type-var]


def small(name: str, **settings: Any) -> Any:
    """An attribution of a net that fits into matrices, on images of 8x8, in double precision: three class scores."""
    method = explaining(name, **settings)
    backbone = method.base.backbone
    backbone.trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    )
    backbone.roi_head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 4 * 4, 10), nn.ReLU())
    backbone.roi_size, method.base.output = 4, nn.Linear(10, 3)
    return method.double()


SMALL_LAYERS = {"saliency_layer": "backbone.trunk.1"}
PIXELS = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def steps(base: Classifier, image: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The small net on an image, from the first layer up: inputs (n,), matrix (m, n) and outputs (m,), ReLUs aside."""
    backbone = base.backbone
    layers = [layer for layer in [*backbone.trunk, *backbone.roi_head, base.output] if not isinstance(layer, nn.ReLU)]
    found, given = [], (image - backbone.mean) / backbone.std
    for layer in layers:
        if isinstance(layer, nn.Flatten):
            given = given.flatten()
            continue
        zero = layer(torch.zeros_like(given)[None])
        basis = torch.eye(given.numel(), dtype=given.dtype).view(-1, *given.shape)
        out = layer(given[None])
        found.append((given.flatten(), (layer(basis) - zero).flatten(1).T, out.flatten()))
        given = out[0].relu() if not isinstance(layer, nn.AvgPool2d) else out[0]
    return found


def shared(given: Tensor, matrix: Tensor, mass: Tensor) -> Tensor:
    """Mass (m,) of outputs as it comes to inputs (n,): Eq. 2."""
    added = matrix.clamp(min=0) * given
    total = added.sum(dim=1, keepdim=True)
    return torch.where(total > 0, added / total * mass[:, None], 0).sum(dim=0)


def by_matrices(base: Classifier, image: Tensor, label: int, contrast: bool) -> Tensor:
    """The map (8, 8) of MWP or c-MWP at the first ReLU."""
    *below, (given, matrix, _) = steps(base, image)[1:]
    mass = shared(given, matrix, one_hot(torch.tensor(label), 3).double())
    if contrast:
        mass = mass - shared(given, -matrix, one_hot(torch.tensor(label), 3).double())
    for given, matrix, _ in reversed(below):
        mass = shared(given, matrix, mass)
    found = mass.view(4, 8, 8).sum(dim=0)
    return found.clamp(min=0) if contrast else found


@pytest.mark.parametrize(("name", "contrast"), [("mwp", False), ("c-mwp", True)])
def test_mass_is_what_dense_matrices_make_it(name: str, contrast: bool) -> None:
    method = small(name, **SMALL_LAYERS)
    with torch.no_grad():
        expected = [by_matrices(method.base, PIXELS[i], int(CLASSES[i]), contrast) for i in range(2)]
    found = method.explain(PIXELS.clone(), CLASSES)
    torch.testing.assert_close(found, torch.stack(expected))
    assert (found > 0).any(dim=(1, 2)).all()


@pytest.mark.parametrize("net", ["tiny", "squeezenet", "googlenetgap"])
def test_mass_is_conserved_at_every_layer(net: str) -> None:
    method = explaining("mwp", net=net).double()
    names = [f"backbone.trunk.{place}" for place in range(len(method.base.backbone.trunk))] + ["backbone.roi_head"]
    with method.trace_mass(IMAGES.double(), CLASSES, *names) as trace:
        for name in names:
            torch.testing.assert_close(trace.propagate(name).flatten(1).sum(dim=1), torch.ones(2).double(), msg=name)


def test_a_weight_speaks_for_a_class_or_against_it() -> None:
    method = explaining("c-mwp")
    with method.trace_mass(IMAGES, CLASSES, "backbone.roi_head") as trace:
        either = [trace.propagate("backbone.roi_head", negated=sign) for sign in (False, True)]
        again = trace.propagate("backbone.roi_head")
    assert not (either[0] * either[1]).any()
    assert again.equal(either[0])


@pytest.mark.parametrize("name", ["mwp", "c-mwp"])
def test_a_pass_is_let_go_as_soon_as_it_is_explained(name: str) -> None:
    method, kept = small(name, **SMALL_LAYERS), []
    scores = method.base.output.register_forward_hook(lambda layer, given, out: kept.append(weakref.ref(given[0])))
    gc.collect()
    gc.disable()  # what only a collection frees fills the memory first: it counts objects, and these are few and large
    try:
        method.explain(PIXELS.clone(), torch.tensor([0, 1]))
    finally:
        gc.enable()
    scores.remove()
    assert [one() for one in kept] == [None]


def test_vgg16_is_mapped_at_pool4() -> None:
    config = registry.method("c-mwp").Config
    with torch.device("meta"):
        base = Classifier(Classifier.Config(weights="none"), TASK)
    place = base.backbone.stage_ends[-2] - 1
    pools = [n for n, layer in enumerate(base.backbone.trunk) if isinstance(layer, nn.MaxPool2d)]
    assert (place, config.model_fields["saliency_layer"].default) == (pools[3], "")
    assert base.get_submodule(config.model_fields["contrast_layer"].default)[-3].out_features == 4096


def test_googlenet_is_mapped_at_pool2() -> None:
    method = explaining("c-mwp", net="googlenet")
    assert isinstance(method.base.get_submodule(method.saliency), nn.MaxPool2d)
    assert method.explain(torch.rand(1, 3, 224, 224), torch.tensor([1])).shape == (1, 28, 28)


def test_gradient_is_autograds() -> None:
    method, images = explaining("gradient"), IMAGES.clone().requires_grad_()
    picked = method.base(images).scores[[0, 1], CLASSES]
    expected = torch.autograd.grad(picked.sum(), images)[0].abs().amax(dim=1)
    assert method.explain(IMAGES.clone(), CLASSES).equal(expected)


class Ruled(torch.autograd.Function):
    """A ReLU with its backward written out; `guided` also minds where its input was positive."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, guided: bool) -> Tensor:
        ctx.open = (given > 0) if guided else torch.ones_like(given, dtype=torch.bool)
        return given.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient.clamp(min=0) * ctx.open, None


class RuledLayer(nn.Module):
    def __init__(self, guided: bool) -> None:
        super().__init__()
        self.guided = guided

    def forward(self, given: Tensor) -> Tensor:
        found: Tensor = Ruled.apply(given, self.guided)
        return found


@pytest.mark.parametrize("net", ["tiny", "squeezenet", "googlenetgap"])
@pytest.mark.parametrize(("name", "guided"), [("deconv", False), ("guided-backprop", True)])
def test_relus_pass_what_their_rule_says(name: str, guided: bool, net: str) -> None:
    method = explaining(name, net=net)
    base, images = copy.deepcopy(method.base), IMAGES.clone().requires_grad_()
    for part in list(base.modules()):
        for child, layer in part.named_children():
            if isinstance(layer, nn.ReLU):
                setattr(part, child, RuledLayer(guided))
    assert any(isinstance(layer, RuledLayer) for layer in base.modules())
    picked = base(images).scores[[0, 1], CLASSES]
    expected = torch.autograd.grad(picked.sum(), images)[0].abs().amax(dim=1)
    torch.testing.assert_close(method.explain(IMAGES.clone(), CLASSES), expected)


def test_grad_cam_weighs_feature_maps_by_their_mean_gradient() -> None:
    method = explaining("grad-cam")
    base, kept = method.base, list[Tensor]()
    with base.backbone.trunk.register_forward_hook(lambda *given: kept.append(given[2])):
        picked = base(IMAGES.clone().requires_grad_()).scores[[0, 1], CLASSES]
    weight = torch.autograd.grad(picked.sum(), kept[0])[0].mean(dim=(2, 3), keepdim=True)
    expected = (weight * kept[0]).sum(dim=1).relu()
    torch.testing.assert_close(method.explain(IMAGES.clone(), CLASSES), expected)
    captums = LayerGradCam(Scores(base), base.backbone.trunk)
    theirs = captums.attribute(IMAGES.clone().requires_grad_(), CLASSES, relu_attributions=True)
    assert theirs[:, 0].equal(method.explain(IMAGES.clone(), CLASSES))


def test_lrp_is_the_epsilon_rule_of_dense_matrices() -> None:
    method = small("lrp", epsilon=0.05)
    for image, label, found in zip(PIXELS, CLASSES, method.explain(PIXELS.clone(), CLASSES), strict=True):
        with torch.no_grad():
            known = steps(method.base, image)
        relevance = known[-1][2] * one_hot(label, 3)
        for place, (given, matrix, out) in reversed(list(enumerate(known))):
            epsilon = 1e-9 if place == 1 else 0.05  # averaging has no weights
            steady = out + epsilon * torch.where(out < 0, -1.0, 1.0)
            relevance = given * (matrix.T @ (relevance / steady))
        torch.testing.assert_close(found, relevance.view(3, 8, 8).sum(dim=0), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_each_class_has_its_own_map_and_the_base_its_scores(name: str) -> None:
    method = explaining(name, **LATER.get(name, {}))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.inference_mode():
        found = method(IMAGES)
    assert found.scores.equal(method.base(IMAGES).scores)
    assert found.maps.isfinite().all()
    torch.testing.assert_close(found.maps[:, 2], method.explain(IMAGES.clone(), torch.tensor([2, 2])).detach())
    assert not found.maps[:, 0].equal(found.maps[:, 1])
    assert all(value.equal(before[key]) for key, value in method.state_dict().items())
    assert method.loss(IMAGES, LABELS)["classification"].equal(method.base.loss(IMAGES, LABELS)["classification"])


@pytest.mark.parametrize("name", ["gradient", "deconv", "guided-backprop", "grad-cam", *LATER])
def test_it_explains_what_it_is_told_to_with_its_settings(name: str) -> None:
    method = explaining(name, "cam", neck=8, **LATER.get(name, {}))
    assert isinstance(method, Attribution)
    assert (method.base.name, method.config.neck, method.config.base) == ("cam", 8, "cam")
    assert method(IMAGES).maps.shape[:2] == (2, 3)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: registry.method("gradient", "gradient"), "trained map method"),
        (lambda: registry.method("gradient", "wsddn"), "trained map method"),
        (lambda: registry.method("gradient", "clasifier"), "classifier"),
        (lambda: explaining("mwp", "cam"), "base=classifier"),
        (lambda: explaining("lrp", net="resnet50"), r"resnet50, a residual net: use one of alexnet, .*vgg16"),
        (lambda: explaining("mwp", net="resnet101"), r"resnet101, a residual net: use one of alexnet, .*squeezenet"),
        (lambda: explaining("gradient", shorter_side=64, test_scales=(64,)), "give one of them"),
        (lambda: explaining("mwp", saliency_layer="backbone.trunk.99"), "no layer 'backbone.trunk.99'"),
        (lambda: explaining("c-mwp", contrast_layer="fc7"), "no layer 'fc7'"),
        (lambda: explaining("grad-cam", layer="conv5"), "no layer 'conv5'"),
        (
            lambda: explaining("grad-cam", layer="output").explain(IMAGES.clone(), CLASSES),
            r"no feature maps, but outputs of shape \(3,\)",
        ),
        (
            lambda: explaining("c-mwp", saliency_layer="backbone.roi_head", contrast_layer="backbone.trunk.3").explain(
                IMAGES.clone(), CLASSES
            ),
            "not below",
        ),
    ],
)
def test_what_cannot_be_explained_is_refused(build: Callable[[], Any], said: str) -> None:
    with pytest.raises((RequestError, UnknownNameError), match=said):
        build()


def test_a_blurred_map_is_scipys_gaussian_of_a_share_of_the_larger_side() -> None:
    plain, blurred = explaining("gradient"), explaining("gradient", blur=0.05)
    maps = plain.explain(IMAGES.clone(), CLASSES)
    found = blurred.explain(IMAGES.clone(), CLASSES)
    expected = [ndimage.gaussian_filter(map.double(), 0.05 * 64, mode="nearest", truncate=4) for map in maps]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["gradient", "deconv", "guided-backprop"])
def test_published_maps_are_blurred_and_of_images_that_keep_their_aspect(name: str, tmp_path: Path) -> None:
    cls, variant = registry.parse(f"{name}:published")
    config = cls.Config(**cls.variants["published"], net="tiny", weights="none")
    assert (variant, config.blur, config.shorter_side) == ("published", 0.02, 224)
    small, seen = explaining(name, shorter_side=64), []
    Image.new("RGB", (90, 60)).save(tmp_path / "a.png")
    attribute = small.attribute
    small.attribute = lambda images, labels: seen.append(images.shape) or attribute(images, labels)
    size, labels = np.array([[90, 60]], np.int32), np.ones((1, 3), np.int8)
    truth = GroundTruth("made-up", "test", TASK.classes, ("a",), size, labels, empty_objects())
    dataset: Any = SimpleNamespace(image_path=lambda image: tmp_path / f"{image}.png")
    tables, _ = predict(small, Split(truth, Images(dataset)), ["points"], tmp_path / "p", device=torch.device("cpu"))
    assert set(seen) == {(1, 3, 64, 96)}
    assert tables["points"].num_rows == 3
