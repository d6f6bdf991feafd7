"""What axe-core finds on each kind of page, with its plots drawn: nothing, in light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_cases import KINDS, Site, draw_plots

pytestmark = pytest.mark.slow

OPTIONS = {"resultTypes": ["violations"], "preload": False}
"""It would ask for the style sheet again, which the pages' content security policy forbids."""

CHECKS = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""Only colours are others in the dark."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(opened: Any, site: Site, scheme: str) -> None:
    page = opened("index.html", color_scheme=scheme)
    for path in KINDS:
        page.goto((site.root / path).as_uri())
        draw_plots(page)
        found = Axe().run(page, options=OPTIONS | CHECKS[scheme]).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == [], path
