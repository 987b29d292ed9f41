"""The table of a run: what LAMMPS wrote at each step, by column."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SimulationError

Table = Mapping[str, NDArray[np.float64]]
"""Values (n,), one per row, by the name of the column."""


def read_table(path: Path) -> Table:
    """Read the table of a run.

    An incomplete last line (the run is still going, or was killed) is ignored.

    Parameters
    ----------
    path : Path
        A header line `# column/unit ...`, then one row of numbers per step.

    Raises
    ------
    SimulationError
        If the file is missing, is not such a table, or holds no row.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise SimulationError(f"{path}: no table of a run ({error.strerror})") from error
    except ValueError:
        raise SimulationError(f"{path}: empty; the run ended before its first step") from None
    names = column_names(header)
    if not header.startswith("#") or "step" not in names:
        raise SimulationError(
            f"{path}: expected a header `# step ...` with the names of the columns, got"
            f" {header.strip()[:80]!r}"
        )
    whole = [line for line in lines if line.endswith("\n") and line.strip()]
    if not whole:
        raise SimulationError(f"{path}: no step; the run ended before its first step")
    try:
        rows = np.loadtxt(whole, ndmin=2, comments=None)
    except ValueError as error:
        raise SimulationError(f"{path}: expected {len(names)} numbers a row: {error}") from error
    if rows.shape[1] != len(names):
        raise SimulationError(f"{path}: expected {len(names)} columns, got {rows.shape[1]}")
    steps = rows[:, names.index("step")]
    if not np.isfinite(steps).all():
        raise SimulationError(f"{path}: damaged: expected whole numbers in column step")
    again = np.append(steps[1:] == steps[:-1], False)  # a further `run` begins with the last step
    return dict(zip(names, rows[~again].T, strict=True))


@dataclass(frozen=True)
class TableCurve:
    """Two columns of a table, as a figure draws them."""

    x: NDArray[np.float64]
    """(n,)."""
    y: NDArray[np.float64]
    """(n,)."""


def last_row(path: Path) -> dict[str, float] | None:
    """Return the last complete row of a table by column name; None if it has no rows."""
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    names = column_names(header)
    for line in reversed(lines):
        if line.endswith("\n") and len(line.split()) == len(names):
            return dict(zip(names, map(float, line.split()), strict=True))
    return None


def column_names(header: str) -> list[str]:
    """Return the names in a header `# step work/eV`, without their units."""
    return [word.partition("/")[0] for word in header.removeprefix("#").split()]
