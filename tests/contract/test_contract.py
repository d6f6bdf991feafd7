"""The contract suite passes what keeps the contract, and tells the author of a broken method what is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import registry
from bench.contract import Finding, check_isolated, check_method, has_passed
from bench.core.files import Places
from bench.errors import BadFileError, UnknownNameError

MAP = '''"""A class scores the mean of its map."""

from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bench.method import MapConfig, MapMethod, Maps


class Sketch(MapMethod):
    Config = MapConfig

    def __init__(self, config, task):
        super().__init__(config, task)
        self.maps = nn.Conv2d(3, len(task.classes), 9, stride=8, padding=4)

    def forward(self, images):
        maps = self.maps(images)
        return Maps(maps.mean(dim=(2, 3)), maps)

    def loss(self, images, labels):
        scores = self(images).scores
        known = (labels != 0).float()
        loss = binary_cross_entropy_with_logits(scores, labels.clamp(min=0), weight=known)
        return {'classification': loss}
'''

PROPOSALS = '''"""A class scores a region by its mean colour."""

import torch
from torch import nn
from torchvision.ops import roi_align

from bench.method import ProposalConfig, ProposalMethod


class Sketch(ProposalMethod):
    Config = ProposalConfig

    def __init__(self, config, task):
        super().__init__(config, task)
        self.linear = nn.Linear(3, len(task.classes))

    def forward(self, image, proposals):
        colours = roi_align(image, [proposals], 1).flatten(1)
        scores = self.linear(colours).sigmoid()
        return scores

    def loss(self, image, proposals, labels):
        best = self(image, proposals).mean(dim=0)
        hit = torch.where(labels > 0, best, 1 - best).clamp(min=1e-6)
        return {"classification": -(hit.log() * labels.abs()).mean()}
'''

PREDICTOR = '''"""The upper left quarter."""

import numpy as np
import pyarrow as pa

from bench.method import Predictor


class Sketch(Predictor):
    kinds = ("boxes",)

    def predict(self, truth, proposals):
        row, label = np.indices(truth.labels.shape).reshape(2, -1)
        x2, y2 = truth.size[row].T / 2
        score = np.ones(len(row))
        columns = {"image": np.array(truth.ids)[row], "label": np.array(truth.classes)[label], "score": score}
        return {'boxes': pa.table({**columns, 'x1': score * 0, 'y1': score * 0, 'x2': x2, 'y2': y2})}
'''


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})
    yield
    sys.modules.pop("weakloc_plugin_sketch", None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One set of pictures for all."""
    return Places(tmp_path_factory.mktemp("contract") / "runs")


@pytest.fixture
def complaints(tmp_path: Path, shared: Places) -> Callable[..., str]:
    """What is wrong with a method of this source, a line a clause, after some text in it was replaced by other."""

    def check(source: str, *replaced: tuple[str, str]) -> str:
        for old, new in replaced:
            assert source.count(old) == 1
            source = source.replace(old, new)
        (tmp_path / "sketch.py").write_text(source)
        registry.use_plugin(tmp_path / "sketch.py")
        found = check_method("sketch", shared)
        return "\n".join(f"{one.name}: {one.detail}" for one in found if one.status == "failed")

    return check


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.methods())
def test_every_method_of_this_repository_keeps_the_contract(name: str, shared: Places) -> None:
    findings = check_method(name, shared)
    assert has_passed(findings), [one for one in findings if one.status == "failed"]
    assert {one.detail for one in findings if one.status == "skipped"} <= {"no GPU here"}


@pytest.mark.parametrize("source", [MAP, PROPOSALS, PREDICTOR])
def test_a_plain_plugin_keeps_the_contract(complaints, source: str) -> None:
    assert complaints(source) == ""


FROZEN = '''"""The mean of a map, on a backbone that may be frozen."""

from methods.layers.map_method import PooledConfig, PooledMaps


class Sketch(PooledMaps):
    Config = PooledConfig
    recipes = {"shapes": {"epochs": 40, "batch_size": 8, "dropout": 0.0}}

    def pool(self, maps):
        return maps.mean(dim=(2, 3))

    def forward(self, images):
        found = super().forward(images)
        return found
'''


DIMMED = "super().forward(images); found = found._replace(scores=found.scores * (1 - images.is_meta))"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return found", "return found", ""),
        ("forward(images)", "forward(images.flip(-1))", "cached features.*: .*has changed.*`alters_images`"),
        (
            "return found",
            "return found._replace(scores=found.scores + images.mean())",
            "cached.*: .*at pixels.*`alters_im",
        ),
        ("= super().forward(images)", f"= {DIMMED}", "cached features.*: .*gives another loss, or other scores"),
    ],
)
def test_what_a_method_on_cached_features_may_not_do_is_said(complaints, old: str, new: str, says: str) -> None:
    found = complaints(FROZEN, (old, new))
    assert re.search(says, found) if says else found == ""


MEAN = "Maps(maps.mean(dim=(2, 3)), maps)"
COUNTS = """self.seen = getattr(self, "seen", 0) + self.training
        return Maps(maps.mean(dim=(2, 3)) * self.seen, maps)"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("n': loss}", "n': loss * float('nan')}", "loss is finite.*: the loss term 'classification' is nan"),
        ("{'classification': loss}", "loss", "loss is finite.*: expected a dict of named terms, but got Tensor"),
        ("weight=known)", "weight=known, reduction='none')", "loss is finite.*: expected one number, but got shape"),
        ("weight=known)", "weight=known) / known.sum()", r"loss is finite.*: where no label is known \(all are 0\)"),
        ("labels.clamp(min=0), weight=known", "labels * 0", "loss is finite.*: .*same for the opposite labels"),
        ("n': loss}", "n': 2 * loss.detach() - loss}", "loss falls.*: the loss went from .* to .* in 24 steps"),
        (MEAN, "Maps(maps.mean(dim=(2, 3)), maps.flatten(2))", r"shapes: maps: expected \(B, C, h, w\) = \(2, "),
        (MEAN, "Maps(maps.flatten(2), maps)", r"shapes: scores: expected \(B, C\) = \(2, "),
        (MEAN, MEAN.removeprefix("Maps"), r"shapes: forward: expected Maps\(scores, maps\), but got tuple"),
        (MEAN, MEAN.replace("maps.m", "(maps / 0).m"), "shapes: scores and maps must be finite"),
        ("maps(images)", "maps(images - images.mean(dim=0))", "batch .*: an image gets other scores alone"),
        ("maps(images)", "maps(images) + __import__('random').random()", "seed .*: .* from torch's generator"),
        (f"return {MEAN}", COUNTS, "saved and loaded.*: .* neither a parameter nor a buffer"),
        ("Config = MapConfig", "class Config(MapConfig):\n        gain: float = 1.0", "gain belongs to no stage"),
        (
            "Config = MapConfig",
            "Config = MapConfig\n    variants = {'small': {'size': 8}}",
            "built: small: .*input_size=8",
        ),
        (
            "Config = MapConfig",
            "Config = MapConfig\n    recipes = {'voc2007': {'inputsize': 8}}",
            "Did you mean: input_size?",
        ),
        ("Config = MapConfig", "Config = MapConfig\n    default_variant = 'big'", "default variant 'big' is none"),
        (
            "Config = MapConfig",
            "Config = MapConfig\n    kinds = ('scores', 'proposals')",
            "claims proposals, but predicts scores",
        ),
        ('"""A class scores the mean of its map."""', "", "its file begins .*: sketch.py has no docstring"),
    ],
)
def test_what_is_broken_in_a_map_method_is_said(complaints, old: str, new: str, says: str) -> None:
    assert re.search(says, complaints(MAP, (old, new)))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("scores * torch.arange(len(scores))[:, None]", "another order.*: .* get other scores"),
        ("scores - 1", "shape.*: scores of 100 proposals: expected finite numbers of at least 0"),
        ("scores.squeeze(0)", r"shape.*: scores: expected \(R, C\) = \(1, "),
        ("scores[:100 * (len(scores) > 1)]", r"shape.*: scores: expected \(R, C\) = \(1, .*, but got \(0, "),
    ],
)
def test_what_is_broken_in_a_proposal_method_is_said(complaints, new: str, says: str) -> None:
    assert re.search(says, complaints(PROPOSALS, ("return scores", f"return {new}")))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("'y2': y2", "'y3': y2", "every kind.*: boxes: expected the columns .*, y2, but y2 are missing"),
        ("'y2': y2", "'y2': y2 * np.nan", "every kind.*: its boxes, row 0: column 'y2' must be finite"),
        ("'y2': y2", "'y2': y2 * 3", r"every kind.*: boxes: \d+ boxes outside their images"),
        (
            "np.array(truth.ids)",
            "np.char.add(truth.ids, 'x')",
            "every kind.*: its boxes, row 0: Unknown image of shapes",
        ),
        ("{'boxes':", "{'points':", "every kind.*: it claims boxes, but predicts points"),
        ("np.ones(len(row))", "truth.labels[row, label] * 1.0", "same again.*: it looks at labels or objects"),
        ("np.ones(len(row))", "np.random.rand(len(row))", "same again.*: two predictions of boxes differ"),
    ],
)
def test_what_is_broken_in_a_predictor_is_said(complaints, old: str, new: str, says: str) -> None:
    assert re.search(says, complaints(PREDICTOR, (old, new)))


def test_whatever_a_method_raises_is_told_with_its_line(complaints) -> None:
    raising = "class Odd(Exception): ...\n        raise Odd('no images\\ntoday')\n        row, label ="
    said = complaints(PREDICTOR, ("row, label =", raising)).splitlines()
    assert len(said) == 3
    assert all(line.endswith(": Odd: no images (sketch.py, line 14)") for line in said)


def test_what_cannot_be_built_is_not_tried_further(tmp_path: Path, here) -> None:
    (tmp_path / "sketch.py").write_text(MAP.replace("9, stride=8", "'nine'"))
    answer = here("check", "--plugin", "sketch.py", "--method", "sketch")
    statuses = [line.split()[0] for line in answer.out.splitlines()]
    assert (answer.code, statuses) == (1, ["ok", "ok", "failed", *["skipped"] * 10])
    assert "(sketch.py, line 14)" in answer.out


def test_the_verb_says_each_clause_and_passes(here) -> None:
    answer = here("check", "--method", "center", "--json")
    (document,) = answer.json()["methods"]
    assert (document["name"], document["passed"]) == ("center", True)
    assert {one["status"] for one in document["findings"]} == {"ok"}


def test_a_variant_is_checked_by_its_name(shared: Places) -> None:
    with pytest.raises(UnknownNameError, match="variant of center"):
        check_method("center:wide", shared)


def test_a_file_that_is_no_method_is_a_wrong_request(tmp_path: Path, shared: Places) -> None:
    (tmp_path / "sketch.py").write_text("x = 1")
    registry.use_plugin(tmp_path / "sketch.py")
    with pytest.raises(BadFileError, match="exactly one concrete method"):
        check_method("sketch", shared)


def test_a_suite_that_skips_everything_is_not_passed() -> None:
    ok, skipped, failed = (Finding("clause", status) for status in ("ok", "skipped", "failed"))
    assert has_passed([ok, skipped])
    assert not has_passed([skipped, skipped])
    assert not has_passed([ok, failed])
    assert not has_passed([])


@pytest.mark.slow
def test_a_crash_is_a_clause_that_fails_and_the_others_are_examined(tmp_path: Path, shared: Places) -> None:
    crash = "import os, signal\n        if len(images) == 1 and self.training: os.kill(os.getpid(), signal.SIGSEGV)"
    (tmp_path / "sketch.py").write_text(MAP.replace("maps = self.maps", f"{crash}\n        maps = self.maps"))
    registry.use_plugin(tmp_path / "sketch.py")
    found = {one.name: one for one in check_isolated("sketch", shared)}
    assert len(found) == 13
    assert [name for name, one in found.items() if one.status == "failed"] == ["a batch may be of one image"]
    assert "the process crashed (SIGSEGV), and so would a run" in found["a batch may be of one image"].detail
    with pytest.raises(UnknownNameError):
        check_isolated("nothing", shared)
