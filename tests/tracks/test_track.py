"""A track says what is compared: its file is read or refused by the key, and results are its own or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_cases import RECORD
from track_cases import TINY, write_track

from bench import registry
from bench.errors import BadFileError, UnknownNameError
from bench.records.result import Result
from bench.tracks.track import Track, list_tracks, read_track

LAPTOP = read_track("voc07-laptop")


def result(label: str = "cam", protocol: str = "voc07-point-val", track: Track = LAPTOP, **changes: Any) -> Result:
    """What a map method gives in a track; `config` and other fields may be changed."""
    method, _, variant = label.partition(":")
    bound = registry.bind(registry.protocol(protocol))
    config = track.share_settings("maps") | changes.pop("config", {})
    fields = {
        "address": label.replace(":", "-"),
        "protocol": protocol,
        "family": bound.record.family,
        "conventions": bound.conventions.model_dump(mode="json"),
        "dataset": track.dataset,
        "split": track.find_split(protocol) if protocol in track.protocols else bound.record.eval_split,
        "partial": True,
        "method": method,
        "variant": variant or None,
        "seed": 0,
        "config": config,
        "weights": track.weights_digest,
        "train_split": track.train_split,
        "metrics": {"accuracy": 0.5},
        "higher_is_better": {"accuracy": True},
        "seconds": {"training": 1.0, "prediction": 1.0, "scoring": 1.0},
    }
    return Result(**{**RECORD, **fields, **changes})


@pytest.mark.parametrize("name", list_tracks())
def test_every_entry_of_a_track_is_a_method_with_settings_that_it_has(name: str) -> None:
    track = read_track(name)
    assert track.protocols
    for entry in track.methods:
        requests = track.make_requests(entry, seed=0)
        assert requests, entry
        cls, variant = registry.parse(requests[0].method)
        registry.configure(cls, variant, dataset=track.dataset, recipe={}, settings=requests[0].settings)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("version = 2", "version = 0", "tiny.toml: version: "),
        ("minutes = 1\n", "", "minutes: Field required"),
        ('dataset = "shapes"', 'data = "shapes"', r"Unknown key 'data'\. Did you mean: dataset"),
        ("epochs = 0", "epochs = [0]", "methods.cam-untrained.settings.epochs"),
        ('by = "boxes"', 'by = "masks"', "methods.cam.search.by"),
        ('[methods.cam]\ngroup = "maps"', '[methods.cam]\ngroup = "proposals"', "methods.cam: the track has no group"),
        ("epochs = 0 }", 'epochs = 0 }\nlike = "melm"', "methods: cam-untrained: like names an entry"),
        ("trial = 7 }", 'trial = 7 }\nlike = "cam-untrained"', "methods: cam: like names an entry"),
        ('voc07-point = "val"', 'voc07-seg = "val"', "splits.voc07-seg: no group is evaluated under it"),
        ('weights = "none"', "net_stride = 8\n[nothing]", "Unknown key 'nothing'"),
        ("version = 2", 'version = 2\nweights_digest = "a"\nname = "mine"', "name: the track's name is the file's"),
        ("version = 2", "version = ", "not valid TOML"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_the_key(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in TINY
    with pytest.raises(BadFileError, match=says):
        read_track(str(write_track(tmp_path, TINY.replace(before, after))))


def test_a_digest_of_weights_needs_their_name(tmp_path: Path) -> None:
    text = TINY.replace('weights = "none"', "").replace("version = 2", 'version = 2\nweights_digest = "abc"')
    with pytest.raises(BadFileError, match="weights_digest: the settings name no weights"):
        read_track(str(write_track(tmp_path, text)))


def test_a_shared_setting_is_one_of_a_method(tmp_path: Path) -> None:
    track = read_track(str(write_track(tmp_path, TINY.replace('weights = "none"', 'weigths = "none"'))))
    with pytest.raises(UnknownNameError, match=r"Unknown setting in track tiny 'weigths'\. Did you mean: weights"):
        track.make_requests("cam", seed=0)


def test_an_unknown_track_is_met_with_the_one_that_was_meant() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: voc07-laptop"):
        read_track("voc7-laptop")


def test_a_track_that_extends_another_says_only_what_is_different(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(
        f'extends = "{write_track(tmp_path)}"\nversion = 3\n[settings]\nnet = "alexnet"'
    )
    track = read_track(str(tmp_path / "more.toml"))
    assert (track.name, track.version) == ("more", 3)
    assert track.settings == {"net": "alexnet", "weights": "none"}
    assert list(track.methods) == ["center", "cam-untrained", "cam"]


def test_a_track_may_leave_out_methods_of_the_one_that_it_extends(tmp_path: Path) -> None:
    write_track(tmp_path)
    more = tmp_path / "more.toml"
    more.write_text(f'extends = "{tmp_path / "tiny.toml"}"\nwithout = ["cam-untrained"]')
    assert list(read_track(str(more)).methods) == ["center", "cam"]
    more.write_text(f'extends = "{tmp_path / "tiny.toml"}"\nwithout = ["gmp"]')
    with pytest.raises(BadFileError, match=r"without: Unknown method of the extended track 'gmp'\. Available: "):
        read_track(str(more))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[groups.extra]\nsettings = {}", "groups.extra"),
        ("groups = 3", "groups"),
        ("splits = 3", "splits"),
        ("[groups.maps]\nprotocols = 5", "groups.maps.protocols"),
        ("methods = 3", "methods"),
        ("without = 3", "without: expected a list of methods"),
    ],
)
def test_of_a_malformed_track_that_extends_another_the_key_is_named(tmp_path: Path, text: str, rule: str) -> None:
    more = tmp_path / "more.toml"
    more.write_text(f'extends = "voc07-laptop"\n{text}\n')
    with pytest.raises(BadFileError, match=rule):
        read_track(str(more))


def test_a_track_has_no_splits_of_protocols_that_it_leaves_out_of_another(tmp_path: Path) -> None:
    groups = "".join(
        f'[groups.{name}]\nprotocols = ["voc07-corloc"]\n' for name in ("maps", "attributions", "baselines")
    )
    more = tmp_path / "more.toml"
    more.write_text(f'extends = "voc07-laptop"\n{groups}')
    assert read_track("voc07-laptop").splits
    assert read_track(str(more)).splits == {}
    more.write_text(f'extends = "voc07-laptop"\n{groups}[splits]\nvoc07-seg-val = "val"\n')
    with pytest.raises(BadFileError, match="voc07-seg-val: no group is evaluated under it"):
        read_track(str(more))


def test_an_entry_that_is_like_another_shares_its_settings_and_search(tmp_path: Path) -> None:
    more = TINY + '\n[methods.other]\ngroup = "maps"\nmethod = "has"\nlike = "cam"\nsettings = { hidden = 0.2 }\n'
    track = read_track(str(write_track(tmp_path, more)))
    assert track.methods["other"].settings == {"dropout": 0.25, "hidden": 0.2}
    assert track.methods["other"].search == track.methods["cam"].search
    assert {request.tuned_on for request in track.make_requests("other", 0)} == {"val-boxes"}


def test_requests_are_of_the_protocols_that_accept_what_a_method_makes(tmp_path: Path) -> None:
    track = read_track(str(write_track(tmp_path)))
    assert [request.protocol.name for request in track.make_requests("center", 0)] == ["voc07-point"]
    point, corloc = track.make_requests("cam", 1)
    assert (point.split, corloc.split, point.train_split, point.seed) == ("val", None, "train", 1)
    assert point.settings == {"net": "tiny", "weights": "none", "epochs": 1, "dropout": 0.25}
    assert (point.tuned_on, track.make_requests("cam-untrained", 0)[0].tuned_on) == ("val-boxes", "none")
    assert str(track.make_requests("cam-untrained", 0)[0]) == "cam-untrained under voc07-point, seed 0"
    assert [request.protocol.name for request in track.make_requests("cam", 0, ("voc07-corloc",))] == ["voc07-corloc"]


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "val"},
        {"train_split": "train"},
        {"weights": "f" * 20},
        {"dataset": "shapes"},
        {"protocol": "voc07-point"},
        {"config": {"epochs": 3}},
        {"config": {"net": "alexnet"}},
        {"conventions": {}},
        {"seconds": {}},
    ],
)
def test_a_result_of_other_conditions_is_not_the_tracks(changes: dict[str, Any]) -> None:
    assert LAPTOP.includes(result())
    assert not LAPTOP.includes(result(**changes))
    assert LAPTOP.includes(result("someones"))
    assert not LAPTOP.includes(result("someones", **changes))


def test_an_entry_is_known_by_its_settings() -> None:
    assert LAPTOP.find_entry(result()) == "cam"
    assert LAPTOP.find_entry(result(config={"epochs": 0})) == "cam-untrained"
    assert LAPTOP.find_entry(result(config={"epochs": 0}, protocol="voc07-corloc")) == "cam-untrained"
    assert LAPTOP.find_entry(result("someones")) is None


def test_a_setting_that_a_track_does_not_name_makes_another_result() -> None:
    settings = LAPTOP.list_settings("cam")
    assert LAPTOP.find_entry(result(config=settings, given=tuple(settings))) == "cam"
    other = result(config=settings | {"flip": False}, given=(*settings, "flip"))
    assert LAPTOP.find_entry(other) is None
    assert not LAPTOP.includes(other)
    assert LAPTOP.includes(result("someones", config={"own": 1}, given=(*LAPTOP.share_settings("maps"), "own")))


def test_an_entry_of_a_bare_name_is_the_default_variant() -> None:
    settings = LAPTOP.share_settings("proposals") | {"proposals": "selective-search"}

    def entry(label: str) -> str | None:
        return LAPTOP.find_entry(result(label, "voc07-corloc", config=settings | LAPTOP.methods["wsddn"].settings))

    assert registry.default_variant("wsddn") == "paper"
    assert entry("wsddn:paper") == "wsddn"
    assert entry("wsddn:released") is None
    assert LAPTOP.includes(result("wsddn:released", "voc07-corloc", config=settings))  # it has no entry, and joins


def test_what_joins_is_held_to_the_settings_of_its_own_group() -> None:
    regions = {"proposals": "p.npz", **LAPTOP.share_settings("proposals")}
    assert LAPTOP.includes(result("someones", "voc07-corloc", config=regions))
    assert not LAPTOP.includes(result("someones", "voc07-corloc", config=regions | {"input_size": 1}))
    assert not LAPTOP.includes(result("someones", "voc07-cls-val", config=regions))  # no protocol of proposals


def test_a_baseline_has_no_training() -> None:
    nothing = {"config": {}, "weights": None, "train_split": None, "seed": None}
    center = result("center").model_copy(update=nothing)
    assert LAPTOP.find_entry(center) == "center"
    assert LAPTOP.includes(center.model_copy(update={"method": "someones"}))
    assert not LAPTOP.includes(center.model_copy(update={"seconds": {"scoring": 1.0}}))  # a file that was scored
