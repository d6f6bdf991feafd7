"""The plan is pure: one job a distinct training, packed as the profile says; profiles refuse what they do not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bench import registry
from bench.core.files import Places
from bench.errors import BadFileError, UnknownNameError
from bench.execution.dataset_cache import DatasetCache
from bench.execution.resolve import Request
from slurm import scheduler
from slurm.plan import Array, Job, Training, make_arrays, make_jobs, plan_trainings
from slurm.profile import PROFILES, Resources, read_profile

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text('pack = 2\nmemory = "8G"\n[methods.melm]\nmemory = "64G"\n')
    return path


@given(some.lists(some.tuples(some.sampled_from("ab"), some.sampled_from("xyz"), some.booleans())))
def test_every_request_is_in_one_job_and_equal_trainings_in_the_same(drawn: list[tuple[str, str, bool]]) -> None:
    trainings = [Training(*each) for each in drawn]
    jobs = make_jobs(trainings)
    assert sorted(one for job in jobs for one in job.requests) == list(range(len(trainings)))
    assert all(len({trainings[one] for one in job.requests}) == 1 for job in jobs)
    assert len(jobs) == len(set(trainings))


@given(some.lists(some.tuples(some.sampled_from(["cam", "center"]), some.booleans())), some.integers(1, 4))
def test_every_job_is_in_one_task_of_what_it_asks_for(drawn: list[tuple[str, bool]], pack: int) -> None:
    jobs = [Job(method, learns, ()) for method, learns in drawn]
    arrays = make_arrays(jobs, range(len(jobs)), read_profile("gpu", {"pack": pack}))
    assert sorted(one for array in arrays for task in array.tasks for one in task) == list(range(len(jobs)))
    sizes = [(jobs[task[0]].learns, len(task)) for array in arrays for task in array.tasks]
    assert all(size <= (pack if learns else 100) for learns, size in sizes)


def test_a_method_of_its_own_needs_goes_into_an_array_of_its_own(profile: Path) -> None:
    jobs = [Job(method, True, ()) for method in ("cam", "melm", "cam", "cam", "melm")]
    small, large = make_arrays(jobs, [0, 1, 2, 3, 4], read_profile(str(profile), {}))
    assert small == Array(Resources(memory="8G", pack=2), ((0, 2), (3,)))
    assert large == Array(Resources(memory="64G", pack=2), ((1, 4),))


def test_what_the_user_says_wins_over_the_profile_and_its_methods(profile: Path) -> None:
    assert read_profile(str(profile), {"memory": "1T"}).resources("melm").memory == "1T"


def test_protocols_share_a_job_and_seeds_and_settings_do_not(places: Places) -> None:
    def asked(protocol: str, seed: int = 0, **settings: object) -> Request:
        return Request("cam", registry.protocol(protocol), seed, settings, "shapes", TINY)

    requests = [asked("voc07-point"), asked("voc07-cls"), asked("voc07-point", 1), asked("voc07-point", epochs=3)]
    able, trainings, refused = plan_trainings(requests, DatasetCache(places), 1)
    assert [job.requests for job in make_jobs(trainings)] == [(0, 1), (2,), (3,)]
    assert (able, refused) == (requests, {})


def test_an_attribution_shares_the_job_of_its_base(places: Places) -> None:
    pairs = (("grad-cam", "voc07-point"), ("classifier", "voc07-cls"), ("cam", "voc07-cls"))
    requests = [
        Request(method, registry.protocol(protocol), data="shapes", data_options=TINY) for method, protocol in pairs
    ]
    _, trainings, _ = plan_trainings(requests, DatasetCache(places), 1)
    assert [(job.method, job.requests) for job in make_jobs(trainings)] == [("classifier", (0, 1)), ("cam", (2,))]


def test_what_learns_nothing_is_one_job_whatever_the_seed_and_what_cannot_run_is_left_out(places: Places) -> None:
    requests = [
        Request("center", registry.protocol(protocol), seed, data="shapes", data_options=TINY)
        for protocol, seed in (("voc07-point", 0), ("voc07-cls", 0), ("voc07-point", 1))
    ]
    able, trainings, refused = plan_trainings(requests, DatasetCache(places), 1)
    assert [(job.requests, job.learns) for job in make_jobs(trainings)] == [((0, 1), False)]
    assert able == [requests[0], requests[2]]
    assert "makes points" in str(refused["center under voc07-cls, seed 0"])


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.toml")))
def test_every_profile_of_the_package_is_valid(name: str) -> None:
    assert read_profile(name, {}).resources("cam").minutes > 0


@pytest.mark.parametrize("text", ["partion = 'gpu'", "[methods.cam]\npartion = 'gpu'"])
def test_an_unknown_key_lists_the_valid_ones(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UnknownNameError, match=r"Did you mean: partition\?.*memory.*time"):
        read_profile(str(tmp_path / "own.toml"), {})


def test_an_unknown_profile_method_and_resource_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Available: cpu, gpu, local"):
        read_profile("gpus", {})
    with pytest.raises(UnknownNameError, match="resource 'mem'"):
        read_profile("gpu", {"mem": "1G"})
    (tmp_path / "own.toml").write_text("[methods.melmm]\n")
    with pytest.raises(UnknownNameError, match="Did you mean: melm"):
        read_profile(str(tmp_path / "own.toml"), {})


@pytest.mark.parametrize("text", ["time = '90'", "cpus = 0", "memory = '8 GB'", "[methods.cam]\ngpus = -1", "gpus ="])
def test_a_wrong_value_names_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(BadFileError, match=r"own\.toml"):
        read_profile(str(tmp_path / "own.toml"), {})


def test_a_task_of_several_processes_asks_for_what_all_of_them_need(tmp_path: Path) -> None:
    (script,) = scheduler.scripts(tmp_path, [Array(Resources(nodes=2, processes=4, gpus=1, cpus=8), ((0,),))])
    asked = {line.removeprefix("#SBATCH ") for line in script.splitlines()}
    assert {"--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=8"} <= asked


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("-p gpu", "--partition=gpu"),
        ("-A vision", "--account=vision"),
        ("-pgpu", "--partition=gpu"),
        ("gpu", "--mail-type=END"),
        ("--exclusive\nrm -r x", "--mail-type=END"),
        ("", "--mail-type=END"),
    ],
)
def test_what_sbatch_would_not_read_is_refused_with_how_to_write_it(tmp_path: Path, line: str, example: str) -> None:
    (tmp_path / "own.toml").write_text(f"sbatch = [{json.dumps(line)}]")
    with pytest.raises(BadFileError, match=f"one long option of sbatch, such as {example}"):
        read_profile(str(tmp_path / "own.toml"), {})


@pytest.mark.parametrize("key", ["partition", "account", "constraint"])
def test_no_value_becomes_a_second_line_of_the_script(key: str) -> None:
    with pytest.raises(BadFileError, match=key):
        read_profile("gpu", {key: "a\n#SBATCH --wrap=b"})
