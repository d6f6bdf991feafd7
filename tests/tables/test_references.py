"""What to cite: an entry for every method, paper and dataset, well-formed, and no entry for nothing."""

from __future__ import annotations

import re

import pytest

from bench import registry
from bench.data.datasets import list_datasets
from bench.errors import UnknownNameError
from bench.tables.papers import PAPERS, reported_tables
from bench.tables.references import find_references, read_references
from bench.verbs.citations import cite

FLOORS = {"best-proposal", "center", "classifier", "ensemble", "largest-proposal"}
"""Methods that are nobody's."""


def test_every_entry_of_the_file_is_read_and_well_formed() -> None:
    text = (PAPERS / "references.bib").read_text(encoding="utf-8")
    assert len(read_references()) == text.count("\n@")
    for entry, _ in read_references().values():
        assert entry.count("{") == entry.count("}")
        assert "keywords" not in entry
        for field in ("title", "author", "year"):
            assert len(re.findall(rf"^  {field} = ", entry, re.MULTILINE)) == 1


def test_every_method_paper_and_dataset_has_an_entry_and_every_keyword_is_one() -> None:
    papers = {name.rpartition("-")[0] for name in reported_tables()}
    wanted = (registry.methods().keys() - FLOORS) | papers | ({*list_datasets()} - {"shapes"})
    named = {name for _, keywords in read_references().values() for name in keywords}
    assert wanted - named == set()
    assert named - wanted - registry.protocols().keys() == {"errors"}


def test_a_table_stands_for_its_paper_and_the_methods_of_its_rows_each_once() -> None:
    software, *entries = cite(["melm-4", "wsddn", "melm:base"])
    assert software.startswith("@software{weakloc,")
    assert [re.findall(r"\{(\w+),", entry)[0] for entry in entries] == ["wan2019melm", "bilen2016wsddn"]
    assert entries[0] == find_references(["melm"])[0]


def test_a_protocol_stands_for_its_dataset_too_and_an_unknown_name_for_nothing() -> None:
    keys = [re.findall(r"\{(\w+),", entry)[0] for entry in cite(["voc07-corloc"])]
    assert keys == ["weakloc", "deselaers2012generic", "everingham2010voc"]
    with pytest.raises(UnknownNameError, match="Unknown method, protocol, dataset or table 'mlem'"):
        cite(["mlem"])
