"""The description of a user's own dataset: a TOML file that locates its images, labels, boxes and masks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.core.toml import check_toml, read_toml
from bench.data.dataset import PART
from bench.data.lists import is_safe_name

Layout = Literal["voc", "coco", "folder", "csv"]

_ONLY_IN = {"annotations": ("voc",), "ids": ("coco",), "boxes": ("folder",), "images": ("voc", "coco", "csv")}
"""The layouts in which a key has a meaning."""


class SplitSource(BaseModel):
    """Where a split comes from: `file`, below the dataset's folder, or a part of another split (`all:1-4of5`).

    file: a list of ids, or a folder of annotations (`voc`); the instances (`coco`); a folder with a folder for each
    class (`folder`); a table (`csv`). more: other such files, after it. images, masks: instead of the dataset's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    more: tuple[str, ...] = ()
    images: str | None = None
    masks: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("file"), list) and value["file"]:
            value = value | {"file": value["file"][0], "more": tuple(value["file"][1:])}
        if isinstance(value, list) and value:
            value = {"file": value[0], "more": tuple(value[1:])}
        return {"file": value} if isinstance(value, str) else value

    @property
    def whole(self) -> str | None:
        """The split that this one is a part of; None if it is read from a file."""
        part = PART.fullmatch(self.file)
        return part["split"] if part else None


class Description(BaseModel):
    """A dataset: its layout, its classes in order, and where its splits are, all below `folder`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name in commands, tables and records."""
    summary: str = ""
    licence: str = ""
    """The terms of its images and annotations, in one line."""
    layout: Layout
    folder: str = "."
    """Folder of the dataset, from the file's own; all other paths are below it."""
    images: str = "."
    """Folder of the photographs."""
    annotations: str = "Annotations"
    """Layout voc: folder of the XML files."""
    ids: Literal["number", "file"] = "number"
    """Layout coco: an image's id is its number, or its file, where two splits have the same numbers."""
    boxes: str | None = None
    """Layout folder: table of boxes, `image,label,x1,y1,x2,y2[,difficult]`, to evaluate with."""
    masks: str | None = None
    """Folder of PNG masks, one for each image and named as it is."""
    masks_of: Literal["classes", "objects"] = "classes"
    """Pixels of a mask are 0, 1 + the class's index, or 255 to ignore; or, of `objects` of the class, above 0."""
    classes: tuple[str, ...] = Field(min_length=1)
    splits: dict[str, SplitSource] = Field(min_length=1)
    recipe: dict[str, Any] = {}
    """Settings of methods, where a user gives no others."""

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := sorted({name for name in classes if classes.count(name) > 1}):
            raise ValueError(f"class {repeated[0]!r} is listed twice")
        for name in classes:
            if not is_safe_name(name) or name != name.strip():
                raise ValueError(f"{name!r} cannot be the name of a class")
        return classes

    @model_validator(mode="after")
    def _check_paths(self) -> Description:
        paths = {key: getattr(self, key) for key in ("images", "annotations", "boxes", "masks")}
        for name, source in self.splits.items():
            if not is_safe_name(name) or ":" in name:
                raise ValueError(f"splits: {name!r} cannot be the name of a split")
            if source.whole is not None:
                self._check_part(name, source)
                continue
            paths |= {f"splits.{name}.{key}": value for key, value in source.model_dump(exclude={"more"}).items()}
            paths |= {f"splits.{name}.file {row}": value for row, value in enumerate(source.more, 1)}
        for key, path in paths.items():
            if path is not None and path != "." and not is_safe_name(path):
                raise ValueError(f"{key}: expected a path below the dataset's folder, but got {path!r}")
        for key in self.model_fields_set & _ONLY_IN.keys():
            if self.layout not in _ONLY_IN[key]:
                raise ValueError(
                    f"{key}: only layout {' or '.join(_ONLY_IN[key])} has this key, and this one is {self.layout}"
                )
        return self

    def _check_part(self, name: str, source: SplitSource) -> None:
        whole = self.splits.get(source.whole or "")
        if whole is None or whole.whole is not None:
            raise ValueError(f"splits.{name}: {source.file!r} must be part of a split that is read from a file")
        if source.images or source.masks or source.more:
            raise ValueError(f"splits.{name}: a part of another split has no files, images or masks of its own")


def read_description(path: Path) -> Description:
    """Read a description. Raises BadFileError, naming the key and the rule."""
    return check_toml(path, read_toml(path), Description)


def format_description(description: Description) -> str:
    """Format a description as TOML, which `read_description` can read."""
    fields = description.model_dump(mode="json", exclude_unset=True)
    tables = {key: fields.pop(key) for key in ("splits", "recipe") if key in fields}
    lines = [f"{key} = {_format_value(value)}" for key, value in fields.items()]
    for key, table in tables.items():
        lines += ["", f"[{key}]", *(f"{_format_key(name)} = {_format_value(one)}" for name, one in table.items())]
    return "\n".join([*lines, ""])


def _format_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _format_value(name)


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        given = {key: one for key, one in value.items() if one is not None and key != "more"}
        if value.get("more"):
            given["file"] = [given["file"], *value["more"]]
        if given.keys() == {"file"}:
            return _format_value(given["file"])
        return "{ " + ", ".join(f"{_format_key(key)} = {_format_value(one)}" for key, one in given.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
