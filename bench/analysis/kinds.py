"""Results of the same thing: the same method, settings, data and protocol, whatever the seed and the version."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from bench.records.result import Result

Thing = TypeVar("Thing")

_Identity = tuple[str, str, str, str, str | None]
"""Protocol, method and variant, dataset, evaluated split and training split."""
_Places = defaultdict[str, list[int]]
"""Indices of things in the order of addition, by the values of settings."""


def is_same_kind(a: Result, b: Result) -> bool:
    """Whether two results are of the same thing: a setting that only one has is ignored as newer, unless given."""
    common = a.config.keys() & b.config.keys()
    is_same = _identify(a) == _identify(b) and _make_key(a, common) == _make_key(b, common)
    return is_same and _know_each_other(a, b)


class KindIndex(Generic[Thing]):
    """Things that each have a result, found by another result of the same kind.

    The time that a search takes does not depend on their number, only on the number of distinct sets of settings among
    them, which is one for each version.
    """

    def __init__(self, things: Iterable[tuple[Result, Thing]] = ()) -> None:
        self._things: list[tuple[Result, Thing]] = []
        self._known: defaultdict[_Identity, dict[frozenset[str], list[int]]] = defaultdict(dict)
        self._by_key: defaultdict[_Identity, dict[tuple[frozenset[str], frozenset[str]], _Places]] = defaultdict(dict)
        for result, thing in things:
            self.add(result, thing)

    def add(self, result: Result, thing: Thing) -> None:
        """Add a thing and its result."""
        place, identity, settings = len(self._things), _identify(result), frozenset(result.config)
        self._things.append((result, thing))
        self._known[identity].setdefault(settings, []).append(place)
        for (known, common), places in self._by_key[identity].items():
            if known == settings:
                places[_make_key(result, common)].append(place)

    def find(self, result: Result) -> Iterator[Thing]:
        """Yield the things whose result is of the same kind, in the order in which they were added."""
        own, known = frozenset(result.config), self._known.get(_identify(result), {})
        found = [place for others in known for place in self._find_places(result, others, own & others)]
        for other, thing in (self._things[place] for place in sorted(found)):
            if _know_each_other(result, other):
                yield thing

    def _find_places(self, result: Result, known: frozenset[str], common: frozenset[str]) -> list[int]:
        """Find the indices of things with exactly these settings that agree with the result in the common ones."""
        by_key = self._by_key[identity := _identify(result)]
        if (known, common) not in by_key:
            places: _Places = defaultdict(list)
            for place in self._known[identity][known]:
                places[_make_key(self._things[place][0], common)].append(place)
            by_key[known, common] = places
        return by_key[known, common].get(_make_key(result, common), [])


def _identify(result: Result) -> _Identity:
    return result.protocol, result.label, result.dataset, result.split, result.train_split


def _make_key(result: Result, settings: Iterable[str]) -> str:
    return json.dumps({key: result.config[key] for key in settings}, sort_keys=True)


def _know_each_other(a: Result, b: Result) -> bool:
    """Return whether each result has the settings that were given to the other."""
    return a.config.keys() >= set(b.given or ()) and b.config.keys() >= set(a.given or ())
