"""Methods, protocols and datasets by name: those of this repository, of entry points, and of plugin files.

Listing reads one line of each file and imports none. An entry point of the group `bench.methods` names a module that
holds a method; one of `bench.protocols` names a package whose `*.toml` files are protocols; one of `bench.datasets`
names a module that opens a dataset (see `bench.data`).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from bench.core.failures import describe_failure, find_line
from bench.core.files import digest
from bench.core.setting_names import RENAMED
from bench.core.source_code import digest_source, find_module, trace_imports
from bench.core.toml import read_toml
from bench.data import datasets
from bench.errors import BadFileError, BenchError, MissingDataError, RequestError, UnknownNameError
from bench.recipe import configure as configure
from bench.recipe import make_config as make_config
from bench.recipe import refuse_idle as refuse_idle
from bench.recipe import settle as settle

if TYPE_CHECKING:
    from bench.recipe import MethodClass
    from bench.scoring.protocol import BoundProtocol, Family, Record

_Found = TypeVar("_Found")

ROOT = Path(__file__).resolve().parent.parent

_PLUGINS: dict[Literal["method", "protocol", "net"], dict[str, Path]] = {"method": {}, "protocol": {}, "net": {}}
"""Name to file of every `--plugin`, except datasets, which `bench.data.datasets` keeps."""

_LOADED: dict[Path, str] = {}
"""The digest of each code file when this process first requested it: the code that the process runs."""

LIBRARIES = ("timm", "torchvision")
"""Packages whose nets are named with the package's name and a colon in front."""


@dataclass(frozen=True)
class Code:
    """The code of a method or net.

    own: the digest or version of others' code, which is part of addresses; None without any. shipped: the digest of
    each of our modules.
    """

    own: str | None
    shipped: Mapping[str, str]


@dataclass(frozen=True)
class Listed:
    """A name and its summary line. origin: the file. module: what to import (None: load the file itself)."""

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


def is_shipped(name: str) -> bool:
    """Return whether a method is one of ours, not of a plugin or an entry point."""
    return name in _list_shipped(ROOT / "methods") and name not in _PLUGINS["method"]


@functools.cache
def _list_shipped(folder: Path) -> frozenset[str]:
    """List the methods of a folder, once in a process."""
    return frozenset(_name(path) for path in _files(folder, ".py"))


def protocols() -> dict[str, Listed]:
    """Every protocol, by name, in alphabetical order."""
    files = _protocol_files().items()
    return {name: Listed(name, _toml_summary(path, path.stat().st_mtime_ns), str(path)) for name, path in files}


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


def check_settings(where: str, names: Iterable[str], cls: MethodClass) -> None:
    """Check settings of which a method uses only those that it has; each of the others must exist in another method.

    Raises UnknownNameError, naming where the setting is given, and similar names.
    """
    if not (others := {*names} - cls.Config.model_fields.keys() - _list_loaded_settings()):
        return
    known = _list_all_settings()
    if unknown := sorted(others - known):
        raise UnknownNameError(f"setting in {where}", unknown[0], known, hint="python -m bench show METHOD")


def _list_loaded_settings() -> set[str]:
    """List the settings of the kinds of method, with their former names."""
    from bench.method import BaseConfig

    configs, found = [BaseConfig], {*RENAMED}
    while configs:
        config = configs.pop()
        found |= config.model_fields.keys()
        configs += config.__subclasses__()
    return found


def _list_all_settings() -> set[str]:
    """List the settings of all methods; a file that cannot be imported has none."""
    for name in methods():
        with contextlib.suppress(RequestError):
            method(name)
    return _list_loaded_settings()


def check_name(text: str) -> None:
    """Raise UnknownNameError for a method or variant that does not exist, without importing torch.

    Variants are not checked if the method's file computes them.
    """
    name, colon, variant = text.partition(":")
    listed = _find_listed(name)
    if colon and (known := variants(listed)):
        _find(f"variant of {name}", variant, dict.fromkeys(known), f"python -m bench show {name}")


def find_protocol_file(name: str) -> Path:
    """Return the file of a protocol. Raises UnknownNameError."""
    return _find("protocol", name, _protocol_files(), "python -m bench list protocols")


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
    """Return the variants in a file. written: its modification time, the key of the cache."""
    value = _assigned_value(path, written, "variants")
    if not isinstance(value, ast.Dict):
        return ()
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return tuple(keys) if len(keys) == len(value.keys) else ()


@functools.cache
def _assigned_value(path: Path, written: int, name: str) -> ast.expr | None:
    """Return the value that a file assigns to a name; None if none or several. written: as in `_variants`."""
    assignments = [node for node in ast.walk(_parse(path, written)) if isinstance(node, ast.AnnAssign | ast.Assign)]
    values = [node.value for node in assignments if _sets(node, name)]
    return values[0] if len(values) == 1 else None


def _sets(node: ast.AnnAssign | ast.Assign, name: str) -> bool:
    """Whether a statement sets a name."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(target) for target in targets] == [name]


def protocol(name: str) -> Record:
    """Read the record of a protocol. Raises UnknownNameError, and BadFileError for a file that breaks a rule."""
    from bench.scoring.protocol import read_record

    return read_record(find_protocol_file(name))


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
    """Return every external net, by name: those of entry points of the group `bench.nets`, and of plugin files."""
    found: dict[str, Listed] = {}
    for entry in _entry_points("bench.nets"):
        spec = _spec(entry.module)
        found[entry.name] = _list_method(entry.name, Path(spec.origin) if spec and spec.origin else None, entry.module)
    return found | {name: _list_method(name, path, None) for name, path in _PLUGINS["net"].items()}


def net(name: str) -> object:
    """Import the `NET` of an external module. Raises UnknownNameError, BadFileError."""
    listed = _find("net", name, nets(), "python -m bench list nets")
    return getattr(_load(listed), "NET", None)


def find_net(name: str) -> Any:
    """Import `methods.nets`, which loads torch, and find any net by name. Raises as `methods.nets.find_net`."""
    return _import("methods.nets").find_net(name)


def without_weights() -> AbstractContextManager[None]:
    """Return a context in which nets are built without downloading or loading weights; see `methods.nets`."""
    return cast("AbstractContextManager[None]", _import("methods.nets").without_weights())


def find_download(net: str) -> str:
    """Return the source of a net's ImageNet weights if they need to be downloaded, else "". Raises as `find_net`."""
    return str(_import("methods.nets").find_download(net))


def read_method_code(name: str) -> Code:
    """Digest a method's file and the files beside it that it imports. Raises UnknownNameError."""
    return _read_code(_find_listed(name))


def read_net_code(name: str) -> Code:
    """Digest the code of a net: its file, or its library's version, and the modules that load its weights.

    Raises UnknownNameError, and RequestError for a library that is not installed.
    """
    library, colon, _ = name.partition(":")
    if colon and library in LIBRARIES:
        own = f"{library} {_read_version(library)}"
        return Code(own, _read_shipped("methods.nets.libraries", "methods.nets.weights"))
    if name in (known := nets()):
        code = _read_code(known[name])
        return Code(code.own, {**code.shipped, **_read_shipped("methods.nets.measured", "methods.nets.weights")})
    module = _import("methods.nets").locate_net(name)
    return Code(None, _read_shipped(module, "methods.nets.weights"))


def list_edited_since() -> list[str]:
    """List the files that were edited after this process loaded them: it still runs their former code."""
    return sorted(str(path) for path, before in _LOADED.items() if path.exists() and digest_source(path) != before)


def _read_code(listed: Listed) -> Code:
    files = _trace_code(listed)
    digests = {module: _digest_loaded(path) for module, path in files.items()}
    shipped = {module: digests[module] for module, path in files.items() if _is_shipped(path)}
    own = {module: value for module, value in digests.items() if module not in shipped}
    return Code(digest(own) if own else None, shipped)


def _read_shipped(*modules: str) -> dict[str, str]:
    """Digest modules of ours, and those of ours that they import."""
    files = {name: path for module in modules for name, path in trace_imports(module, _find_shipped).items()}
    return {name: _digest_loaded(path) for name, path in sorted(files.items())}


def _trace_code(listed: Listed) -> dict[str, Path]:
    """Return the files of a method or net by module: its own, those beside it that it imports, and imports of ours.

    "Beside" a plugin file means in its folder, or in folders that the user added to Python's path; beside a module of a
    package, in that package.
    """
    path = Path(listed.origin)
    if listed.module and listed.module.startswith("methods."):
        return trace_imports(listed.module, _find_shipped)
    start = listed.module or path.stem
    if listed.module is None:
        top, folders = None, [*_list_local_folders(), path.parent]
    else:
        top, folders = start.partition(".")[0], [path.parents[start.count(".") + (path.name == "__init__.py")]]

    def find(module: str) -> Path | None:
        if module == start:
            return path if path.is_file() else None
        package = module.partition(".")[0]
        if package == "methods":
            return _find_shipped(module)
        return find_module(module, folders) if top in (None, package) else None

    return trace_imports(start, find)


def _find_shipped(module: str) -> Path | None:
    """Return the file of one of our modules; None for the catalogue of nets, each of which is traced separately."""
    if not module.startswith("methods.") or module == "methods.nets":
        return None
    return find_module(module, [ROOT])


def _is_shipped(path: Path) -> bool:
    return path.is_relative_to(ROOT / "methods")


def _list_local_folders() -> list[Path]:
    """Return the folders of Python's path, except ours, the standard library's and those of installed packages."""
    standard = Path(sysconfig.get_path("stdlib")).resolve()
    folders = [Path(folder or ".").resolve() for folder in sys.path]
    return [
        folder
        for folder in folders
        if folder.is_dir()
        and not {"site-packages", "dist-packages"} & {*folder.parts}
        and not folder.is_relative_to(standard)
        and folder != ROOT
    ]


def _digest_loaded(path: Path) -> str:
    return _LOADED.setdefault(path, digest_source(path))


def _read_version(library: str) -> str:
    """Return a library's version without its build suffix. Raises RequestError if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        raise RequestError(f"Nets {library}:NAME need the package {library}: pip install {library}.") from None


def refuse_installed(path: Path, how: str) -> None:
    """Raise RequestError for a path inside an installed weakloc, which the next installation replaces."""
    if path.absolute().is_relative_to(ROOT) and any(ROOT.glob("weakloc-*.dist-info")):
        raise RequestError(f"{path} is part of the installed weakloc, which the next installation replaces. {how}")


def use_plugin(path: Path) -> None:
    """Add a user's own method or net (`.py`) or protocol (`.toml`), named after its file; or a dataset (`.toml`).

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
    if kind != "protocol":
        _forget_edited(_list_method(name, path, None))


def _forget_edited(listed: Listed) -> None:
    """Make the next import of a plugin, and of the files beside it, load them again if one was edited since."""
    files = {path for path in _trace_code(listed).values() if not _is_shipped(path)}
    if any(path in _LOADED and _LOADED[path] != digest_source(path) for path in files):
        for path in files:
            _LOADED.pop(path, None)
        stale = {str(path) for path in files}
        for module in [name for name, one in sys.modules.items() if getattr(one, "__file__", None) in stale]:
            del sys.modules[module]


def plugins() -> list[Path]:
    """Return the files added by `use_plugin` and `--data FILE.toml`."""
    return [path for files in (*_PLUGINS.values(), datasets.DESCRIPTIONS) for path in files.values()]


def _find_kind(path: Path) -> Literal["method", "protocol", "net"]:
    """Return a plugin's kind: a Python file that sets NET defines a net."""
    if path.suffix == ".toml":
        return "protocol"
    try:
        is_net = _assigned_value(path, path.stat().st_mtime_ns, "NET") is not None
    except (SyntaxError, ValueError):
        return "method"  # importing it reports the error
    return "net" if is_net else "method"


def read_keys(path: Path) -> frozenset[str]:
    """Read the top-level keys of a TOML file, from which its kind is recognised. Raises BadFileError."""
    return frozenset(read_toml(path))


def _describes_dataset(path: Path) -> bool:
    try:
        return "layout" in read_keys(path)
    except BadFileError:
        return False  # reading it as a protocol reports the error


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


def _files(folder: Path, suffix: str) -> tuple[Path, ...]:
    """List the files of a folder that define something by name: not subfolders, nor files such as `__init__.py`."""
    return _list_files(folder, suffix, folder.stat().st_mtime_ns)


@functools.cache
def _list_files(folder: Path, suffix: str, _changed: int) -> tuple[Path, ...]:
    """List a folder once, until it changes."""
    names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(suffix) and entry.is_file()]
    return tuple(folder / name for name in sorted(names) if not name.startswith(("_", ".")))


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
def _parse(path: Path, _written: int) -> ast.Module:
    """Parse a file, cached by its modification time. Raises SyntaxError, ValueError."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _docstring_line(path: Path, written: int) -> str:
    """Read the docstring line of a file modified at time `written`; cached, as a thousand runs ask for it."""
    try:
        text = ast.get_docstring(_parse(path, written))
    except (SyntaxError, ValueError) as error:
        return f"(not valid Python: {error})"
    return (text or "").partition("\n")[0]


@functools.cache
def _toml_summary(path: Path, written: int) -> str:
    """Read the summary of a file modified at time `written`; cached, as a thousand runs ask for it."""
    try:
        return str(read_toml(path).get("summary", ""))
    except BadFileError as error:
        return f"({error.rule})"


@functools.cache
def _entry_points(group: str) -> tuple[Any, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _spec(module: str) -> ModuleSpec | None:
    """Locate a module, without importing its parents as `importlib.util.find_spec` would."""
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
    """Import a listed method. Raises BadFileError for a file that does not import, whatever it raises."""
    try:
        return _import(listed.module) if listed.module else _load_file(Path(listed.origin))
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        files = map(str, _trace_code(listed).values())
        raise BadFileError(listed.origin, describe_import_error(error, files)) from error


def describe_import_error(error: BaseException, files: Iterable[str]) -> str:
    """Describe why a user's file cannot be imported: the exception, from it or from its imports, and what to do."""
    advice = "Correct it, and run the same command again"
    if isinstance(error, ModuleNotFoundError) and error.name:
        advice = f"Install {error.name.partition('.')[0]}, or put it beside the file"
    return f"cannot be imported: {describe_failure(error, [*files])}. {advice}."


def find_own_line(error: BaseException) -> tuple[str, int] | None:
    """Return the file and line of an exception's last frame in external code, if it has any."""
    listed = [Path(one.origin) for one in (*methods().values(), *nets().values())]
    own = [str(path) for path in (*_LOADED, *listed) if not _is_shipped(path)]
    return find_line(error, own) if own else None


def describe_own_failure(error: BaseException) -> str:
    """Describe an exception, with the last line of external code that it passed."""
    line = find_own_line(error)
    return describe_failure(error, [line[0]] if line else ())


def _load_file(path: Path) -> ModuleType:
    name = f"weakloc_plugin_{path.stem}"
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    helpers = _list_helpers(path)
    for file in (path, *helpers.values()):
        _digest_loaded(file)
    if helpers and str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path, loader=_FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickling look the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # only partly loaded: a further import must raise the same error
        raise
    for helper, file in helpers.items():
        if helper in sys.modules and sys.modules[helper].__file__ != str(file):
            del sys.modules[name]
            raise ImportError(f"its {helper} is not {file}, but {sys.modules[helper].__file__}: rename one of them")
    return module


class _FreshLoader(SourceFileLoader):
    """Compiles the file anew: Python's cached bytecode may be outdated by an edit in the same second."""

    def path_stats(self, path: Any) -> Any:
        """Raise OSError, so that no cached bytecode is read."""
        raise OSError


def _list_helpers(path: Path) -> dict[str, Path]:
    """Return the files beside a plugin file that it imports, by module."""
    files = _trace_code(Listed(path.stem, "", str(path)))
    return {module: file for module, file in files.items() if file != path and not _is_shipped(file)}


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
