"""What a command runs of a track: all or a few, what joins them, and the one file of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from track_cases import TINY, write_track

from bench import registry
from bench.core.files import Places, file_digest
from bench.errors import MissingDataError, RequestError, UnknownNameError
from bench.tracks.selection import (
    check_protocols,
    infer_group,
    make_requests,
    refuse_changes,
    select_methods,
    use_weights,
)
from bench.tracks.track import Track, read_track


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return read_track(str(write_track(tmp_path)))


def with_weights(folder: Path, digest: str) -> Track:
    text = TINY.replace('"none"', '"w.npz"').replace("version = 2", f'version = 2\nweights_digest = "{digest}"')
    return read_track(str(write_track(folder, text)))


def test_all_is_every_entry_and_other_names_join(track: Track) -> None:
    assert select_methods(track, ["all", "cam"]) == (["center", "cam-untrained", "cam"], [])
    assert select_methods(track, ["gmp", "cam"]) == (["cam"], ["gmp"])
    with pytest.raises(UnknownNameError, match="Did you mean: cam-untrained"):
        select_methods(track, ["cam-untraine"])
    with pytest.raises(UnknownNameError, match="Unknown variant of melm"):
        select_methods(track, ["melm:l2-arl"])
    with pytest.raises(UnknownNameError, match="Unknown protocol of track tiny 'voc07-cls'"):
        check_protocols(track, ["voc07-point", "voc07-cls"])


@pytest.mark.parametrize(
    ("name", "group"),
    [("center", "baselines"), ("cam", "maps"), ("grad-cam", "attributions"), ("wsddn", "proposals")],
)
def test_a_method_joins_the_group_of_its_class(name: str, group: str) -> None:
    assert infer_group(registry.method(name)) == group


def test_seed_by_seed_and_what_learns_nothing_once(track: Track) -> None:
    found = make_requests(track, ["center", "cam"], {"gmp": {"dropout": "0.1"}, "center": {}})
    assert [(one.method, one.protocol.name, one.seed) for one in found] == [
        ("center", "voc07-point", 0),
        ("cam", "voc07-point", 0),
        ("cam", "voc07-corloc", 0),
        ("gmp", "voc07-point", 0),
        ("gmp", "voc07-corloc", 0),
        ("center", "voc07-point", 0),
        ("cam", "voc07-point", 1),
        ("cam", "voc07-corloc", 1),
        ("gmp", "voc07-point", 1),
        ("gmp", "voc07-corloc", 1),
    ]
    assert found[3].settings == {"net": "tiny", "weights": "none", "epochs": 1, "dropout": "0.1"}
    assert {one.seed for one in make_requests(track, ["cam"], {}, seeds=[5])} == {5}


def test_what_the_track_fixes_is_not_set(track: Track) -> None:
    with pytest.raises(RequestError, match="--set epochs: track tiny fixes epochs=1 for maps"):
        make_requests(track, [], {"gmp": {"epochs": "9"}})
    with pytest.raises(RequestError, match="wsddn is one of the proposals, and track tiny has maps, baselines"):
        make_requests(track, [], {"wsddn": {}})
    with pytest.raises(RequestError, match=r"--set and --tuned-on: the track sets these for its methods \(cam\)"):
        refuse_changes(["cam"], {"lr": "1"}, "val-boxes")
    refuse_changes([], {"lr": "1"}, "val-boxes")


def test_weights_lie_here_or_in_the_data_root_or_where_they_are_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "data" / "weights" / "w.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    track = with_weights(tmp_path, file_digest(file))
    requests = make_requests(track, ["cam"], {}, seeds=[0])
    places = Places(tmp_path / "runs", tmp_path / "data")

    def used(given: str | None = None, root: Places = places) -> set[str]:
        return {str(one.settings["weights"]) for one in use_weights(track, requests, given, root)}

    assert used() == used(str(file)) == {str(file)}
    with pytest.raises(MissingDataError, match=r"w.npz, the weights of track tiny, not found: looked in w.npz\."):
        used(root=Places(tmp_path / "runs"))
    with pytest.raises(MissingDataError, match=r"looked in other/w.npz"):
        used("other/w.npz")
    with pytest.raises(RequestError, match=r"--weights v.npz: track tiny uses w.npz"):
        used("v.npz")
    (tmp_path / "w.npz").write_bytes(b"others")
    with pytest.raises(RequestError, match=rf"its digest is {file_digest(Path('w.npz'))}, not {file_digest(file)}"):
        used()


def test_what_needs_no_weights_asks_for_none(tmp_path: Path, track: Track) -> None:
    places = Places(tmp_path / "runs")
    needing = with_weights(tmp_path, "0" * 20)
    requests = make_requests(needing, ["center"], {})
    assert use_weights(needing, requests, None, places) == requests
    for each, methods in ((needing, ["center"]), (track, ["cam"])):
        with pytest.raises(RequestError, match=r"--weights w.npz: what runs of track tiny reads no weights"):
            use_weights(each, make_requests(each, methods, {}), "w.npz", places)
