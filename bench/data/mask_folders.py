"""The folder of masks beside photographs: recognised by its name, and by the content of its PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.data.left_out import LeftOut
from bench.data.pixels import are_binary
from bench.errors import BadFileError, format_count

MASK_FOLDERS = ("SegmentationClass", "masks")

OBJECTS = (
    'masks hold only 0 and 255, so 255 is taken as the object (masks_of = "objects"), for pxap; '
    "for seg, write 1 + the class's index"
)


_SUFFIXES = (".png", ".PNG", ".Png")


def find_mask(folder: Path, name: str) -> str:
    """Return the file name of the mask of an image without its suffix, which is `.png` where there is none."""
    return next((name + suffix for suffix in _SUFFIXES if (folder / (name + suffix)).is_file()), f"{name}.png")


def find_masks(folder: Path, names: Sequence[str]) -> tuple[dict[str, str], list[str], list[LeftOut]]:
    """Find the folder with a PNG for each image; return keys of a `Description`, notes, and the folders left out.

    Folders that lack some masks are left out. names: the images, without suffix.
    """
    left_out: list[LeftOut] = []
    for name in (one for one in MASK_FOLDERS if (folder / one).is_dir()):
        paths = [folder / name / find_mask(folder / name, image) for image in names]
        missing = [path for path in paths if not path.is_file()]
        if not missing and paths:
            keys, notes = _describe_masks(name, paths)
            return keys, notes, left_out
        if len(missing) < len(paths):
            left_out.append(_leave_out_incomplete(name, [path.name for path in missing], len(paths)))
    return {}, [], left_out


def find_listed_masks(folder: Path, images: Sequence[str], listed: str) -> LeftOut | None:
    """Return a list of images as left out if some have no mask; None if `SegmentationClass` has them all."""
    masks = folder / MASK_FOLDERS[0]
    missing = [f"{image}.png" for image in images if not (masks / find_mask(masks, image)).is_file()]
    return _leave_out_incomplete(listed, missing, len(images)) if missing else None


def _describe_masks(name: str, paths: Sequence[Path]) -> tuple[dict[str, str], list[str]]:
    try:
        of_objects = are_binary(paths)
    except BadFileError as error:
        return {"masks": name}, [f"a mask cannot be read: {error}"]
    return {"masks": name} | ({"masks_of": "objects"} if of_objects else {}), [OBJECTS] * of_objects


def _leave_out_incomplete(file: str, missing: Sequence[str], count: int) -> LeftOut:
    reason = f"{len(missing)} of {format_count(count, 'mask')} missing, first: {missing[0]}"
    return LeftOut((file,), reason, "Add them, and run data init again")
