"""The cache of frozen features changes no bit of trainings and predictions, however it came to be, whatever befalls."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from train_cases import CPU, TASK, Photographs, boxes, log, weights

from bench import registry
from bench.core.progress import SILENT
from bench.errors import RequestError, RunError
from bench.training import collectives, feature_cache
from bench.training.batches import make_batch_source
from bench.training.feature_cache import PART, FeatureCache, ImageView, make_placeholder
from bench.training.inputs import Images
from bench.training.loop import build, fit
from bench.training.predict import Split, predict
from methods.nets import build as build_net

COUNT = PART + 3
ROWS = [(0, 0, 32, 24), (3, 2, 20, 21), (8, 4, 31, 23), (0, 0, 16, 12)]
MAPS = {"cam": {"neck": 4}, "weldon": {"k_plus": 2}, "danet": {"levels": 1, "maps": 2}, "classifier": {}}
REGIONS = {name: {"min_proposal": 0} for name in ("wsddn", "oicr", "melm")}


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny net, as if somebody had trained them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(build_net("tiny", "none", roi_head="own").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    return Photographs(tmp_path_factory.mktemp("photographs"), COUNT)


def make(name: str, weights_file: Path, **settings: Any) -> Any:
    """A method on the frozen tiny net."""
    cls = registry.method(name)
    own = {**MAPS, **REGIONS}.get(name, {})
    common = {"net": "tiny", "weights": str(weights_file), "freeze_backbone": True, "precision": "float32"}
    config = cls.Config(**{**common, "input_size": 32, "epochs": 2, **own, **settings})
    return build(cls, config, TASK, 0)


def open_cache(
    method: Any, photographs: Photographs, root: Path | None, most: int | None = None, **more: Any
) -> FeatureCache:
    """The cache of the features of a method's net; with root None, they are computed each time."""
    proposals = boxes(photographs, ROWS) if method.frozen_net().takes_boxes else None
    return FeatureCache(
        net=method.frozen_net(),
        images=Images(photographs),
        ids=photographs.ids,
        precision="float32",
        device=CPU,
        content=f"photographs {most}",
        proposals=None if proposals is None else lambda name: proposals.of(name)[:most],
        root=root,
        **more,
    )


def train(method: Any, photographs: Photographs, folder: Path, cache: FeatureCache | None, **more: Any) -> Any:
    """The method, trained with or without the cache."""
    proposals = boxes(photographs, ROWS) if cache and cache.net.takes_boxes else None
    truth = photographs.ground_truth("train")
    source, _ = make_batch_source(method.config, Images(photographs), truth, proposals)
    source.features = cache
    fit(method, source, folder, seed=0, device=CPU, **more)
    return method


def run(name: str, folder: Path, weights_file: Path, photographs: Photographs, *, cached: bool, **settings: Any) -> Any:
    """Weights and predictions of a method that was trained with or without the cache."""
    method = make(name, weights_file, **settings)
    root = folder / "cache" if cached else None
    most = settings.get("max_proposals")
    train(method, photographs, folder / "training", open_cache(method, photographs, root, most))
    proposals = boxes(photographs, ROWS) if method.frozen_net().takes_boxes else None
    cache = open_cache(method, photographs, root)
    split = Split(photographs.ground_truth("train"), Images(photographs, budget=0), proposals, cache)
    tables, _ = predict(method, split, method.kinds[:1], folder / "predictions", device=CPU)
    return weights(method), tables, log(folder / "training")


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (*MAPS, *REGIONS)),
    ("cam", {"flip": False}),
    ("cam", {"flip_test": True, "test_scales": (32, 48)}),
    ("cam", {"feature_norm": "none"}),
    ("wsddn", {"scales": (32, 48), "flip_test": True}),
    ("oicr", {"max_proposals": 3}),
    ("spg", {"width": 4, "mask_width": 4}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda value: str(value))
def test_the_cache_changes_no_bit(
    name: str, settings: dict[str, Any], tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    live = run(name, tmp_path / "live", weights_file, photographs, cached=False, **settings)
    photographs.opened.clear()
    cached = run(name, tmp_path / "cached", weights_file, photographs, cached=True, **settings)
    views = len(set(photographs.opened))
    assert views == COUNT
    assert cached[0] == live[0]
    assert {kind: table.equals(cached[1][kind]) for kind, table in live[1].items()} == dict.fromkeys(live[1], True)
    assert [epoch["loss"] for epoch in cached[2]] == [epoch["loss"] for epoch in live[2]]


def views_of(cache: FeatureCache) -> dict[str, bytes]:
    """The files of a cache, by path."""
    assert cache.root is not None
    return {str(path.relative_to(cache.root)): path.read_bytes() for path in sorted(cache.root.rglob("*.npy"))}


def test_a_cache_serves_every_method_and_process_with_the_same_net(
    tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    views = [ImageView(32), ImageView(32, True)]
    open_cache(make("cam", weights_file), photographs, tmp_path).fill(views)
    photographs.opened.clear()
    open_cache(make("weldon", weights_file, lr=1.0), photographs, tmp_path).fill(views)
    assert not photographs.opened
    open_cache(make("cam", weights_file), photographs, tmp_path).fill([ImageView(48)])
    assert len(photographs.opened) > COUNT - 1


def test_other_weights_images_and_sizes_have_other_features(
    tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    method = make("cam", weights_file)
    cache = open_cache(method, photographs, tmp_path)
    places = {cache._locate(ImageView(32)), cache._locate(ImageView(32, True)), cache._locate(ImageView(48))}
    other = open_cache(method, photographs, tmp_path, most=3)
    with torch.no_grad():
        method.backbone.trunk[0].weight[0, 0, 0, 0] += 1
    changed = open_cache(method, photographs, tmp_path)
    assert len(places | {other._locate(ImageView(32)), changed._locate(ImageView(32))}) == 5


def test_killed_while_it_fills_the_next_process_goes_on_from_there(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, views = make("cam", weights_file), [ImageView(32), ImageView(32, True)]
    write, written = feature_cache._write, list[Path]()

    def die(path: Path, array: Any) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, array)

    monkeypatch.setattr(feature_cache, "_write", die)
    with pytest.raises(KeyboardInterrupt):
        open_cache(method, photographs, tmp_path / "killed").fill(views)
    monkeypatch.undo()
    whole = [path for path in written if "geometry" in path.name]
    times = {path: path.stat().st_mtime_ns for path in whole}
    resumed, fresh = (open_cache(method, photographs, tmp_path / name) for name in ("killed", "fresh"))
    resumed.fill(views)
    fresh.fill(views)
    assert views_of(resumed) == views_of(fresh)
    assert {path: path.stat().st_mtime_ns for path in whole} == times


def test_two_processes_that_fill_it_at_once_leave_what_one_leaves(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, views = make("cam", weights_file), [ImageView(32)]
    one, other, alone = (open_cache(method, photographs, tmp_path / name) for name in ("both", "both", "alone"))
    store = FeatureCache._store

    def let_the_other_go_first(self: FeatureCache, *part: Any) -> None:
        if self is one:
            other.fill(views)
        store(self, *part)

    monkeypatch.setattr(FeatureCache, "_store", let_the_other_go_first)
    one.fill(views)
    monkeypatch.undo()
    alone.fill(views)
    assert views_of(one) == views_of(alone)
    assert one.read("00", views[0]) is not None


@pytest.mark.parametrize("what", ["all", "outputs", "geometry", "damaged", "empty", "garbage"])
def test_deleted_or_damaged_while_it_is_used_features_are_computed(
    what: str, tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    expected = run("cam", tmp_path / "live", weights_file, photographs, cached=False)
    method = make("cam", weights_file)
    cache = open_cache(method, photographs, tmp_path / "cache")
    truth = photographs.ground_truth("train")
    source, _ = make_batch_source(method.config, Images(photographs), truth, None)
    source.features = cache
    step, done = source.step, list[int]()

    def delete(*arguments: Any) -> Any:
        done.append(1)
        if len(done) == 2:
            harm(tmp_path / "cache", what)
            cache._map.cache_clear()  # type: ignore[attr-defined]
        return step(*arguments)

    source.step = delete  # type: ignore[method-assign]
    fit(method, source, tmp_path / "training", seed=0, device=CPU)
    assert weights(method) == expected[0]


def harm(root: Path, what: str) -> None:
    """Delete a cache, or a part of it, or cut its files short."""
    if what == "all":
        shutil.rmtree(root)
        return
    for path in root.rglob("*.npy"):
        if what == "damaged":
            path.write_bytes(path.read_bytes()[:100])
        elif what == "empty":
            path.write_bytes(b"")
        elif what == "garbage":
            path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + b"{" * 117 + b"\n")
        elif ("geometry" in path.name) == (what == "geometry"):
            path.unlink()


@pytest.mark.parametrize("what", ["outputs", "damaged", "empty", "garbage"])
def test_what_is_found_damaged_is_stored_again_by_the_next_run(
    what: str, tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    method, view = make("cam", weights_file), ImageView(32)
    open_cache(method, photographs, tmp_path).fill([view])
    whole = views_of(open_cache(method, photographs, tmp_path))
    harm(tmp_path, what)
    cache = open_cache(method, photographs, tmp_path)
    cache.fill([view])
    assert {cache.read(name, view) for name in photographs.ids} == {None}
    open_cache(method, photographs, tmp_path).fill([view])
    assert views_of(cache) == whole


class Sayings:
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said = list[str]()
        self.task = SILENT.task

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_features_are_computed_and_it_is_said(
    number: int, tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, progress = feature_cache._write, Sayings()

    def refuse(path: Path, array: Any) -> None:
        if "geometry" in path.name:
            raise OSError(number, "No room", str(path))
        write(path, array)

    monkeypatch.setattr(feature_cache, "_write", refuse)
    cache = open_cache(make("cam", weights_file), photographs, tmp_path / "cache", progress=progress)
    cache.fill([ImageView(32)])
    assert cache.read("00", ImageView(32)) is None
    assert not list((tmp_path / "cache").rglob("*.npy"))
    assert "Storing" in progress.said[0]
    assert "computed in every epoch (No room" in progress.said[1]


def test_a_disk_that_fills_up_keeps_what_was_there_before(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [ImageView(32), ImageView(48)]
    cache = open_cache(make("cam", weights_file), photographs, tmp_path)
    cache.fill(views[:1])
    last = cache._views[views[0]] / f"{PART:08d}.geometry.npy"
    last.unlink()
    before, write, written = views_of(cache), feature_cache._write, list[Path]()

    def refuse(path: Path, array: Any) -> None:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No room", str(path))
        written.append(path)
        write(path, array)

    monkeypatch.setattr(feature_cache, "_write", refuse)
    cache.fill(views)
    refilled = f"{last.parent.name}/{PART:08d}.output0.npy"
    assert views_of(cache).keys() == before.keys() - {refilled}
    assert cache.read("00", views[0]) is not None


def test_a_disk_without_room_is_not_written_to(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "RESERVE", 1 << 60)
    progress = Sayings()
    cache = open_cache(make("cam", weights_file), photographs, tmp_path, progress=progress)
    cache.fill([ImageView(32)])
    assert not list(tmp_path.rglob("*.npy"))
    assert len(progress.said) == 1
    assert "do not fit" in progress.said[0]


def test_what_is_stored_stays_and_is_read_where_the_rest_has_no_room(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = ImageView(32)
    open_cache(make("cam", weights_file), photographs, tmp_path).fill([view])
    last = f"{PART:08d}.geometry.npy"
    next(tmp_path.rglob(last)).unlink()
    before, free = views_of(open_cache(make("cam", weights_file), photographs, tmp_path)), feature_cache.RESERVE
    bytes_of_3_images = 3 * 128 * 16 * 2
    for room, said in ((bytes_of_3_images - 1, "do not fit"), (bytes_of_3_images, "Storing 12 KiB")):
        usage = SimpleNamespace(free=free + room)
        monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _, usage=usage: usage)
        progress = Sayings()
        cache = open_cache(make("cam", weights_file), photographs, tmp_path, progress=progress)
        cache.fill([view])
        assert said in progress.said[0]
        assert cache.read(photographs.ids[0], view) is not None
        assert before.items() <= views_of(cache).items()
    assert cache.read(photographs.ids[-1], view) is not None


def test_deleted_while_it_is_filled_it_does_without_what_is_gone(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, save, done = tmp_path / "cache", feature_cache.np.save, list[int]()

    def save_and_delete(*arguments: Any) -> None:
        save(*arguments)
        done.append(1)
        if len(done) == 2:
            shutil.rmtree(root)

    monkeypatch.setattr(feature_cache.np, "save", save_and_delete)
    cache = open_cache(make("cam", weights_file), photographs, root)
    cache.fill([ImageView(32)])
    found = [cache.read(name, ImageView(32)) is None for name in photographs.ids]
    assert {True, False} == set(found)


def test_open_files_are_few_however_many_there_are(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "OPEN", 2)
    views, descriptors = [ImageView(size, flip) for size in (32, 48) for flip in (False, True)], Path("/proc/self/fd")
    cache = open_cache(make("cam", weights_file), photographs, tmp_path)
    cache.fill(views)
    before = len(list(descriptors.iterdir()))
    assert all(cache.read(name, view) for view in views for name in photographs.ids)
    assert len(list(descriptors.iterdir())) <= before + 2


def test_gpus_of_one_model_share_features(
    tmp_path: Path, weights_file: Path, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "B" if device.index == 2 else "A")
    method = make("cam", weights_file)
    folders = []
    for number in range(3):
        cache = open_cache(method, photographs, tmp_path)
        cache.device = torch.device("cuda", number)
        folders.append(cache._locate(ImageView(32)))
    assert folders[0] == folders[1] != folders[2]


def test_its_size_is_said_before_it_is_written(tmp_path: Path, weights_file: Path, photographs: Photographs) -> None:
    progress = Sayings()
    cache = open_cache(make("cam", weights_file), photographs, tmp_path, progress=progress)
    cache.fill([ImageView(32)])
    size = sum(path.stat().st_size for path in tmp_path.rglob("*output*.npy"))
    assert f"{COUNT * 128 * 16 * 2 >> 10} KiB" in progress.said[0]
    assert size == pytest.approx(COUNT * 128 * 16 * 2, rel=0.01)


def test_channels_are_standardised_by_the_training_split(
    tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    method = make("wsddn", weights_file, min_proposal=0)
    cache = open_cache(method, photographs, None)
    net, features = method.frozen_net(), []
    method.eval()
    for name in photographs.ids:
        image = Images(photographs).load_fitted(name, 32)[0][None] / 255
        features += net.extract(image, torch.tensor(ROWS, dtype=torch.float32))
    values = torch.cat(features).double()
    means, stds = cache.measure_channels([32])
    torch.testing.assert_close(means[0], values.mean(0).float())
    torch.testing.assert_close(stds[0], values.std(0, correction=0).float(), atol=1e-5, rtol=1e-4)
    train(method, photographs, tmp_path, cache)
    image = Images(photographs).load_fitted("00", 32)[0][None] / 255
    found = method.backbone.regions(image, torch.tensor(ROWS, dtype=torch.float32))
    expected = (features[0] - means[0]) / stds[0].where(stds[0] > 0, 1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)  # float16, of layers laid out otherwise


@pytest.mark.parametrize("norm", ["standard", "none"])
@pytest.mark.parametrize("cached", [True, False])
def test_features_beyond_float16_are_refused_with_advice(
    norm: str, cached: bool, tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    huge = {name: value * 1e6 for name, value in torch.load(weights_file, weights_only=True).items()}
    torch.save(huge, tmp_path / "huge.pth")
    settings = {"weights": str(tmp_path / "huge.pth"), "feature_norm": norm, "epochs": 1}
    method = make("cam", weights_file, **settings)
    with pytest.raises(RunError, match="feature_precision=float32"):
        train(method, photographs, tmp_path, open_cache(method, photographs, tmp_path if cached else None))
    precise = make("cam", weights_file, **settings, feature_precision="float32", lr=1e-12)
    train(precise, photographs, tmp_path / "precise", open_cache(precise, photographs, None))


def test_a_method_that_changes_its_images_is_told(weights_file: Path) -> None:
    method = make("cam", weights_file)
    images = torch.zeros(1, 3, 32, 32)
    given = method.frozen_net().extract(images)
    with method.frozen_net().provide(images, given):
        method(images)
        with pytest.raises(RequestError, match="alters_images"):
            method(images.flip(-1))


def test_an_image_without_pixels_and_proposals_has_scores_of_none(weights_file: Path) -> None:
    method = make("wsddn", weights_file)
    scores = method(make_placeholder(1, 32, 32), torch.zeros(0, 4))
    assert (scores.shape, scores.device) == ((0, len(TASK.classes)), CPU)


@pytest.mark.parametrize(
    ("name", "levels", "stages"), [("danet", 1, 1), ("danet", 2, 2), ("danet", 3, 3), ("spg", 0, 2)]
)
def test_stages_that_are_not_used_are_not_kept(
    name: str, levels: int, stages: int, tmp_path: Path, weights_file: Path, photographs: Photographs
) -> None:
    settings: dict[str, Any] = {"supervise": "classes", "levels": levels} if levels else {}
    method = make(name, weights_file, width=8, **settings)
    train(method, photographs, tmp_path, cache := open_cache(method, photographs, tmp_path / "cache"))
    stored = cache.read("00", ImageView(32))
    assert stored is not None
    assert [one.shape[1] for one in stored.features] == [*method.backbone.stage_channels[-stages:]]
    assert len(method.backbone.frozen.standardise) == stages


def test_folded_into_the_output_layer_standardisation_changes_no_score(weights_file: Path) -> None:
    method = make("classifier", weights_file).eval()
    method.backbone.standardise([torch.rand(256)], [torch.rand(256) + 0.5])
    images = torch.rand(2, 3, 32, 32)
    before = method(images).scores
    method.fold_standardisation()
    torch.testing.assert_close(method(images).scores, before)
    assert method.backbone.frozen.standardise[0].std.unique().tolist() == [1]


@pytest.mark.parametrize("norm", ["standard", "none"])
@pytest.mark.parametrize("name", ["lrp", "mwp", "grad-cam", "gradient"])
def test_attributions_look_into_a_frozen_net(name: str, norm: str, weights_file: Path) -> None:
    cls, _ = registry.parse(name, {})
    settings = {"net": "tiny", "weights": str(weights_file), "freeze_backbone": True, "precision": "float32"}
    method: Any = build(cls, cls.Config(**settings, input_size=32, feature_norm=norm), TASK, 0).eval()  # type: ignore[type-var, arg-type]
    assert method(torch.rand(1, 3, 32, 32)).maps.abs().amax(dim=(2, 3)).ne(0).any()


def test_processes_do_not_average_statistics_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectives, "size", lambda: 3)
    monkeypatch.setattr(collectives.dist, "all_reduce", lambda values: values.mul_(3).add_(1e-6))
    net = torch.nn.ModuleDict({"kept": torch.nn.BatchNorm2d(4).eval(), "learned": torch.nn.BatchNorm2d(4)})
    collectives.average_statistics(net)
    assert net["kept"].running_var.unique().tolist() == [1.0]
    assert net["learned"].running_var.ne(1).all()
