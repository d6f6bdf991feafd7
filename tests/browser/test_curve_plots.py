"""Lines against a threshold in a browser: the best have a colour and a name, all fit, and a table says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_cases import EVIL, draw_plots, generated

from bench.analysis.curves import Curve
from bench.site.build import write

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [360, 1440])
def test_the_best_lines_are_named_and_all_are_drawn(visit: Any, tmp_path: Path, width: int) -> None:
    (tmp_path / "records").mkdir()
    known = generated(tmp_path / "records", 9)
    values = (0.3, 0.5, 0.7)
    curves = {
        one.result.address: Curve("IoU threshold", 0.5, values, {"mAP_area": (0.9, 0.8 - place / 20, 0.1)})
        for place, one in enumerate(known)
    }
    write(known, tmp_path / "site", curves=curves)
    page = visit(tmp_path / "site" / "protocol" / "voc10-det.html", viewport={"width": width, "height": 900})
    draw_plots(page)
    figure = page.locator("figure.plot", has_text="against the IoU threshold")
    assert figure.locator(".legend > span").count() == 7
    assert figure.locator(".legend").inner_text().endswith("others")
    assert figure.locator('path[stroke^="var(--"]').count() == 9
    assert figure.locator('[stroke="var(--soft)"] line').count() == 1
    assert EVIL in figure.locator("svg").get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("summary", has_text="As a table").click()
    assert page.locator("details table tbody tr").count() == 9
