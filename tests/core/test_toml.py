"""Every TOML file that a user writes is read by one reader, which names the key, the rule and what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from bench.core.toml import check_toml, read_toml
from bench.data.description import read_description
from bench.errors import BadFileError
from bench.paper_recipe import read_recipes
from bench.scoring.protocol import read_record
from bench.tracks.track import read_track
from slurm.profile import read_profile


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    file: str
    masks: str = ""


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    parts: dict[str, Part] = {}
    first: Part | None = None
    count: int = Field(1, ge=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("count = 1", "t.toml: name: Field required"),
        ("nam = 'a'", "t.toml: Unknown key 'nam'. Did you mean: name? Available: count, first, name, parts."),
        (
            "name = 'a'\n[parts.x]\nfiel = 'b'",
            "t.toml: Unknown key of [parts.x] 'fiel'. Did you mean: file? ",
        ),
        ("name = 'a'\nfirst = { file = 'a', mask = 'b' }", "Unknown key of [first] 'mask'. Did you mean: masks?"),
        ("name = 'a'\ncount = 0", "count: Input should be greater than or equal to 1, but got 0"),
        ("name = 'a'\nparts = { x = { file = 1 } }", "parts.x.file: Input should be a valid string, but got 1"),
    ],
)
def test_the_key_and_what_was_meant_are_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(BadFileError) as error:
        check_toml(tmp_path / "t.toml", read_toml(tmp_path / "t.toml"), Whole)
    assert says in str(error.value)


READERS: dict[str, Callable[[Path], object]] = {
    "any": read_toml,
    "dataset": read_description,
    "protocol": read_record,
    "track": lambda path: read_track(str(path)),
    "profile": lambda path: read_profile(str(path), {}),
    "recipes": read_recipes,
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\x00", b"a = 1\na = 2"])
def test_all_files_are_read_alike(kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=r"t\.toml: not valid TOML: "):
        READERS[kind](path)
