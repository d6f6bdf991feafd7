"""Paths of pages: different for different names on every file system, and those of published results as they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.site.paths import method_page, paper_page, protocol_page, run_page

PAGES = (method_page, paper_page, protocol_page, run_page)


@pytest.mark.parametrize("find", PAGES)
def test_names_that_differ_in_capitals_only_have_other_files(find: Callable[[str], str]) -> None:
    names = ("ab", "Ab", "aB", "AB", "ab..1", "ab.1", "é", "É", "a" * 200, "A" * 200, "aA" * 100)
    assert len({find(name).casefold() for name in names}) == len(names)


@pytest.mark.parametrize("find", PAGES)
def test_small_letters_stay_as_they_are(find: Callable[[str], str]) -> None:
    assert find("voc07-point_2").endswith("/voc07-point_2.html")
    assert find("a/é:b").endswith("/a.2f..e9..3a.b.html")
