"""`import bench`: the verbs of the command line, with its options, numbers and messages; nothing prints."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import bench
from bench import api, registry
from bench.cli.main import VERBS
from bench.core.progress import ProgressEvent
from bench.errors import BadFileError, BenchError, IncompleteError, RequestError, UnknownNameError
from bench.predictions.table import About, write
from bench.records.result import Result
from tools.notebook import NOTEBOOK, PAGE, make_notebook

if TYPE_CHECKING:
    from conftest import Answer

SMALL: dict[str, Any] = {"train": 4, "val": 4, "test": 4, "size": 96, "classes": 3, "version": 3}
SHAPES: dict[str, Any] = {"data": "shapes", "data_option": SMALL}
OPTIONS = ["--data", "shapes", "--data-option", ",".join(f"{key}={value}" for key, value in SMALL.items())]
BOXES = pd.DataFrame(
    {
        "image": ["000009", "000010", "000011"],
        "label": ["disc-rings", "slab-rings", "wedge-rings"],
        "score": [0.9, 0.8, 0.3],
        "x1": [4.0, 13.0, 40.0],
        "y1": [50.0, 23.0, 40.0],
        "x2": [52.0, 55.0, 60.0],
        "y2": [96.0, 49.0, 60.0],
    }
)
VERBS_WITH_FUNCTIONS = ("run", "plan", "score", "audit", "compare", "table")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no published results."""
    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA", "BENCH_RUNS", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bench.verbs.results.RESULTS", tmp_path)
    monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: {"revision": "c" * 40, "dirty": False})


@pytest.mark.parametrize("verb", VERBS_WITH_FUNCTIONS)
def test_a_function_has_the_options_of_its_verb_and_their_defaults(verb: str) -> None:
    module, _, attribute = VERBS[verb][0].partition(":")
    command: click.Command = getattr(importlib.import_module(f"bench.cli.{module}"), attribute)
    options = {_option_name(option): option for option in command.params}
    shown = {"json", "format", "costs"}  # a program has no need of them
    parameters = inspect.signature(getattr(bench, verb)).parameters
    assert {*options} - shown == {*parameters} - {"progress"}
    for name, option in options.items():
        plain = isinstance(option.default, str | int | bool) and name != "runs"
        if name not in shown and plain and not option.required:
            assert parameters[name].default == option.default, name


def _option_name(parameter: click.Parameter) -> str:
    return parameter.opts[0].removeprefix("--").replace("-", "_")


def test_the_package_offers_each_function_once_and_no_other_name() -> None:
    assert bench.__all__ == api.__all__
    assert {*bench.__all__} <= {*dir(bench)}
    for name in bench.__all__:
        assert getattr(bench, name) is getattr(api, name)
        assert inspect.getdoc(getattr(api, name))
    with pytest.raises(AttributeError, match="no attribute 'scroe'"):
        bench.scroe  # type: ignore[attr-defined]  # noqa: B018


def test_a_frame_a_table_and_a_file_are_scored_alike_and_the_command_line_says_so(
    here: Callable[..., Answer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "boxes.parquet", "boxes", pa.table(BOXES), About("mine"))
    given = [BOXES, pa.table(BOXES), "boxes.parquet", tmp_path / "boxes.parquet"]
    capsys.readouterr()
    found = [bench.score("voc07-det", one, name="mine", allow_missing=True, **SHAPES) for one in given]
    assert capsys.readouterr() == ("", "")
    command = ("score", "--protocol", "voc07-det", "--predictions", "boxes.parquet", "--allow-missing", "--json")
    answer = here(*command, *OPTIONS)
    (record,) = answer.json()["results"]
    assert {one.address for one in found} == {record["address"]}
    for one in found:
        same = one.model_dump(mode="json", by_alias=True, exclude={"created"})
        assert same == {key: value for key, value in record.items() if key != "created"}
    assert isinstance(found[0], Result)
    assert found[0].metrics == {"mAP_11pt": pytest.approx(17 / 33), "mAP_area": 0.5}


def test_a_loop_hands_over_a_thousand_images_and_gets_the_numbers_of_the_file(tmp_path: Path) -> None:
    """Random detections of two classes on annotated images: the loop has no file, the file no loop."""
    root = _write_annotations(tmp_path / "data", 1000)
    generator = np.random.default_rng(0)
    items = []
    for number in range(1000):
        count = int(generator.integers(0, 6))
        boxes = np.array([1, 1, 9, 9]) + generator.normal(0, 1.2, (count, 4))
        labels = generator.choice(["dog", "cat"], count)
        items.append((f"{number:06}", {"boxes": boxes, "labels": labels, "scores": generator.random(count).round(2)}))
    rows = [
        (name, label, score, *box)
        for name, one in items
        for label, score, box in zip(one["labels"], one["scores"], one["boxes"], strict=True)
    ]
    columns = dict(zip(("image", "label", "score", "x1", "y1", "x2", "y2"), zip(*rows, strict=True), strict=True))
    table = pa.table({name: pa.array(list(values)) for name, values in columns.items()})
    write(tmp_path / "file.parquet", "boxes", table, About("file", ids=tuple(name for name, _ in items)))
    file, loop = (
        bench.score("voc07-det", given, data_root=root, progress=None) for given in ("file.parquet", iter(items))
    )
    assert 0.01 < (file.metrics["mAP_area"] or 0) < 0.9
    assert len(rows) > 2000
    for field in ("metrics", "intervals", "per_class", "class_intervals", "counts", "notes", "outcomes_digest"):
        assert getattr(file, field) == getattr(loop, field), field


def _write_annotations(root: Path, count: int) -> Path:
    """A data root with the annotations of VOC 2007 test images, and none of the images."""
    folder = root / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "Annotations"):
        (folder / name).mkdir(parents=True)
    size = "<size><width>20</width><height>20</height><depth>3</depth></size>"
    for number in range(count):
        box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        name = ("dog", "cat")[number % 2]
        thing = f"<object><name>{name}</name><difficult>{int(number % 7 == 0)}</difficult>{box}</object>"
        (folder / "Annotations" / f"{number:06}.xml").write_text(f"<annotation>{size}{thing}</annotation>")
    (folder / "ImageSets" / "Main" / "test.txt").write_text("\n".join(f"{number:06}" for number in range(count)))
    return root


def test_results_show_themselves_with_every_text_escaped() -> None:
    result = bench.score("voc07-det", BOXES, name="<b>", allow_missing=True, **SHAPES)
    shown = result._repr_html_() + bench.results()._repr_html_() + bench.table()._repr_html_()
    assert "&lt;b&gt; · voc07-det on shapes test" in shown
    assert "<b>" not in shown
    assert "51.5" in shown
    frame = result.to_frame()
    assert frame["metric"].value_counts().to_dict() == {"mAP_11pt": 4, "mAP_area": 4}
    assert frame["value"].tolist()[:2] == [*result.metrics.values()]
    assert (frame.loc[0, "low"], frame.loc[0, "high"]) == result.intervals["mAP_11pt"]


def test_a_comparison_an_audit_and_tables_become_frames() -> None:
    one, other = (
        bench.score("voc07-det", frame, name=name, allow_missing=True, **SHAPES)
        for frame, name in ((BOXES, "one"), (BOXES[1:], "other"))
    )
    comparison = bench.compare(one, other.address[:8], per_class=True)
    assert comparison.to_frame()["class"].isna().tolist() == [True] * 2 + [False] * 6
    assert comparison.metrics["mAP_area"].difference == (one.metrics["mAP_area"] or 0) - (
        other.metrics["mAP_area"] or 0
    )
    assert "A - B" in comparison._repr_html_()
    report = bench.audit("voc07-det", BOXES, allow_missing=True, convention={"ties": "stable"}, **SHAPES)
    assert report.to_frame()["mAP_area"][0] == one.metrics["mAP_area"]
    assert "(as the protocol says)" in report._repr_html_()
    found = bench.results(protocol="voc07-det", method=["one", "none"], data="shapes")
    assert [result.address for result in found] == [one.address]
    assert found.to_frame()["mAP_area"].tolist() == [one.metrics["mAP_area"]]
    assert bench.table(protocol="voc07-det", data="shapes").to_frame()["method"].tolist() == ["one", "other"]


def test_a_result_is_plotted_and_says_why_it_has_no_images() -> None:
    result = bench.score("voc07-det", BOXES, name="mine", allow_missing=True, **SHAPES)
    figure = result.plot()
    curves, bars = figure.axes
    assert (curves.get_xlabel(), bars.get_xlabel()) == ("recall", "mAP_11pt, per cent")
    assert [line.get_label() for line in curves.get_lines()] == ["disc-rings", "slab-rings", "wedge-rings"]
    assert [patch.get_width() for patch in bars.patches] == [
        pytest.approx(100 * (value or 0)) for value in result.per_class["mAP_11pt"].values()
    ]
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "Without images: " in " ".join(text.get_text() for part in figure.subfigs for text in part.texts)
    with pytest.raises(BenchError, match="only runs have pictures"):
        result.plot(images=2)


def test_a_run_is_that_of_the_command_line_reports_progress_and_is_plotted_with_images(
    here: Callable[..., Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[ProgressEvent] = []
    capsys.readouterr()
    (result,) = bench.run("center", "voc07-point", progress=events.append, device="cpu", **SHAPES)
    assert capsys.readouterr() == ("", "")
    assert any(event.title.startswith("center, seed 0: voc07-point on shapes test") for event in events)
    answer = here("run", "--method", "center", "--protocol", "voc07-point", "--device", "cpu", *OPTIONS, "--json")
    assert [one["address"] for one in answer.json()["results"]] == [result.address]
    titles = [axes.get_title() for axes in result.plot(images=4).axes[1:]]
    assert [title.partition(":")[0] for title in titles] == ["Worst", "Worst", "Best", "Best"]
    (again,) = bench.results(method="center", data="shapes", data_option=SMALL)
    assert again.plot(images=2).axes[1].get_title().startswith("Worst: ")


def test_several_runs_of_which_some_fail_raise_with_the_results_of_the_others() -> None:
    with pytest.raises(IncompleteError, match="1 of 2 runs failed: center under voc07-det, seed 0: ") as caught:
        bench.run("center", ["voc07-point", "voc07-det"], device="cpu", **SHAPES)
    assert [*caught.value.failed] == ["center under voc07-det, seed 0"]
    (result,) = caught.value.results
    assert isinstance(result, Result)
    assert result.protocol == "voc07-point"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bench.run(), RequestError, "run needs method"),
        (lambda: bench.run("center"), RequestError, "run needs protocol"),
        (lambda: bench.run("centre", "voc07-point"), UnknownNameError, "Did you mean: center"),
        (lambda: bench.run("center", "voc07-point", tuned_on="test"), UnknownNameError, "value of tuned_on 'test'"),
        (lambda: bench.run("center", "voc07-point", recipe="papers"), UnknownNameError, "value of recipe 'papers'"),
        (lambda: bench.run("center", "voc07-point", set={"nte": 1}, **SHAPES), UnknownNameError, "nte"),
        (lambda: bench.score("voc07-dt", BOXES), UnknownNameError, "voc07-det"),
        (lambda: bench.score("voc07-det", BOXES, **SHAPES), RequestError, "do not cover 1 of 4 images"),
        (lambda: bench.score("voc07-det", BOXES), BenchError, "data_root|--data-root"),
        (lambda: bench.score("voc07-point", BOXES, **SHAPES), BadFileError, r"\(DataFrame\)"),
        (lambda: bench.compare("abc", "def"), UnknownNameError, "result 'abc'"),
        (lambda: bench.load_model("abc"), UnknownNameError, "run 'abc'"),
        (lambda: bench.table("melm-99"), UnknownNameError, "melm-99"),
    ],
)
def test_errors_are_of_one_tree_and_say_what_to_do(
    call: Callable[[], Any], error: type[BenchError], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
    assert not list(Path().rglob("results"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wrong: bench.compare(wrong, "def"), "compare: a is 5, but expected text or a result"),
        (lambda wrong: bench.load_model(wrong), "load_model: run is 5, but expected text or a result"),
        (lambda wrong: bench.run(wrong, "voc07-point"), "run: method is 5, but expected a name or several"),
        (lambda wrong: bench.run(["cam", wrong], "voc07-point"), r"method is \['cam', 5\], but expected a name or"),
        (lambda wrong: bench.run("cam", "voc07-point", seed=str(wrong)), "seed is '5', but expected a whole number or"),
        (lambda wrong: bench.run("cam", "voc07-point", set=wrong), "set is 5, but expected a dict of names"),
        (lambda wrong: bench.run("cam", "voc07-point", threads=wrong / 2), "threads is 2.5, but expected a whole"),
        (
            lambda wrong: bench.run("cam", "voc07-point", plugin=[wrong]),
            "plugin is .5., but expected a path or several",
        ),
        (lambda wrong: bench.score([wrong], BOXES), "score: protocol is .5., but expected text"),
        (lambda wrong: bench.score("voc07-det", wrong, **SHAPES), "predictions"),
        (lambda wrong: bench.table(wrong), "table: name is 5, but expected text"),
        (lambda wrong: bench.results(runs=wrong), "results: runs is 5, but expected a path"),
        (lambda wrong: bench.run("cam", "voc07-point", seed=-wrong), "run: seed is -5, but expected at least 0"),
        (lambda wrong: bench.run("cam", "voc07-point", seed=[0, -wrong]), "run: seed is -5, but expected at least 0"),
        (lambda wrong: bench.run("cam", "voc07-point", threads=-wrong), "run: threads is -5, but expected at least 1"),
        (lambda wrong: bench.run("cam", "voc07-point", cache=-wrong), "run: cache is -5, but expected at least 0"),
    ],
)
def test_what_is_of_another_type_is_refused_by_its_name(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        call(5)


def test_a_dry_run_says_what_would_be_done_and_does_nothing() -> None:
    planned = bench.run(["center", "cam"], "voc07-point", dry_run=True, **SHAPES)
    assert [one.predictions for one in planned] == ["to do", "to do"]
    assert planned[0].error == ""
    assert (
        "There are no ImageNet weights of tiny"
        in bench.run("cam", "voc07-point", set={"weights": "imagenet", "net": "tiny"}, dry_run=True, **SHAPES)[0].error
    )
    assert not list(Path("runs").glob("[!c]*"))
    assert [*planned.to_frame()["run"]] == ["center under voc07-point, seed 0", "cam under voc07-point, seed 0"]
    assert "center under voc07-point, seed 0" in str(planned)
    assert "<table" in planned._repr_html_()


def test_what_is_printed_can_be_read() -> None:
    results = bench.run("center", ["voc07-point", "voc12-point-pred"], **SHAPES)
    result = results[0]
    assert str(result).startswith("center · voc07-point on shapes test\n\nmetric ")
    assert len(repr(result)) < 200
    assert repr(result).startswith("<center · voc07-point on shapes test: accuracy ")
    assert result.address in repr(result)
    assert str(results).count("center") == 2
    assert eval(repr(results[:0])) == ()
    compared = bench.compare(result, result)
    assert "accuracy" in str(compared)
    assert repr(compared).startswith("<center")
    assert len(repr(compared)) < 300
    audit = bench.audit("voc07-det", BOXES, allow_missing=True, **SHAPES)
    assert "each convention changed alone" in str(audit)
    assert repr(audit) == "<audit of unnamed under voc07-det on shapes test>"
    tables = bench.table(protocol="voc07-point", data="shapes")
    assert "center" in str(tables)
    assert repr(tables).startswith("<1 tables: ")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = bench.score("voc07-det", BOXES, allow_missing=True, **SHAPES)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RequestError, match="pip install pandas"):
        result.to_frame()


def test_the_page_shows_every_name_and_its_notebook_is_made_of_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in bench.__all__ if f"bench.{name}(" not in page] == []
    assert make_notebook(page) == NOTEBOOK.read_text(encoding="utf-8"), "run: python -m tools.notebook"


def test_the_notebook_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        exec(compile(source, "cell", "exec"), names)
    said = capsys.readouterr().out
    (expected,) = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert said == expected
    assert Path("center.png").is_file()
    assert names["loop"].metrics == names["coco"].metrics
    assert names["lines"]


CLIENT = """
import collections.abc

import numpy as np
import pandas as pd

import bench
from bench.core.progress import ProgressEvent
from bench.errors import IncompleteError
from bench.records.result import Result


def report(event: ProgressEvent) -> None:
    reveal_type(event.done)


def detect() -> collections.abc.Iterator[tuple[str, dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]]:
    yield "000005", {"boxes": np.zeros((0, 4)), "labels": np.zeros(0), "scores": np.zeros(0)}


frame: pd.DataFrame = bench.results(protocol="voc07-det", runs="runs").to_frame()
loop: Result = bench.score("voc07-det", detect(), data_root="data", runs="runs", allow_missing=True, progress=report)
listed = bench.score("voc07-det", [{"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}])
read = bench.score("voc07-det", "boxes.parquet", convention={"iou_threshold": 0.7}, tuned_on="val-boxes")
for result in bench.run(["cam", "gmp"], "voc07-point", seed=range(3), set={"epochs": 2}, track=None):
    reveal_type(result.metrics)
    result.plot(images=2).savefig("run.png")
    bench.load_model(result, device="cpu").predict(["a.jpg", "b.jpg"]).to_frame("points")
for planned in bench.run("cam", "voc07-point", dry_run=True):
    reveal_type(planned.seconds)
maps = bench.score("voc07-seg", "cams", scores="scores.csv", mask_rule="own-maximum", mask_threshold=0.15)
difference = bench.compare(loop, read.address).metrics["mAP_area"].difference
bench.audit("voc07-det", frame).to_frame()
bench.table("melm-3").to_frame()
names: dict[str, str] = bench.methods() | bench.protocols() | bench.datasets()
bench.score("voc07-det", frame, tuned_on="nothing")
bench.scroe("voc07-det", frame)
"""


@pytest.mark.slow
def test_a_client_script_is_checked_strictly(tmp_path: Path) -> None:
    """The names are seen, their types too, and two mistakes are found."""
    (tmp_path / "client.py").write_text(CLIENT)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(registry.ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, str(tmp_path / "client.py")],
        cwd=registry.ROOT,  # whose cache of types saves minutes
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.partition("client.py:")[2] for line in done.stdout.splitlines() if "client.py:" in line]
    assert 'note: Revealed type is "int"' in lines[0].replace("builtins.", "")
    assert "dict[str, float | None]" in lines[1].replace("builtins.", "").replace("Union[float, None]", "float | None")
    errors = [line for line in lines if "error" in line]
    assert [re.sub(r".*\[(.*)\]", r"\1", line) for line in errors] == ["arg-type", "attr-defined"], done.stdout
