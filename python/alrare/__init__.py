"""Active learning of neural-network potentials for rare events, inside LAMMPS."""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load `EnsembleCalculator` when it is asked for: LAMMPS imports this package at each start."""
    if name == "EnsembleCalculator":
        return importlib.import_module(".model.calculator", __name__).EnsembleCalculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
