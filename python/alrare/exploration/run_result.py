"""The result of one run by a model."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SelectionCounts:
    """The counts of fix al_select at the last step of a pull."""

    threshold: float | None = None
    """eV, or eV/Å with `uncertainty = "force"`; None if `screening_steps` was not reached."""
    selected: int = 0
    """Number of candidates written."""
    above: int = 0
    """Number of configurations above the threshold."""
    too_similar: int = 0
    """Number of those that were within a gap of a selected configuration."""
    unphysical: int = 0
    """Number of configurations refused as unphysical, which are never labelled."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class RunResult:
    """One run by the model."""

    seed: int
    """Seed of the velocities and the noise."""
    folder: Path
    """Folder of the input and all files that LAMMPS wrote."""
    table: Path | None
    """Its table, of a pull the work curve; None if the structure blew up before it began."""
    trajectory: Path
    """Dump of the configurations (`read_trajectory`); missing if `table` is None."""
    candidates: Path
    """Extended XYZ; missing or empty if there are no candidates."""
    selection: SelectionCounts
    """Counts of the fix."""
    finished: bool
    """Whether it did all its steps."""
    reason: str
    """Why it ended early; empty if finished."""
    seconds: float
    """Wall time."""


def counts_of(row: dict[str, float]) -> SelectionCounts:
    """Return the counts in the last row of a table."""
    return SelectionCounts(
        threshold=row["threshold"] if row["threshold"] > 0.0 else None,
        selected=int(row["selected"]),
        above=int(row["above"]),
        too_similar=int(row["too_similar"]),
        unphysical=int(row["unphysical"]),
    )
