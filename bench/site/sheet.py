"""The pictures of a run as one self-contained page."""

from __future__ import annotations

from markupsafe import Markup

from bench.gallery.contact_sheet import Sheet
from bench.site.build import HERE, make_renderer


def render_page(sheet: Sheet) -> str:
    """Render the page of a contact sheet."""
    result = sheet.result
    return str(
        make_renderer()(
            "sheet.html",
            "",
            title=f"{result.label} · {result.protocol}",
            style=Markup((HERE / "assets" / "site.css").read_text(encoding="utf-8")),
            result=result,
            notes=sheet.notes,
            examples=sheet.examples,
        )
    )
