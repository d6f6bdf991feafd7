"""Names to methods, protocols and datasets: those of this repository, of entry points, and of plugin files.

Listing reads one line of each file and imports nothing of it. An entry point of the group `bench.methods` names a
module that holds a method; one of `bench.protocols` names a package whose `*.toml` files are protocols; one of
`bench.datasets` names a module that opens a dataset (see `bench.data`).
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from bench.core.files import file_digest
from bench.data import datasets
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from bench.recipe import configure as configure
from bench.recipe import make_config as make_config
from bench.recipe import settle as settle

if TYPE_CHECKING:
    from bench.recipe import MethodClass
    from bench.scoring.protocol import BoundProtocol, Family, Record

_Found = TypeVar("_Found")

ROOT = Path(__file__).resolve().parent.parent

_PLUGINS: dict[Literal["method", "protocol", "net"], dict[str, Path]] = {"method": {}, "protocol": {}, "net": {}}
"""Name to file of every `--plugin`, but for datasets, which `bench.data.datasets` keeps; the only state here."""


@dataclass(frozen=True)
class Listed:
    """A name and its line; `origin` is the file, `module` what to import (None: load the file itself)."""

    name: str
    summary: str
    origin: str
    module: str | None = None


def methods() -> dict[str, Listed]:
    """Every method, by name, in alphabetical order."""
    own = [(path, f"methods.{path.stem}") for path in _files(ROOT / "methods", ".py")]
    found = {_name(path): _list_method(_name(path), path, module) for path, module in own}
    for entry in _entry_points("bench.methods"):
        spec = _spec(entry.module)
        path = Path(spec.origin) if spec is not None and spec.origin else None
        found.setdefault(entry.name, _list_method(entry.name, path, entry.module))
    for name, path in _PLUGINS["method"].items():
        found[name] = _list_method(name, path, None)
    return dict(sorted(found.items()))


def protocols() -> dict[str, Listed]:
    """Every protocol, by name, in alphabetical order."""
    return {name: Listed(name, _toml_summary(path), str(path)) for name, path in _protocol_files().items()}


def _protocol_files() -> dict[str, Path]:
    """List the file of every protocol, by name, in alphabetical order, without reading any."""
    files = [*_files(ROOT / "protocols", ".toml")]
    for entry in _entry_points("bench.protocols"):
        spec = _spec(entry.module)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            files += _files(Path(folder), ".toml")
    files += _PLUGINS["protocol"].values()
    found: dict[str, Path] = {}
    for path in files:
        found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def method(name: str, base: str | None = None) -> MethodClass:
    """Import the class of a method; an attribution is bound to `base`, or to its default base.

    Raises UnknownNameError, RequestError for a base that cannot be explained, and BadFileError for a file that cannot
    be imported or is not one method.
    """
    listed = _find_listed(name)
    cls = _select_method(_load(listed), listed)
    cls.name = listed.name
    return _bind_to_base(cls, base)


def parse(text: str, settings: Mapping[str, Any] | None = None) -> tuple[MethodClass, str | None]:
    """Parse `name` or `name:variant` into a method and a variant, the method's default one if none is given.

    `settings` may name the base of an attribution. Raises as `method`, and UnknownNameError for a variant.
    """
    name, colon, variant = text.partition(":")
    cls = method(name, (settings or {}).get("base"))
    if not colon:
        return cls, cls.default_variant
    _find(f"variant of {name}", variant, cls.variants, f"python -m bench show {name}")
    return cls, variant


def check_name(text: str) -> None:
    """Raise UnknownNameError for a method, or a variant, that nobody has; torch is not imported to find out.

    A method whose file does not list its variants one by one is not asked for them.
    """
    name, colon, variant = text.partition(":")
    listed = _find_listed(name)
    if colon and (known := variants(listed)):
        _find(f"variant of {name}", variant, dict.fromkeys(known), f"python -m bench show {name}")


def variants(listed: Listed) -> tuple[str, ...]:
    """Read the variants that a method's file lists, without importing it; none if they are computed."""
    path = Path(listed.origin)
    return _variants(path, path.stat().st_mtime_ns) if path.is_file() else ()


def default_variant(name: str) -> str | None:
    """Read the default variant that a method's file sets, without importing it; None if it sets none."""
    try:
        path = Path(_find_listed(name).origin)
    except UnknownNameError:
        return None
    value = _assigned_value(path, path.stat().st_mtime_ns, "default_variant") if path.is_file() else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _variants(path: Path, written: int) -> tuple[str, ...]:
    """Those of a file as it was `written` at a time."""
    value = _assigned_value(path, written, "variants")
    if not isinstance(value, ast.Dict):
        return ()
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return tuple(keys) if len(keys) == len(value.keys) else ()


@functools.cache
def _assigned_value(path: Path, written: int, name: str) -> ast.expr | None:
    """Return what a file, as it was `written` at a time, assigns to a name; None if it does not, or more than once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.Assign)]
    values = [node.value for node in assignments if _sets(node, name)]
    return values[0] if len(values) == 1 else None


def _sets(node: ast.AnnAssign | ast.Assign, name: str) -> bool:
    """Whether a statement sets a name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(target) for target in targets] == [name]


def protocol(name: str) -> Record:
    """Read the record of a protocol. Raises UnknownNameError, and BadFileError for a file that breaks a rule."""
    from bench.scoring.protocol import read_record

    return read_record(_find("protocol", name, _protocol_files(), "python -m bench list protocols"))


def family(name: str) -> Family:
    """Import a scoring family. Raises UnknownNameError."""
    known = [_name(path) for path in _files(ROOT / "protocols" / "scoring", ".py")]
    if name not in known:
        raise UnknownNameError("scoring family", name, known)
    return cast("Family", _import(f"protocols.scoring.{name.replace('-', '_')}"))


def bind(record: Record) -> BoundProtocol:
    """Bind a record to its family. Raises RequestError for a convention or value that the family does not have."""
    from bench.scoring.protocol import BoundProtocol

    bound = BoundProtocol(record, family(record.family))
    _ = bound.conventions, bound.metrics  # checked now, before anything is trained
    return bound


def nets() -> dict[str, Listed]:
    """Every net of others, by name: those of entry points of the group `bench.nets`, and of plugin files."""
    found: dict[str, Listed] = {}
    for entry in _entry_points("bench.nets"):
        spec = _spec(entry.module)
        found[entry.name] = _list_method(entry.name, Path(spec.origin) if spec and spec.origin else None, entry.module)
    return found | {name: _list_method(name, path, None) for name, path in _PLUGINS["net"].items()}


def net(name: str) -> object:
    """Import the `NET` of a module of others. Raises UnknownNameError, BadFileError."""
    listed = _find("net", name, nets(), "python -m bench list nets")
    return getattr(_load(listed), "NET", None)


def find_net(name: str) -> Any:
    """Import `methods.nets`, which loads torch, and find any net by name; raises as its `find_net`."""
    return _import("methods.nets").find_net(name)


def digest_net(name: str) -> str:
    """Compute the digest of the file that defines a net of others."""
    return file_digest(Path(nets()[name].origin))


def refuse_installed(path: Path, how: str) -> None:
    """Raise RequestError for a path inside an installed weakloc, which the next installation replaces."""
    if path.absolute().is_relative_to(ROOT) and any(ROOT.glob("weakloc-*.dist-info")):
        raise RequestError(f"{path} is part of the installed weakloc, which the next installation replaces. {how}")


def use_plugin(path: Path) -> None:
    """Add a method or net (`.py`) or a protocol (`.toml`) of the user's own, named as its file; or a dataset (`.toml`).

    A Python file that sets `NET` is a net, a TOML file with a key `layout` a dataset. Raises MissingDataError,
    RequestError for another kind of file, and for a name that is taken; BadFileError for a dataset's file that breaks a
    rule.
    """
    if not path.is_file():
        raise MissingDataError("Plugin", path, "Give --plugin the path of a .py or a .toml file.")
    if path.suffix not in (".py", ".toml"):
        expected = "a method or a net (.py), a protocol or a dataset (.toml)"
        raise RequestError(f"Plugin {path}: expected {expected}, but got {path.suffix!r}.")
    if path.suffix == ".toml" and _describes_dataset(path):
        datasets.use_description(path)
        return
    path = path.resolve()
    kind = _find_kind(path)
    name = path.stem if kind == "protocol" else _name(path)
    taken = {"method": methods, "protocol": protocols, "net": nets}[kind]()
    if name in taken and taken[name].origin != str(path):
        raise RequestError(
            f"Plugin {path}: there is a {kind} {name!r} already ({taken[name].origin}). Rename the file."
        )
    _PLUGINS[kind][name] = path


def plugins() -> list[Path]:
    """Return the files added by `use_plugin` and `--data FILE.toml`."""
    return [path for files in (*_PLUGINS.values(), datasets.DESCRIPTIONS) for path in files.values()]


def _find_kind(path: Path) -> Literal["method", "protocol", "net"]:
    """Tell a plugin's kind: a Python file that sets NET defines a net."""
    if path.suffix == ".toml":
        return "protocol"
    try:
        is_net = _assigned_value(path, path.stat().st_mtime_ns, "NET") is not None
    except (SyntaxError, ValueError):
        return "method"  # importing it says what is wrong with it
    return "net" if is_net else "method"


def read_keys(path: Path) -> frozenset[str]:
    """Read the top-level keys of a TOML file, which tell what it describes. Raises BadFileError."""
    try:
        return frozenset(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadFileError(path, f"not valid TOML: {error}") from None


def _describes_dataset(path: Path) -> bool:
    try:
        return "layout" in read_keys(path)
    except BadFileError:
        return False  # reading it as a protocol says what is wrong with it


def _bind_to_base(cls: MethodClass, base: str | None) -> MethodClass:
    """Bind an attribution to its base; return any other method unchanged."""
    from bench.method import Attribution, MapMethod

    if not issubclass(cls, Attribution):
        return cls
    explained = method(base or cls.Own.model_fields["base"].default)
    if not issubclass(explained, MapMethod) or issubclass(explained, Attribution):
        raise RequestError(
            f"{cls.name} explains the scores of a trained map method, and base={explained.name} is none. "
            "Give --set base=classifier, or another."
        )
    return cls.on(explained)


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder that may be listed: layers, nets and the like are folders, `__init__` is nobody's name."""
    return sorted(path for path in folder.glob(f"[!_.]*{suffix}") if path.is_file())


def _find(what: str, name: str, known: Mapping[str, _Found], hint: str) -> _Found:
    if name not in known:
        raise UnknownNameError(what, name, known, hint=hint)
    return known[name]


def _find_listed(name: str) -> Listed:
    """Find a method by name, reading no other file if it is a plugin or one of ours. Raises UnknownNameError."""
    if name in _PLUGINS["method"]:
        return _list_method(name, _PLUGINS["method"][name], None)
    own = ROOT / "methods" / f"{name.replace('-', '_')}.py"
    if _name(own) == name and own.match("[!_.]*.py") and own.is_file():
        return _list_method(name, own, f"methods.{own.stem}")
    return _find("method", name, methods(), "python -m bench list methods")


def _list_method(name: str, path: Path | None, module: str | None) -> Listed:
    if path is None:
        return Listed(name, f"(module {module} is not installed)", str(module), module)
    written = path.stat().st_mtime_ns if path.exists() else 0
    return Listed(name, _docstring_line(path, written), str(path), module)


@functools.cache
def _docstring_line(path: Path, written: int) -> str:
    """Read the docstring line of a file modified at time `written`; cached, as a thousand runs ask for it."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return f"(not valid Python: {error})"
    return (text or "").partition("\n")[0]


def _toml_summary(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("summary", ""))
    except ValueError as error:
        return f"(not valid TOML: {error})"


@functools.cache
def _entry_points(group: str) -> tuple[Any, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is, without importing its parents as `importlib.util.find_spec` would."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


def _import(module: str) -> ModuleType:
    """Import a module of this repository, even where the working directory has a `methods` folder of its own."""
    if str(ROOT) not in sys.path[:1]:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(module)


def _load(listed: Listed) -> ModuleType:
    """Import a listed method. Raises BadFileError for a file that does not import."""
    try:
        return _import(listed.module) if listed.module else _load_file(Path(listed.origin))
    except (ImportError, SyntaxError) as error:
        raise BadFileError(listed.origin, f"cannot be imported: {error}") from error


def _load_file(path: Path) -> ModuleType:
    name = f"weakloc_plugin_{path.stem}"
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickling look the module up by name
    spec.loader.exec_module(module)
    return module


def _select_method(module: ModuleType, listed: Listed) -> MethodClass:
    """Return the one concrete Method or Predictor that a module itself defines."""
    import inspect

    from bench.method import Method, Predictor

    own = [thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == module.__name__]
    found = [cls for cls in own if issubclass(cls, (Method, Predictor)) and not inspect.isabstract(cls)]
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise BadFileError(listed.origin, f"a method file defines exactly one concrete method, but it has: {names}")
    return found[0]
