"""How the texts of options are read."""

from __future__ import annotations

import click
import pytest

from bench.cli import options
from bench.errors import RequestError

OPTION = click.Option(["--set"])
CONTEXT = click.Context(click.Command("x"))


def test_options_that_repeat_take_commas_too() -> None:
    assert options.parse_names(CONTEXT, OPTION, ("cam, melm:l2+arl", "cam", "")) == ("cam", "melm:l2+arl")


def test_the_last_value_of_a_key_wins() -> None:
    values = ("net=tiny,size=128", "size=96", "scales=480+576", "proposals=a=b.npz")
    expected = {"net": "tiny", "size": "96", "scales": "480+576", "proposals": "a=b.npz"}
    assert options.parse_pairs(CONTEXT, OPTION, values) == expected


@pytest.mark.parametrize("text", ["size", "=3", "scales=480,576", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--set: expected key=value"):
        options.parse_pairs(CONTEXT, OPTION, (text,))


def test_switches_are_read_as_toml_where_they_are_toml() -> None:
    values = ("a=0.5,b=true,c=3", "d=>=", "e=area", 'f="0.5"')
    expected = {"a": 0.5, "b": True, "c": 3, "d": ">=", "e": "area", "f": "0.5"}
    assert options.parse_switches(CONTEXT, OPTION, values) == expected


def test_seeds_are_whole_numbers() -> None:
    assert options.parse_seeds(CONTEXT, OPTION, "0, 2,1,0") == (0, 2, 1)
    for text in ("", "a", "-1", "1.5", "1,,2"):
        with pytest.raises(RequestError, match="expected whole numbers"):
            options.parse_seeds(CONTEXT, OPTION, text)
