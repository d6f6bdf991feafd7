"""The resources that a job requests from a cluster: a profile, one TOML file, with other values for some methods.

partition = "gpu"
time = "8:00:00"

[methods.melm]
memory = "64G"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench import registry
from bench.core.toml import read_toml
from bench.errors import BadFileError, UnknownNameError

PROFILES = Path(__file__).resolve().parent / "profiles"

_TIME = r"^(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)$"
Count = Annotated[int, Field(ge=1)]
Lines = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


_OPTION = re.compile(r"(?:#SBATCH\s+)?--[a-z][a-z-]*(?:[=\s]\s*\S.*)?")
_LONG_NAMES = {
    "p": "partition", "A": "account", "q": "qos", "t": "time", "C": "constraint", "G": "gpus", "c": "cpus-per-task",
    "w": "nodelist", "x": "exclude", "N": "nodes", "n": "ntasks", "J": "job-name",
}  # fmt: skip


def _check_option(line: str) -> str:
    """Raise ValueError for text that is not one option of sbatch, or that would add a line to its script."""
    if "\n" in line or not _OPTION.fullmatch(line.strip()):
        short = re.fullmatch(r"-([A-Za-z])\s*=?\s*(\S+)", line.strip().removeprefix("#SBATCH").strip())
        name = _LONG_NAMES.get(short[1]) if short else None
        example = f"--{name}={short[2]}" if short and name else "--mail-type=END"
        raise ValueError(f"write one long option of sbatch, such as {example}")
    return line


Option = Annotated[str, AfterValidator(_check_option)]
Options = Annotated[tuple[Option, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]
Word = Annotated[str, Field(pattern=r"^\S+$")]


class Resources(BaseModel):
    """The resources of one task of an array, by default the cluster's, and the distribution of jobs to tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    partition: Word | None = None
    account: Word | None = None
    nodes: Count = 1
    processes: Count = 1
    """Of a node; all processes of a task share each of its trainings."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Of a process."""
    cpus: Count | None = None
    """Of a process."""
    memory: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None
    """Of a node, as SLURM writes it: 500M, 64G."""
    time: Annotated[str, Field(pattern=_TIME)] = "24:00:00"
    """Limit of a task, as hours:minutes:seconds or days-hours:minutes:seconds."""
    constraint: Word | None = None
    sbatch: Options = ()
    """Further options of sbatch: `--mail-type=END`, `--exclusive`."""
    setup: Lines = ()
    """Shell lines before the job: `module load cuda`."""
    parallel: Count = 16
    """The most tasks of an array at a time."""
    pack: Count = 1
    """Trainings that one task works through."""
    pack_untrained: Count = 100
    """Jobs without a training that one task works through."""

    @property
    def minutes(self) -> int:
        """The time limit, rounded up to a minute.

        >>> Resources(time="1-02:00:30").minutes
        1561
        """
        days, hours, minutes, seconds = (int(part or 0) for part in re.findall(_TIME, self.time)[0])
        return (days * 24 + hours) * 60 + minutes + (seconds > 0)


@dataclass(frozen=True)
class Profile:
    """Values of a profile's file, those for some methods, and those given by the user, which override both."""

    origin: str
    values: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, Any]

    def resources(self, method: str) -> Resources:
        """Return the resources for jobs of a method. Raises BadFileError for an invalid value."""
        merged = {**self.values, **self.methods.get(method, {}), **self.given}
        try:
            return Resources.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadFileError(self.origin, f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None


def read_profile(name: str, given: Mapping[str, Any]) -> Profile:
    """Read a built-in profile by name, or any profile by the path of its .toml file; `given` overrides it.

    Raises UnknownNameError for an unknown profile, key or method; BadFileError for a file that is not TOML.
    """
    known = {path.stem: path for path in PROFILES.glob("*.toml")}
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None or not path.is_file():
        raise UnknownNameError("profile", name, known, hint="or the path of a .toml file")
    values = read_toml(path)
    methods = values.pop("methods", {})
    if not isinstance(methods, dict) or not all(isinstance(own, dict) for own in methods.values()):
        raise BadFileError(path, "methods: expected a table for each method, such as [methods.melm]")
    _refuse_unknown(f"key of {path}", values, [*Resources.model_fields, "methods"])
    _refuse_unknown("resource", given, Resources.model_fields)
    if methods:
        _refuse_unknown(f"method in {path}", methods, registry.methods())
    for method, own in methods.items():
        _refuse_unknown(f"key of [methods.{method}] in {path}", own, Resources.model_fields)
    profile = Profile(str(path.resolve()), values, methods, given)
    for method in ("", *methods):
        profile.resources(method)
    return profile


def _refuse_unknown(what: str, keys: Iterable[str], known: Iterable[str]) -> None:
    valid = list(known)
    for key in keys:
        if key not in valid:
            raise UnknownNameError(what, key, valid)
