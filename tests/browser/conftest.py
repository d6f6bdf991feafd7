"""What the browser's tests share: one Chromium, a large site, and pages on which nothing may go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_cases import CHROMIUM, MEASURED, Site, chromium, generated

from bench.core.files import Places
from bench.records.collection import list_results
from bench.site.build import write

OWN = ("file://", "data:", "blob:")
"""Addresses of what a page may load."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    published = list_results(Places(folder / "runs"), MEASURED)
    (folder / "records").mkdir()
    known = [*published, *generated(folder / "records")]
    roots = folder / "one", folder / "two"
    for root in roots:
        write(known, root)
    pages = sorted(path.relative_to(roots[0]).as_posix() for path in roots[0].rglob("*.html"))
    of_runs = [page for page in pages if page.startswith("run/")]
    return Site(*roots, (*(page for page in pages if page not in of_runs), *of_runs[::25]))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """`visit(path of a file, ...)`: its page; nothing may have gone wrong on any when the test ends.

    What goes wrong: console errors, exceptions, dialogs, requests that leave the folder or fail. Leaving a page
    aborts what it still loads, which is no failure.
    """
    contexts, wrong = [], []

    def visit(path: Path, **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda one: None if one.url.startswith(OWN) else wrong.append(one.url))
        page.on("requestfailed", lambda one: None if one.failure == "net::ERR_ABORTED" else wrong.append(one.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def opened(visit: Any, site: Site) -> Any:
    """`opened(path, ...)`: a page of the large site, as `visit` opens it."""
    return lambda path, **options: visit(site.root / path, **options)
