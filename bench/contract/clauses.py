"""The clauses of the contract. Each yields what is wrong, in terms that the method's author can act on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench import registry
from bench.contract.subject import Caught, OddImages, Subject
from bench.data.ground_truth import ABSENT, GroundTruth, empty_objects
from bench.method import Maps, ProposalMethod
from bench.predictions.table import FOLDERS, KINDS, About, Predictions, resolve
from bench.scoring.score import describe_odd_boxes
from bench.training import checkpoint
from bench.training.device import pick_device
from bench.training.feature_cache import give, make_placeholder

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

Clause = Callable[[Subject], Iterator[str]]

_COLUMNS = {**KINDS, **FOLDERS}

STEPS = 24
"""Steps on two images within which the loss has to fall."""


def summary(subject: Subject) -> Iterator[str]:
    """Check that the method has a summary line for `bench list`."""
    if not subject.listing.summary.strip():
        yield f"{Path(subject.listing.origin).name} has no docstring: its first line is what `list` shows"


def fields(subject: Subject) -> Iterator[str]:
    """Check that every setting declares its stage and has a description for `bench show`."""
    for name, info in subject.cls.Config.model_fields.items():
        extra = info.json_schema_extra
        if not isinstance(extra, dict) or extra.get("stage") not in ("training", "prediction"):
            yield f"{name} belongs to no stage: make it with training() or prediction() of bench.method"
        elif not (info.description or "").strip():
            yield f"{name} has no description"


def builds(subject: Subject) -> Iterator[str]:
    """Check that every variant can be built, or only the checked one if the user chose a net, and recipes are valid."""
    cls = subject.cls
    if cls.default_variant is not None and cls.default_variant not in cls.variants:
        yield f"its default variant {cls.default_variant!r} is none of its variants"
        return
    for variant in [subject.variant] if subject.settings else cls.variants or [None]:
        with Caught() as caught:
            registry.configure(cls, variant, dataset="shapes", recipe=subject.dataset.recipe, settings={})
            subject.build_variant(variant)
        if caught.error is not None:
            yield f"{variant or cls.name}: {subject.describe_error(caught.error)}"
    for name in cls.recipes:
        registry.configure(cls, subject.variant, dataset=name, recipe={}, settings={})


def map_shapes(subject: Subject) -> Iterator[str]:
    """Check that scores (B, C) and maps (B, C, h, w) have these shapes and are finite."""
    import torch

    method, classes = subject.build_method().eval(), len(subject.dataset.classes)
    ((images, _),) = subject.examples(method, 2)
    with torch.inference_mode():
        found = method(images)
    if not isinstance(found, Maps):
        yield f"forward: expected Maps(scores, maps), but got {type(found).__name__}"
        return
    if found.scores.shape != (2, classes):
        yield f"scores: expected (B, C) = (2, {classes}), but got {tuple(found.scores.shape)}"
    if found.maps.ndim != 4 or found.maps.shape[:2] != (2, classes):
        yield f"maps: expected (B, C, h, w) = (2, {classes}, h, w), but got {tuple(found.maps.shape)}"
    if not (found.scores.isfinite().all() and found.maps.isfinite().all()):
        yield "scores and maps must be finite, but there are NaNs or infinities"


def proposal_shapes(subject: Subject) -> Iterator[str]:
    """Check that scores (R, C), of all proposals and of a single one, are finite and at least 0."""
    import torch

    method, classes = subject.build_method().eval(), len(subject.dataset.classes)
    image, boxes, *_ = subject.examples(method, 1)[0]
    for given in (boxes, boxes[:1]):
        with torch.inference_mode():
            scores = method(image, given)
        if scores.shape != (len(given), classes):
            yield f"scores: expected (R, C) = ({len(given)}, {classes}), but got {tuple(scores.shape)}"
        elif not (scores.isfinite() & (scores >= 0)).all():
            yield f"scores of {len(given)} proposals: expected finite numbers of at least 0, but got others"


def accepts_one_image(subject: Subject) -> Iterator[str]:
    """Check that a single image has a loss, and the same scores as in a batch."""
    import torch

    method = subject.build_method()
    ((images, labels),) = subject.examples(method, 2)
    yield from _odd_terms("of one image, ", subject.loss(method, images[:1], labels[:1]))
    method.eval()
    with torch.inference_mode():
        both, one = method(images), method(images[:1])
    if not torch.allclose(both.scores[:1], one.scores, rtol=1e-3, atol=1e-5):
        yield "an image gets other scores alone than beside another"


def order(subject: Subject) -> Iterator[str]:
    """Check that permuting proposals permutes their scores."""
    import torch

    method = subject.build_method().eval()
    image, boxes, *_ = subject.examples(method, 1)[0]
    permutation = torch.from_numpy(np.random.default_rng(0).permutation(len(boxes)))
    with torch.inference_mode():
        given, permuted = method(image, boxes), method(image, boxes[permutation])
    if not torch.allclose(given[permutation], permuted, rtol=1e-3, atol=1e-6):
        yield "the same proposals in another order get other scores"


def loss(subject: Subject) -> Iterator[str]:
    """Check that terms are named, finite also without known labels or with one proposal, and depend on the labels."""
    method = subject.build_method()
    example = subject.examples(method, 2)[0]
    place = 2 if isinstance(method, ProposalMethod) else 1
    given, labels, more = example[:place], example[place], example[place + 1 :]
    terms, opposite = subject.loss(method, *example), subject.loss(method, *given, -labels, *more)
    yield from _odd_terms("", terms)
    if _total(terms) == _total(opposite):
        yield "the loss is the same for the opposite labels: it does not look at them"
    yield from _odd_terms("where no label is known (all are 0), ", subject.loss(method, *given, labels * 0, *more))
    if isinstance(method, ProposalMethod):
        image, boxes, *rest = example
        yield from _odd_terms("of one proposal, ", subject.loss(method, image, boxes[:1], *rest))


def accepts_features(subject: Subject) -> Iterator[str]:
    """Check that loss and scores are the same with features of a frozen net in place of pixels."""
    import torch

    if (method := subject.build_frozen()) is None or method.alters_images():
        return
    (images, *rest), net = subject.examples(method, 2)[0], method.eval().frozen_net()
    given = rest[:1] if isinstance(method, ProposalMethod) else []
    with torch.no_grad():
        features = [
            torch.cat(parts)
            for parts in zip(*(net.extract(image, *given) for image in torch.split(images, 1)), strict=True)
        ]
    blank = make_placeholder(len(images), *images.shape[2:])
    losses, scores = [subject.loss(method, images, *rest)], [_score(method, images, *given)]
    with give(net, blank, features, *given):
        losses.append(subject.loss(method, blank, *rest))
        scores.append(_score(method, blank, *given))
    if _total(losses[0]) != _total(losses[1]) or not torch.equal(*scores):
        yield "with cached features of a frozen net it gives another loss, or other scores, than with pixels"


def _score(method: Any, *given: Tensor) -> Tensor:
    import torch

    with torch.inference_mode():
        found = method.eval()(*given)
    return cast("Tensor", found.scores if isinstance(found, Maps) else found)


def _odd_terms(when: str, terms: Mapping[str, Tensor]) -> Iterator[str]:
    if not terms:
        yield f"{when}the loss has no terms"
    for name, value in terms.items():
        if value.ndim:
            yield f"{when}the loss term {name!r}: expected one number, but got shape {tuple(value.shape)}"
        elif not value.isfinite():
            yield f"{when}the loss term {name!r} is {float(value)}"


def _total(terms: Mapping[str, Tensor]) -> float:
    return sum(float(value.sum()) for value in terms.values())


def learns(subject: Subject) -> Iterator[str]:
    """Check that the loss falls on two images."""
    subject.train_method("learns", 2, STEPS)
    log = (subject.folder / "learns" / "log.jsonl").read_text(encoding="utf-8")
    losses = [float(json.loads(line)["loss"]) for line in log.splitlines()]
    last = sum(losses[-5:]) / 5
    if not last < losses[0]:
        yield f"the loss went from {losses[0]:.4g} to {last:.4g} in {STEPS} steps of the recipe of shapes"


def predicts(subject: Subject) -> Iterator[str]:
    """Check the columns, names and values of every kind that it claims."""
    truth = subject.ground_truth(4)
    yield from _odd_tables(subject, subject.predict_images(subject.build_method(), truth), truth)


def accepts_any_size(subject: Subject) -> Iterator[str]:
    """Check predictions on images of odd sizes and, if it uses proposals, with one proposal and with none."""
    odd = OddImages(subject.folder / "odd", subject.dataset.classes)
    truth, proposals = odd.ground_truth("odd"), odd.proposals() if subject.needs_proposals else None
    tables = subject.predict_images(subject.build_method(), truth, dataset=odd, proposals=proposals)
    yield from _odd_tables(subject, tables, truth)


def _odd_tables(subject: Subject, tables: Mapping[str, pa.Table], truth: GroundTruth) -> Iterator[str]:
    if not subject.cls.kinds:
        yield "it claims no kind of prediction: set `kinds`"
    for kind in subject.cls.kinds:
        if kind not in tables:
            yield f"it claims {kind}, but predicts {', '.join(tables) or 'nothing'}"
        elif missing := [name for name in _COLUMNS[kind] if name not in tables[kind].column_names]:
            yield f"{kind}: expected the columns {', '.join(_COLUMNS[kind])}, but {', '.join(missing)} are missing"
        else:
            yield from _odd_table(subject.cls.name, kind, tables[kind], truth)


def _odd_table(name: str, kind: str, table: pa.Table, truth: GroundTruth) -> Iterator[str]:
    found = resolve(Predictions(kind, table.select(list(_COLUMNS[kind])), About(name), f"its {kind}"), truth)
    if not len(found.image):
        yield f"{kind}: none for any image"
    yield from (f"{kind}: {one}" for one in describe_odd_boxes(found.counts))
    if kind == "points":
        point = np.stack([found.columns["x"], found.columns["y"]], axis=1)
        outside = ((point < 0) | (point >= truth.size[found.image])).any(axis=1)
        yield from [f"points: {outside.sum()} outside their image"] if outside.any() else []


def repeats(subject: Subject) -> Iterator[str]:
    """Check that the same seed gives the same numbers to the last bit."""
    import torch

    first, second = subject.once.state_dict(), subject.train_method("again", 4, 2).state_dict()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    if differing:
        yield f"two trainings differ (first in {differing[0]}): all that is random has to come from torch's generator"
    truth = subject.ground_truth(2)
    yield from _find_differing(subject.predict_images(subject.once, truth), subject.predict_images(subject.once, truth))


def _find_differing(first: Mapping[str, pa.Table], second: Mapping[str, pa.Table]) -> Iterator[str]:
    for kind, table in first.items():
        if not table.equals(second[kind]):
            yield f"two predictions of {kind} differ"


def loads(subject: Subject) -> Iterator[str]:
    """Check that the weights file contains everything that was learned."""
    truth, other = subject.ground_truth(2), subject.build_method(seed=1, epochs=2)
    trained = subject.predict_images(subject.once, truth)
    checkpoint.load_weights(subject.folder / "once", other)
    if any(_find_differing(trained, subject.predict_images(other, truth))):
        yield "something that was learned, or drawn, is neither a parameter nor a buffer"


def gpu(subject: Subject) -> Iterator[str]:
    """Check a training step and a prediction on the first GPU."""
    there, truth = replace(subject, device=pick_device("auto")), subject.ground_truth(4)
    yield from _odd_tables(there, there.predict_images(there.train_method("gpu", 4, 1), truth), truth)


def ignores_truth(subject: Subject) -> Iterator[str]:
    """Check that predictions repeat and, unless `uses_truth`, do not change when labels and objects are hidden."""
    method, truth = subject.build_method(), subject.ground_truth(4)
    hidden = replace(truth, labels=np.full_like(truth.labels, ABSENT), objects=empty_objects())
    tables = subject.predict_images(method, truth)
    yield from _find_differing(tables, subject.predict_images(method, truth))
    if not method.uses_truth and any(_find_differing(tables, subject.predict_images(method, hidden))):
        yield "it looks at labels or objects of the truth: declare uses_truth, or use ids, sizes and classes only"
