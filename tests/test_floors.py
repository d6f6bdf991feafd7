"""The floors of the house, read from the source: no import goes up or in a circle; what must be light or quiet is."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bench", "methods", "protocols", "slurm", "tools")

FLOORS = (
    "bench.errors",
    "bench.core",
    "bench.records bench.data",
    "bench.predictions",
    "bench.scoring",
    "bench.config bench.method bench.recipe bench.paper_recipe",
    "bench.registry bench.doctor",
    "bench.tables bench.training",
    "bench.gallery bench.tracking bench.execution",
    "bench.contract methods protocols",
    "bench.analysis bench.tracks",
    "slurm",
    "bench.site",
    "bench.verbs",
    "bench.cli bench.api bench.notebook",
    "tools bench bench.train bench.__main__",
)
"""Rooms, from the ground up: each may import those beside and below it."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}

MAY_IMPORT_TORCH = ("methods", "bench.training", "bench.method", "bench.data.images")
MAY_LOAD_TORCH = (
    *MAY_IMPORT_TORCH,
    "bench.execution",
    "bench.contract",
    "bench.train",
    "tools.learning_curves",
    "tools.operations",
)
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
LISTING = ("bench.__main__", "bench.cli", "bench.registry", "bench.recipe", "bench.core.files", "bench.errors")
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


def test_no_import_goes_up() -> None:
    assert not [
        f"{module} imports {name}"
        for module in SOURCES
        for name in _ours(_imports(module))
        if FLOOR[_home(name)] > FLOOR[_home(module)]
    ]


def test_no_import_goes_in_a_circle() -> None:
    graph = {module: _ours(_imports(module)) - {module} for module in SOURCES}
    TopologicalSorter(graph).prepare()


def test_the_harness_knows_no_method_and_no_protocol_and_they_do_not_know_each_other() -> None:
    strangers = {"bench": ["methods", "protocols"], "methods": ["protocols"], "protocols": ["methods"]}
    assert not [
        f"{module} imports {name}"
        for here, there in strangers.items()
        for module in SOURCES
        if _inside(module, [here])
        for name in _imports(module)
        if _inside(name, there)
    ]


def test_only_what_computes_imports_or_loads_anything_heavy() -> None:
    named = [
        f"{module} names {each.split('.')[0]}"
        for module in SOURCES
        if not _inside(module, MAY_IMPORT_TORCH)
        for each in _imports_at_once(module)
        if each.split(".")[0] in HEAVY
    ]
    loaded = [
        f"{module} loads {each}"
        for module in SOURCES
        if not _inside(module, MAY_LOAD_TORCH)
        for each in _loads(module) & HEAVY
    ]
    listing = [
        f"{module} loads {each}, and listing waits for it"
        for module in SOURCES
        if _inside(module, LISTING)
        for each in _loads(module) & TOO_HEAVY_FOR_LISTING
    ]
    assert not named + loaded + listing


def test_only_the_command_line_prints() -> None:
    assert not [
        f"{module} prints"
        for module in SOURCES
        if not _inside(module, ["bench.cli", "tools"])
        and (
            {"print", "sys.stdout.write", "sys.stderr.write"}
            & {ast.unparse(node.func) for node in ast.walk(SOURCES[module]) if isinstance(node, ast.Call)}
            or {"click", "rich", "tqdm"} & {name.split(".")[0] for name in _imports(module)}
        )
    ]


def test_one_function_cleans_what_the_command_line_prints() -> None:
    printing = ast.dump(ast.parse("click.echo", mode="eval").body)
    assert not [
        f"{module} prints by click.echo, not by echo or say of bench.cli.output"
        for module in SOURCES
        if _inside(module, ["bench.cli"]) and module != "bench.cli.output"
        if any(ast.dump(node) == printing for node in ast.walk(SOURCES[module]))
    ]
