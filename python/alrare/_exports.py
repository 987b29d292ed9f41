"""Public names of a package, each imported when it is first used.

LAMMPS imports `alrare` at each start, and `alrare status` must not wait for torch. The public names
of a package are listed once, in its `__init__.pyi`, where type checkers and editors look for them
too (Scientific Python's SPEC 1).
"""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def public_names(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Parameters
    ----------
    package, file : str
        `__name__` and `__file__` of the package. Each ``from .module import Name as Name`` in its
        stub makes a name public.
    """
    homes: dict[str, str] = {}
    for node in ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                homes[alias.asname or alias.name] = "." * node.level + (node.module or "")

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name], package), name)

    return get, lambda: sorted(homes), sorted(homes)
