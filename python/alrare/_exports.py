"""Public names of a package, imported when they are first asked for.

LAMMPS imports `alrare` at each start, and `alrare status` should not wait for torch. A package
lists its public names once, in its `__init__.pyi`, as type checkers and editors read it
(Scientific Python's SPEC 1).
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
        Its `__name__` and `__file__`; ``from .module import Name as Name`` in the stub beside it
        makes a name public.
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
