"""Many small jobs at once, packed: none is lost, and whoever looks meanwhile can read all there is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest
from slurm_cluster import DATA, MEANS, Checkout, ended, until

from bench.core.files import Places
from bench.records.store import Store
from slurm.status import JobStatus

pytestmark = pytest.mark.slow

SPOTS = '''"""Points at one spot of the image, whatever the class: a variant each, as `center` is of the middle."""
from typing import ClassVar

from bench.method import BaseConfig, prediction
from methods.center import Center

class Config(BaseConfig):
    spot: int = prediction(0, "how many thousandths from the left")

class Spots(Center):
    Config = Config
    variants: ClassVar = {str(spot): {"spot": spot} for spot in range(1000)}

    def predict(self, truth, proposals):
        (table,) = super().predict(truth, proposals).values()
        x = [2 * x * self.config.spot / 1000 for x in table["x"].to_pylist()]
        return {"points": table.set_column(table.schema.get_field_index("x"), "x", [x])}
'''
CAMS = '''"""CAM, trained twenty times: a variant each."""
from typing import ClassVar

from methods.cam import Cam

class Cams(Cam):
    variants: ClassVar = {str(n): {"weight_decay": n * 1e-4} for n in range(20)}
'''
LIMITS = {"submit": 10.0, "status": 2.0, "collect": 5.0}
"""Seconds of a processor that a command may take at full size: what else the machine does counts nothing."""


def test_no_record_is_lost_and_the_store_can_be_read_throughout(checkout: Checkout, tmp_path: Path, full: bool) -> None:
    spots, cams = (1000, 20) if full else (40, 2)
    (tmp_path / "spots.py").write_text(SPOTS)
    (tmp_path / "cams.py").write_text(CAMS)
    methods = [f"spots:{number}" for number in range(spots)] + [f"cams:{number}" for number in range(cams)]
    pack = "pack=10,pack_untrained=250" if full else "pack=2,pack_untrained=20"
    asked = ["--plugin=spots.py", "--plugin=cams.py", "--method", ",".join(methods), "--protocol=voc07-point"]
    took: dict[str, float] = {}
    with timed("submit", took):
        sent = checkout("submit", "--profile=own.toml", "--resource", pack, *asked, "--set=epochs=1", *DATA, *MEANS)
    assert sent.code == 0, sent.err
    submission, store = checkout.last, Store(Places(tmp_path / "runs"))
    assert len(submission.jobs) == spots + cams

    seen = [0]

    def looked(found: list[JobStatus]) -> bool:
        seen.append(len(store.list_results()))
        return ended(found)

    found = until(looked, submission, seconds=1500)
    assert {one.state for one in found} == {"done"}
    assert seen == sorted(seen)
    assert len(store.list_results()) == spots + cams
    for verb in ("status", "collect"):
        with timed(verb, took):
            said = checkout(verb, "--json").json()
    assert len({one["address"] for one in said["results"]}) == spots + cams
    assert [f"{one['method']}:{one['variant']}" for one in said["results"]] == methods
    if full:
        assert all(took[verb] < limit for verb, limit in LIMITS.items()), took


@contextmanager
def timed(verb: str, took: dict[str, float]) -> Iterator[None]:
    """Note, and print, the processor's seconds of the command that the block runs."""
    begin, before = time.monotonic(), getrusage(RUSAGE_CHILDREN)
    yield
    after = getrusage(RUSAGE_CHILDREN)
    took[verb] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{verb}: {took[verb]:.1f} s of a processor in {time.monotonic() - begin:.1f} s")
