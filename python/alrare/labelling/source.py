"""What identifies the code of a user's calculator: its version, or a hash of its source.

Nothing is imported for it, since an import would run the code in the main process.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from ..files import file_hash

WRITTEN = ("log", "out", "record", "restart", "scratch", "trace", "traj", "txt")
"""An argument whose name contains one of these names a file to write, not one to read."""
_VERSIONS = ("__version__", "version", "VERSION")


def code_version(calculator: str) -> str:
    """Return the version of the code behind a dotted path.

    It is the release of the installed package that holds the module, or the `__version__` or
    `version` that the module declares as a text. Where there is neither, it is a hash of the source
    of the module's top package, and of all modules without a release that it imports.

    Parameters
    ----------
    calculator : str
        Dotted path of a class or function.

    Returns
    -------
    str
        `unknown` if there is no such module.
    """
    top = calculator.partition(".")[0]
    spec = _find(top)
    if spec is None:
        return "unknown"
    release = _release(top, spec)
    return release or _declared(spec) or f"source {_source_hash(top, spec)}"


def with_file_hashes(value: Any) -> Any:
    """Return arguments in which each absolute path of a file is replaced by a hash of the file.

    So the method changes with what the file says, and not with the place where it lies. Files that
    the calculator writes, as the name of their argument says (`WRITTEN`), stay as they are.
    """
    if isinstance(value, dict):
        return {
            key: entry if any(word in key.lower() for word in WRITTEN) else with_file_hashes(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [with_file_hashes(entry) for entry in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        path = Path(value).expanduser()
        if path.is_file():
            return {"file": path.name, "sha256": file_hash(path)}
    return value


def _find(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):
        return None


def _release(top: str, spec: ModuleSpec) -> str | None:
    """Return the release of the installed package that a module belongs to, if it is fixed."""
    places = [Path(place).resolve() for place in _places(spec)]
    for name in _packages().get(top, ()):
        package = importlib.metadata.distribution(name)
        root = Path(str(package.locate_file(""))).resolve()
        if all(place.is_relative_to(root) for place in places) and not _is_editable(package):
            return package.version
    return None


@functools.cache  # it reads the records of all packages: half a second
def _packages() -> Mapping[str, list[str]]:
    """Return the installed packages by the top names of their modules."""
    return importlib.metadata.packages_distributions()


def _is_editable(package: importlib.metadata.Distribution) -> bool:
    """Whether a package is installed by a link to its source, which may change at any time."""
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _places(spec: ModuleSpec) -> list[str]:
    return list(spec.submodule_search_locations or [spec.origin or ""])


def _files(spec: ModuleSpec) -> list[Path]:
    """Return the files of a module, or of a package with all its modules."""
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
    places = [Path(place) for place in spec.submodule_search_locations]
    return sorted(f for p in places for f in p.rglob("*") if f.suffix in (".py", ".so", ".pyd"))


def _declared(spec: ModuleSpec) -> str | None:
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    for node in _tree(Path(spec.origin)).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            and any(isinstance(name, ast.Name) and name.id in _VERSIONS for name in node.targets)
        ):
            return node.value.value
    return None


def _source_hash(top: str, spec: ModuleSpec) -> str:
    digest = hashlib.sha256()
    for name, module in sorted(_own_modules(top, spec).items()):
        for file in _files(module):
            digest.update(f"{name} {file.name} {file_hash(file)}\n".encode())
    return digest.hexdigest()


def _own_modules(top: str, spec: ModuleSpec) -> dict[str, ModuleSpec]:
    """Return a module and those that it imports, directly or not, that belong to no release."""
    found, open_ = {top: spec}, [spec]
    while open_:
        for file in _files(open_.pop()):
            for name in _imported(file) - found.keys() - sys.stdlib_module_names:
                module = _find(name)
                if module is not None and _release(name, module) is None:
                    found[name] = module
                    open_.append(module)
    return found


def _imported(file: Path) -> set[str]:
    """Return the top names that a source file imports."""
    return (
        {name.partition(".")[0] for name in _imports(_tree(file))}
        if file.suffix == ".py"
        else set()
    )


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # the worker will say so
        return ast.Module(body=[], type_ignores=[])
