"""Pictures of a run, or of datasets, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from bench.errors import format_count
from bench.gallery.contact_sheet import Sheet
from bench.gallery.data_sheet import SplitSample
from bench.gallery.image_card import Example
from bench.site.material import HERE, make_renderer

COLOURS = (
    "Green: ground truth. Blue: hit. Red: miss. Yellow: other boxes of the class. Maps: blue is their minimum, red "
    "their maximum."
)


def render_page(sheet: Sheet) -> str:
    """Render the page of a contact sheet."""
    result = sheet.result
    about = f"{result.dataset} {result.split}, {result.images} images, result {result.address}."
    return _render(f"{result.label} · {result.protocol}", f"{about}\n{COLOURS}", sheet.notes, sheet.examples)


def render_samples(dataset: str, samples: Sequence[SplitSample]) -> str:
    """Render the page of random photographs of a dataset's splits."""
    notes = [note for sample in samples if (note := sample.describe_suspects())]
    examples = {
        f"{sample.split}: {len(sample.examples)} of {format_count(sample.images, 'image')}": sample.examples
        for sample in samples
    }
    about = "Random photographs, each as it is and with its ground truth: green, or yellow where it is difficult."
    return _render(dataset, about, notes, examples)


def _render(title: str, about: str, notes: Sequence[str], examples: Mapping[str, Sequence[Example]]) -> str:
    style = Markup((HERE / "assets" / "site.css").read_text(encoding="utf-8"))
    render = make_renderer()
    return render("sheet.html", "", title=title, about=about, style=style, notes=notes, examples=examples)
