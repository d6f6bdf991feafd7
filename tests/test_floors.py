"""The floors of the house, read from the source: no import goes up or in a circle; what must be light or quiet is."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bench", "methods", "protocols", "slurm")

FLOORS = {
    1: "bench bench.errors bench.progress",
    2: "bench.files bench.boxes",
    3: "bench.truth bench.predictions bench.result",
    4: "bench.data bench.protocol bench.decode bench.crf bench.lease bench.store bench.ranking bench.stats "
    "bench.replicates bench.folders bench.formats bench.kept bench.history bench.outcomes bench.pictures",
    5: "bench.config bench.method bench.earlier bench.inventory bench.provenance bench.tables bench.baselines "
    "bench.gate bench.trend bench.tracking protocols",
    6: "methods bench.train bench.recipe bench.registry bench.doctor bench.live",
    7: "bench.score bench.boards bench.audit bench.compare bench.export bench.docs bench.example bench.remap "
    "bench.sheet bench.site",
    8: "bench.job bench.run bench.contract",
    9: "bench.cli slurm",
    10: "bench.__main__",
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}

MAY_IMPORT_TORCH = ("methods", "bench.train", "bench.method", "bench.data.images")
MAY_LOAD_TORCH = (*MAY_IMPORT_TORCH, "bench.job", "bench.run", "bench.contract")
"""Those that may name it, and those that may import them: nothing reads these before there is something to train."""
HEAVY = {
    "torch",
    "torchvision",
    "mlflow",
    "cv2",
    "scipy",
    "pandas",
    "sklearn",
    "captum",
    "pydensecrf",
    "submitit",
    "pycocotools",
    "hotcoco",
}
LISTING = ("bench.__main__", "bench.cli", "bench.registry", "bench.recipe", "bench.files", "bench.errors")
TOO_HEAVY_FOR_LISTING = HEAVY | {"numpy", "pyarrow", "pydantic", "rich", "tabulate", "jinja2"}


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): ast.parse(path.read_text()) for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")}


def _inside(module: str, parents: tuple[str, ...] | list[str]) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def _home(module: str) -> str:
    """The entry of the floor plan that a module belongs to."""
    homes = [name for name in FLOOR if module == name or (name != "bench" and module.startswith(f"{name}."))]
    assert homes, f"{module} stands on no floor: give it one in FLOORS"
    return max(homes, key=len)


def _imported(node: ast.AST) -> list[str]:
    """Modules that one statement imports; of `from a import b`, `a.b` where that is a module of ours."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        return [
            full if (full := f"{node.module}.{alias.name}") in SOURCES else str(node.module) for alias in node.names
        ]
    return []


def _imports(module: str) -> set[str]:
    """Everything that a module imports anywhere, for types too."""
    return {name for node in ast.walk(SOURCES[module]) for name in _imported(node)}


def _imports_at_once(module: str) -> set[str]:
    """What importing a module imports: not what its functions import, and not what only its types need."""
    found: set[str] = set()
    statements = list(SOURCES[module].body)
    while statements:
        node = statements.pop()
        found.update(_imported(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            statements += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def _ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _loads(module: str) -> set[str]:
    """Top-level names of all foreign packages that importing a module loads, through ours."""
    seen, waiting, foreign = set(), [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        direct = _imports_at_once(name) if name in SOURCES else set()
        waiting += _ours(direct)
        foreign |= {each.split(".")[0] for each in direct - _ours(direct)}
    return foreign


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_import_goes_up(module: str) -> None:
    floor = FLOOR[_home(module)]
    assert not {name: FLOOR[_home(name)] for name in _ours(_imports(module)) if FLOOR[_home(name)] > floor}


def test_no_import_goes_in_a_circle() -> None:
    graph = {module: _ours(_imports(module)) - {module} for module in SOURCES}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", [name for name in sorted(SOURCES) if _inside(name, ["bench"])])
def test_the_harness_knows_no_method_and_no_protocol(module: str) -> None:
    assert not [name for name in _imports(module) if _inside(name, ["methods", "protocols"])]


@pytest.mark.parametrize(("here", "there"), [("methods", "protocols"), ("protocols", "methods")])
def test_methods_and_protocols_never_import_each_other(here: str, there: str) -> None:
    for module in SOURCES:
        if _inside(module, [here]):
            assert not [name for name in _imports(module) if _inside(name, [there])], module


@pytest.mark.parametrize("module", [name for name in sorted(SOURCES) if not _inside(name, MAY_LOAD_TORCH)])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    assert not _loads(module) & HEAVY


@pytest.mark.parametrize("module", [name for name in sorted(SOURCES) if not _inside(name, MAY_IMPORT_TORCH)])
def test_only_what_computes_names_torch_at_once(module: str) -> None:
    assert not {name.split(".")[0] for name in _imports_at_once(module)} & HEAVY


@pytest.mark.parametrize("module", [name for name in sorted(SOURCES) if _inside(name, LISTING)])
def test_listing_waits_for_nothing(module: str) -> None:
    assert not _loads(module) & TOO_HEAVY_FOR_LISTING


@pytest.mark.parametrize("module", [name for name in sorted(SOURCES) if not _inside(name, ["bench.cli"])])
def test_only_the_command_line_prints(module: str) -> None:
    calls = [ast.unparse(node.func) for node in ast.walk(SOURCES[module]) if isinstance(node, ast.Call)]
    assert not {"print", "sys.stdout.write", "sys.stderr.write"} & set(calls)
    assert not {"click", "rich", "tqdm"} & {name.split(".")[0] for name in _imports(module)}
