"""Names are found without importing what they name, and a wrong one says what was probably meant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from bench.method import BaseConfig, Predictor, prediction, training

PLUGIN = '''"""Says nothing at all."""

from bench.method import Predictor

class Mute(Predictor):
    kinds = ("boxes",)

    def predict(self, truth, proposals):
        return {}
'''


class Config(BaseConfig):
    net: str = training("vgg16", "backbone")
    size: int = training(224, "side", ge=32, le=4096)
    scales: tuple[int, ...] = training((), "larger sides")
    flip: bool = training(True, "mirror")
    limit: int | None = prediction(5, "at most so many")


class Sketch(Predictor):
    name = "sketch"
    Config = Config
    kinds = ("boxes",)
    variants = {"large": {"size": 448, "net": "alexnet"}}
    recipes = {"shapes": {"size": 96, "flip": False}}

    def predict(self, truth, proposals):
        return {}


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("weakloc_plugin"):
            del sys.modules[name]


def configured(**settings: object) -> Config:
    return registry.configure(Sketch, None, dataset="voc2007", recipe={}, settings=settings)


def test_every_method_file_is_listed_by_its_name_with_a_dash() -> None:
    files = {path.stem.replace("_", "-") for path in (registry.ROOT / "methods").glob("[!_]*.py")}
    assert set(registry.methods()) >= files
    assert "largest-proposal" in files


def test_a_listed_method_has_the_first_line_of_its_docstring() -> None:
    listed = registry.methods()["center"]
    assert Path(listed.origin).read_text().startswith(f'"""{listed.summary}')


def test_a_listed_protocol_has_its_summary() -> None:
    listed = registry.protocols()["voc07-det"]
    assert f'summary = "{listed.summary}"' in Path(listed.origin).read_text()


def test_folders_that_hold_no_methods_are_not_listed() -> None:
    assert not {"nets", "layers", "--init--"} & set(registry.methods())


def test_every_method_is_one_class_that_knows_its_name() -> None:
    for name in registry.methods():
        assert registry.method(name).name == name


def test_every_protocol_binds_to_its_family() -> None:
    for name in registry.protocols():
        bound = registry.bind(registry.protocol(name))
        assert set(bound.record.metrics) <= set(bound.family.METRICS)


@pytest.mark.parametrize(
    ("look_up", "near"),
    [
        (lambda: registry.method("centre"), "center"),
        (lambda: registry.protocol("voc07-dett"), "voc07-det"),
        (lambda: registry.family("detections"), "detection"),
        (lambda: registry.settle(Sketch, "larg", dataset="", recipe={}, settings={}), "large"),
        (lambda: configured(sizes=1), "size"),
        (lambda: registry.protocol("voc07-det").with_conventions({"iou_treshold": 0.5}), "iou_threshold"),
    ],
)
def test_a_mistyped_name_is_met_with_the_one_that_was_meant(look_up, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean: {near}"):
        look_up()


def test_a_method_is_named_with_its_variant() -> None:
    cls, variant = registry.parse("center")
    assert (cls.name, variant) == ("center", cls.default_variant)
    with pytest.raises(UnknownNameError, match="variant of center"):
        registry.parse("center:wide")


def test_the_last_to_speak_sets_a_field() -> None:
    settled = registry.settle(
        Sketch, "large", dataset="shapes", recipe={"net": "tiny", "size": 128, "epochs": 4}, settings={"net": "vgg16"}
    )
    assert {key: (one.value, one.origin) for key, one in settled.items()} == {
        "net": ("vgg16", "your setting"),
        "size": (448, "variant large"),
        "scales": ((), "default"),
        "flip": (False, "recipe of sketch for shapes"),
        "limit": (5, "default"),
    }


def test_a_recipe_of_the_dataset_may_speak_of_fields_that_a_method_lacks() -> None:
    config = registry.configure(Sketch, None, dataset="shapes", recipe={"net": "tiny", "epochs": 4}, settings={})
    assert (config.net, config.size) == ("tiny", 96)


def test_strings_are_read_as_the_type_of_their_field() -> None:
    config = configured(size="320", scales="480+576", flip="false", limit="none")
    assert (config.size, config.scales, config.flip, config.limit) == (320, (480, 576), False, None)
    assert configured(scales="").scales == ()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": "big"}, r"size=big \(your setting\) is not allowed: .*integer"),
        ({"size": "16"}, r"size=16 .*greater than or equal to 32"),
        ({"scales": "480+x"}, r"scales=480\+x .*integer"),
    ],
)
def test_a_bad_value_names_key_value_and_what_is_allowed(settings: dict[str, str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        configured(**settings)


def test_a_plugin_method_is_listed_and_imported_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mute_one.py"
    file.write_text(PLUGIN)
    registry.use_plugin(file)
    assert registry.methods()["mute-one"].summary == "Says nothing at all."
    assert registry.method("mute-one").__name__ == "Mute"
    assert registry.method("mute-one") is registry.method("mute-one")


def test_a_plugin_protocol_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "voc07-strict.toml"
    file.write_text(Path(registry.protocols()["voc07-det"].origin).read_text().replace("value = 0.5", "value = 0.75"))
    registry.use_plugin(file)
    assert registry.protocol("voc07-strict").conventions["iou_threshold"] == 0.75


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("absent.py", None, MissingDataError, "Plugin not found"),
        ("method.txt", "", RequestError, "expected a method"),
        ("center.py", PLUGIN, RequestError, "there is a method 'center' already"),
    ],
)
def test_a_plugin_that_cannot_be_is_refused(tmp_path: Path, name: str, text: str | None, error, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=says):
        registry.use_plugin(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:", r"cannot be imported: SyntaxError: .* \(odd.py, line 1\)\. Correct it, and run"),
        ("x = 1\ny = nothing", r"NameError: name 'nothing' is not defined \(odd.py, line 2\)\. Correct it, and run"),
        ("import no_such_module", r"No module named .* \(odd.py, line 1\)\. Install no_such_module, or put it beside"),
        ("from bench.method import Nothing", r"cannot import name 'Nothing' .* \(odd.py, line 1\)\. Correct it"),
        ("raise SystemExit(3)", r"SystemExit: 3 \(odd.py, line 1\)"),
        ("x = 1", "exactly one concrete method, but it has: none"),
        (PLUGIN + PLUGIN.replace("Mute", "Dumb"), "but it has: Mute, Dumb"),
    ],
)
def test_a_plugin_that_is_no_method_is_listed_and_says_why_when_used(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "odd.py"
    file.write_text(text)
    registry.use_plugin(file)
    assert "odd" in registry.methods()
    with pytest.raises(BadFileError, match=says):
        registry.method("odd")


def test_entry_points_of_other_distributions_are_found_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "their_lab"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "mute.py").write_text(PLUGIN)
    (package / "lab-det.toml").write_text('summary = "Their own"')
    entries = [
        EntryPoint("mute", "their_lab.mute", "bench.methods"),
        EntryPoint("theirs", "their_lab", "bench.protocols"),
        EntryPoint("gone", "no_such_package.gone", "bench.methods"),
    ]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_entry_points", lambda group: [one for one in entries if one.group == group])
    assert registry.methods()["mute"].summary == "Says nothing at all."
    assert registry.methods()["gone"].summary == "(module no_such_package.gone is not installed)"
    assert registry.protocols()["lab-det"].summary == "Their own"
