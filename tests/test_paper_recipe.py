"""The recipes `paper`: each value is the one that docs/recipes.md has, with its source, and each trains a step."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import registry
from bench.cli.output import format_value
from bench.errors import BadFileError, RequestError
from bench.paper_recipe import find_recipe, read_reasons, read_recipes

if TYPE_CHECKING:
    from conftest import Answer

METHODS = sorted(read_recipes())
PAGE = registry.ROOT / "docs" / "recipes.md"

NEEDED = {"net", "weights", "batch_size", "lr", "lr_drop", "head_lr_multiplier", "momentum", "weight_decay", "flip"}
"""Settings of every training."""

TINY = {
    "net": "tiny",
    "weights": "none",
    "input_size": 64,
    "resize_to": 72,
    "scales": "48+64",
    "iterations": 1,
    "warmup_steps": 0,
    "batch_size": 2,
    "width": 8,
    "neck": 8,
    "mask_width": 8,
    "min_proposal": 4,
    "max_proposals": 20,
}
"""What makes a step of a recipe quick; everything else is the recipe's."""

SHAPES = ["--data", "shapes", "--data-option", "train=6,val=2,test=2,size=64,classes=3"]


def read_page(method: str) -> list[tuple[str, str, str, str]]:
    """The rows of a method's table: setting, dataset, value, source."""
    section = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (own,) = [part for part in section if part.startswith(f"{method}\n")]
    return re.findall(r"^\| `(\w+)`(?: on (\S+))? \| `(.*?)` \| (.+) \|$", own, re.MULTILINE)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_recipe_configures_is_what_the_page_has_with_a_source(method: str) -> None:
    cls, variant = registry.parse(method)
    rows = read_page(method)
    assert len(rows) == len(find_recipe(method).settings) + sum(map(len, find_recipe(method).on.values()))
    for setting, dataset, value, source in rows:
        config = registry.configure(cls, variant, dataset=dataset, recipe={}, settings={}, paper=True)
        found = getattr(config, setting)
        assert (format_value(found) if found is not None else "none") == value
        assert len(source) >= 4


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_says_all_that_every_training_needs(method: str) -> None:
    settings = find_recipe(method).settings
    schedule = {"lr_steps"} if "iterations" in settings else {"lr_drop", "epochs"}
    assert (NEEDED - {"lr_drop"} | schedule) <= set(settings)
    assert {"augment", "test_crops", "input_size"} <= set(settings) or {"scales", "longest_side"} & set(settings)


def test_every_method_has_a_recipe_or_a_reason_for_having_none() -> None:
    assert set(registry.methods()) <= {*METHODS, *read_reasons()}
    assert not {*METHODS} & {*read_reasons()}
    assert {*METHODS} <= set(registry.methods())


def test_melms_recipe_is_that_of_its_section_4_1() -> None:
    cls, variant = registry.parse("melm")
    config = registry.configure(cls, variant, dataset="voc2007", recipe={}, settings={}, paper=True)
    assert (config.lr, config.epochs, config.lr_drop * config.epochs) == (5e-3, 20, 15)
    assert (config.scales, config.flip, config.flip_test) == ((480, 576, 688, 864, 1200), True, True)
    assert (config.batch_size, config.momentum, config.weight_decay) == (1, 0.9, 5e-4)


def test_a_recipe_stands_between_those_of_datasets_and_the_variant() -> None:
    cls, _ = registry.parse("acol")
    given: dict[str, Any] = {"dataset": "cub", "recipe": {"loss": "softmax", "lr": 1.0}, "settings": {"flip": False}}
    settled = registry.settle(cls, "third-branch", **given, paper=True)
    origins = {key: settled[key].origin for key in ("loss", "lr", "branches", "delta", "flip", "smooth")}
    assert origins == {
        "loss": "recipe of cub",
        "lr": "recipe paper",
        "branches": "variant third-branch",
        "delta": "recipe paper",
        "flip": "your setting",
        "smooth": "default",
    }
    assert (settled["delta"].value, settled["epochs"].value) == (0.7, 60)


def test_a_method_without_a_recipe_says_why() -> None:
    with pytest.raises(RequestError, match=r"no recipe paper for center: learns nothing\. Leave out --recipe"):
        find_recipe("center")
    with pytest.raises(RequestError, match=r"for mine: paper\.toml has none of it"):
        find_recipe("mine")


def test_a_value_without_a_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "paper.toml"
    path.write_text('[without]\n[shared]\n[cam]\npaper = "p"\nshared = []\n[cam.settings]\nlr = { value = 1 }\n')
    with pytest.raises(BadFileError, match=r"cam\.lr: expected"):
        read_recipes(path)


def test_show_has_the_papers_value_and_the_released_one_beside_ours(here: Callable[..., Answer]) -> None:
    text = here("show", "acol").out
    assert re.search(r"^ +ours +paper +released$", text, re.MULTILINE)
    assert re.search(r"^  net +vgg16-stride8 +vgg16 ", text, re.MULTILINE)
    assert re.search(r"^  batch_size +16 +open ", text, re.MULTILINE)
    assert re.search(r"^  inclusive +false +true ", text, re.MULTILINE)
    assert re.search(r"^  delta on cub +0\.7 +ACoL Table 6", text, re.MULTILINE)
    fields = {field["name"]: field for field in here("show", "acol", "--json").json()["config"]}
    assert fields["lr"]["paper"] == {"value": 1e-4, "source": "released", "open": True}
    assert fields["smooth"]["released"] is True
    assert "no recipe paper: learns nothing" in here("show", "center").out


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_a_recipe_trains_and_predicts(here: Callable[..., Answer], method: str) -> None:
    cls, variant = registry.parse(method)
    fields = cls.Config.model_fields
    settings = {key: value for key, value in TINY.items() if key in fields}
    if method == "ts-cam":
        settings["net"] = "timm:test_vit"  # it reads a transformer
    settled = registry.settle(cls, variant, dataset="shapes", recipe={}, settings=settings, paper=True)
    if method != "fast-rcnn":
        settings = {
            key: settings[key] for key in settings.keys() - registry.make_config(cls, settled).list_idle().keys()
        }
    else:
        del settings["input_size"]
        floor = here("run", "--method", "largest-proposal", "--protocol", "voc07-corloc", *SHAPES, "--json").json()
        settings["pseudo"] = floor["results"][0]["predictions"]
    protocol = "voc07-corloc" if "proposals" in fields else "voc07-cls"
    chosen = ",".join(f"{key}={value}" for key, value in settings.items())
    answer = here(
        "run", "--method", method, "--protocol", protocol, "--recipe", "paper", *SHAPES, "--set", chosen, "--json"
    )
    (result,) = answer.json()["results"]
    expected = {key: one.value for key, one in find_recipe(method).settings.items() if key not in settings}
    assert {key: format_value(result["config"][key]) for key in expected if expected[key] != "none"} == {
        key: format_value(value) for key, value in expected.items() if value != "none"
    }
    assert "  recipe paper: " in answer.err
