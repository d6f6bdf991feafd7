"""DANet: its losses and maps by hand on three levels, and what each variant leaves out or does otherwise."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from map_cases import IMAGES, made
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, interpolate

from bench import registry
from bench.data.scenes import SHAPE_CLASSES
from bench.errors import RequestError
from bench.method import Cells, Task
from bench.predictions.decode import points_and_boxes
from methods.danet import Danet, select_equal_ranks
from methods.layers.divergence import pairwise_cosine

TASK = Task("shapes", tuple(kind.name for kind in SHAPE_CLASSES))
OUTLINES = ["compact" if kind.body in ("disc", "slab") else "pointed" for kind in SHAPE_CLASSES]
BODIES = [kind.body for kind in SHAPE_CLASSES]
LABELS = -torch.ones(2, 12)
LABELS[0, 3], LABELS[1, 5] = 1, 1


def danet(**settings: Any) -> Danet:
    return made(Danet, TASK, **settings)


def heads(method: Danet) -> list[Tensor]:
    """The maps (B, n, K, h, w) of each level."""
    stages = method.backbone.stages(IMAGES)[-len(method.heads) :]
    flat = [head(stage) for head, stage in zip(method.heads, stages, strict=True)]
    return [one.unflatten(1, (-1, method.config.maps)) for one in flat]


def test_each_stage_has_a_head_with_k_maps_for_every_name_of_its_level() -> None:
    method = danet()
    assert [level.names for level in method.levels] == [
        ("compact", "pointed"),
        ("disc", "slab", "wedge", "cross"),
        TASK.classes,
    ]
    assert [tuple(one.shape[:3]) for one in heads(method)] == [(2, 2, 8), (2, 4, 8), (2, 12, 8)]


def test_a_classs_map_is_the_mean_of_its_ancestors_and_its_score_is_its_own() -> None:
    method, fused = danet(map_alignment="resize"), torch.zeros(2, 12, 16, 12)
    found, maps = method(IMAGES), heads(method)
    of_class = [
        [level.names.index(name) for name in names]
        for level, names in zip(method.levels, (OUTLINES, BODIES, TASK.classes), strict=True)
    ]
    for level, rows in zip(maps, of_class, strict=True):
        mean = interpolate(level.mean(dim=2), (16, 12), mode="bilinear")
        fused += torch.stack([mean[:, row] for row in rows], dim=1) / 3
    torch.testing.assert_close(found.maps, fused)
    torch.testing.assert_close(found.scores, maps[-1].mean(dim=(2, 3, 4)))


def test_maps_of_levels_are_averaged_where_their_cells_lie() -> None:
    """Cell 1 of conv5, and of conv4, is centred where cell 2 of conv3 is."""
    method = danet()
    maps = [level.mean(dim=2) for level in heads(method)]
    fused = torch.zeros(2, 12, 7, 5)
    for level, values, every in zip(method.levels, maps, (2, 1, 1), strict=True):
        fused += level.expand_to_classes(values)[:, :, ::every, ::every][:, :, :7, :5] / 3
    found = method(IMAGES)
    assert found.cells == Cells(0.5, 4.0)
    torch.testing.assert_close(found.maps[:, :, ::2, ::2][:, :, :7, :5], fused)


def test_losses_of_levels_are_divided_by_their_number_of_names() -> None:
    method = danet(loss="softmax", kept=1.0)
    terms = method.loss(IMAGES, LABELS)
    targets = [
        torch.tensor([OUTLINES[3] == "pointed", OUTLINES[5] == "pointed"]).long(),
        torch.tensor([3, 1]),
        torch.tensor([3, 5]),
    ]
    for number, (maps, target) in enumerate(zip(heads(method), targets, strict=True), start=1):
        logits = maps.mean(dim=(2, 3, 4))
        torch.testing.assert_close(terms[f"level {number}"], cross_entropy(logits, target) / logits.shape[1])


def test_the_divergence_is_summed_over_pairs_and_levels_of_what_is_present() -> None:
    method = danet(kept=1.0, divergence=0.5)
    rows = [(0, 1), (3, 1), (3, 5)]
    rows[0] = tuple(int(OUTLINES[place] == "pointed") for place in (3, 5))  # type: ignore[assignment]
    expected = sum(
        pairwise_cosine(torch.stack([maps[0, first], maps[1, second]])).mean().item()
        for maps, (first, second) in zip(heads(method), rows, strict=True)
    )
    assert method.loss(IMAGES, LABELS)["divergence"].item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_half_the_maps_are_trained_in_a_batch_others_in_the_next() -> None:
    method = danet(levels=1)
    trained = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        method.zero_grad()
        torch.stack(list(method.loss(IMAGES, LABELS).values())).sum().backward()
        grad = method.heads[0][-1].weight.grad
        assert grad is not None
        moved = grad.view(12, 8, -1).ne(0).any(dim=2)
        assert moved.sum(dim=1).tolist() == [4] * 12
        trained.append(moved)
    assert trained[0].equal(trained[1])
    assert not trained[0].equal(trained[2])


def config(variant: str | None) -> Any:
    cls, _ = registry.parse("danet")
    return registry.configure(cls, variant, dataset="shapes", recipe={}, settings={})


@pytest.mark.parametrize(
    ("variant", "levels", "maps", "terms"),
    [
        (None, (2, 4, 12), 8, {"level 1", "level 2", "level 3", "divergence"}),
        ("hda", (2, 4, 12), 1, {"level 1", "level 2", "level 3"}),
        ("hda-2", (4, 12), 1, {"level 1", "level 2"}),
        ("hda-1", (12,), 1, {"level 1"}),
        ("dda", (12,), 8, {"level 1", "divergence"}),
        ("multi-loss", (12, 12, 12), 1, {"level 1", "level 2", "level 3"}),
        ("released", (2, 4, 12), 8, {"level 1", "level 2", "level 3", "divergence"}),
    ],
)
def test_variants(variant: str | None, levels: tuple[int, ...], maps: int, terms: set[str]) -> None:
    cls, _ = registry.parse("danet")
    chosen = {} if variant is None else cls.variants[variant]
    method = danet(**chosen)
    assert tuple(len(level.names) for level in method.levels) == levels
    assert config(variant).maps == maps
    assert set(method.loss(IMAGES, LABELS)) == terms
    assert method(IMAGES).maps.shape[:2] == (2, 12)


def test_the_head_of_the_coarsest_level_may_have_another_width() -> None:
    widths = [
        [layer.out_channels for layer in head.modules() if isinstance(layer, nn.Conv2d)][:2]
        for head in danet(root_width=6).heads
    ]
    assert widths == [[6, 6], [16, 16], [16, 16]]
    assert config("released").root_width == 512


def test_released_halves_each_loss_and_takes_the_mean_similarity_over_all_levels() -> None:
    method = danet(loss="softmax", kept=1.0, compare="all", balance="even", divergence=1.0, maps=2)
    maps, found = heads(method), set[int]()
    rows = [[int(OUTLINES[place] == "pointed"), 3 if place == 3 else 1, place] for place in (3, 5)]
    size = maps[0].shape[3:]
    own = [
        torch.cat(
            [
                interpolate(maps[level][image, [row]], size, mode="bilinear", align_corners=True)[0]
                for level, row in enumerate(names)
            ]
        )
        for image, names in enumerate(rows)
    ]
    choices = torch.tensor([_alike(own, some) for some in combinations(range(6), 3)])
    for seed in range(5):
        torch.manual_seed(seed)
        terms = method.loss(IMAGES, LABELS)
        apart = (choices - terms["divergence"].item()).abs()
        assert apart.min() < 1e-5
        found.add(int(apart.argmin()))
    assert len(found) > 1
    torch.testing.assert_close(terms["level 3"], 0.5 * cross_entropy(maps[2].mean(dim=(2, 3, 4)), torch.tensor([3, 5])))


def _alike(own: list[Tensor], some: tuple[int, ...]) -> float:
    """The mean over images of the mean cosine, without its sign, of some of an image's maps (6, h, w)."""
    means = [
        torch.stack([cosine_similarity(maps[a].flatten(), maps[b].flatten(), dim=0) for a, b in combinations(some, 2)])
        for maps in own
    ]
    return torch.stack([one.mean().abs() for one in means]).mean().item()


def test_released_fuses_with_the_names_that_rank_where_the_class_does() -> None:
    maps = torch.arange(3.0).view(1, 3, 1, 1)
    names, classes = torch.tensor([[0.5, 2.0, 1.0]]), torch.tensor([[3.0, 9.0, 1.0, 0.0]])
    assert select_equal_ranks(maps, names, classes).flatten().tolist() == [2, 1, 0, 0]


def test_released_maps_are_means_of_what_is_positive() -> None:
    method = danet(levels=1, fusion="ranks")
    torch.testing.assert_close(method(IMAGES).maps, heads(method)[0].relu().mean(dim=2))


def test_released_boxes_enclose_all_that_is_above_a_share_of_the_maps_range() -> None:
    """A blob on a floor of .3: above .2 of the maximum is the whole image, above .2 of the range is the blob."""
    floor = torch.full((1, 30, 40), 0.3)
    floor[0, 10:20, 12:25] = 1.0
    boxes = {}
    for variant in ("released", "dda"):
        settings = config(variant)
        boxes[variant] = points_and_boxes(floor, 40, 30, rule=settings.box_rule, threshold=0.2)[1][0].tolist()
    assert boxes == {"released": [[12, 10, 25, 20]], "dda": [[0, 0, 40, 30]]}


def test_several_and_unknown_classes_give_finite_losses() -> None:
    labels = torch.tensor([[1.0] * 6 + [-1] * 6, [0.0] * 12])
    for settings in ({}, {"loss": "softmax"}, {"compare": "all"}):
        assert all(term.isfinite() for term in danet(**settings).loss(IMAGES, labels).values())


def test_more_levels_than_the_hierarchy_has_are_refused(tmp_path: Any) -> None:
    (tmp_path / "two.txt").write_text("".join(f"{name}\tone\n" for name in TASK.classes))
    with pytest.raises(RequestError, match=r"levels=3 is not allowed: the hierarchy of shapes has 2"):
        danet(hierarchy=str(tmp_path / "two.txt"))
    assert len(danet(hierarchy=str(tmp_path / "two.txt"), levels=2).levels) == 2


def test_one_level_needs_no_hierarchy() -> None:
    assert made(Danet, Task("mit67", ("bar", "gym")), levels=1).levels[0].names == ("bar", "gym")
