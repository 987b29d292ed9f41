"""The work curve of a pull (paper, §2.2 and Fig. 2b), and means over pulls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SimulationError
from .table import read_table

COLUMNS = ("step", "distance", "target", "force", "work", "potential_energy", "temperature")
"""Columns of every work file; `lammps_input` writes them, with their units in the header."""


@dataclass(frozen=True)
class WorkCurve:
    """The work curve of one pull; every array is (n,), with one value per step.

    The spring pulls with force = spring · (target − distance). The work is this force integrated
    over the target: the energy put in at the moving end of the spring.
    """

    step: NDArray[np.float64]
    """MD step, from the start of the pull."""
    distance: NDArray[np.float64]
    """Distance of the two pulled atoms, Å."""
    target: NDArray[np.float64]
    """Target length of the spring, Å."""
    force: NDArray[np.float64]
    """Tension of the spring, eV/Å; positive pulls the atoms apart."""
    work: NDArray[np.float64]
    """Work done by the spring since the start of the pull, eV."""
    potential_energy: NDArray[np.float64]
    """Potential energy, eV."""
    temperature: NDArray[np.float64]
    """Temperature, K."""
    energy_std: NDArray[np.float64] | None
    """Standard deviation of the members' energies, eV; None for a pull by the labeller."""

    @property
    def x(self) -> NDArray[np.float64]:
        """What a figure draws along the horizontal axis: the distance, Å."""
        return self.distance

    @property
    def y(self) -> NDArray[np.float64]:
        """What a figure draws along the vertical axis: the work, eV."""
        return self.work


def read_work(path: Path) -> WorkCurve:
    """Read the work file of a pull.

    An incomplete last line (the pull is still running, or was killed) is ignored.

    Parameters
    ----------
    path : Path
        A header line `# column/unit ...`, then one row of numbers per step.

    Raises
    ------
    SimulationError
        If the file is missing, is not a work file, or holds no step.
    """
    columns = read_table(path)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise SimulationError(
            f"{path}: expected a work file with columns {', '.join(COLUMNS)}; it lacks"
            f" {', '.join(missing)}"
        )
    return WorkCurve(
        **{name: columns[name] for name in COLUMNS}, energy_std=columns.get("energy_std")
    )


@dataclass(frozen=True)
class Mean:
    """A mean over pulls, eV: an activation energy, or its difference between two potentials."""

    mean: float
    """The mean, eV."""
    sem: float | None
    """Standard error of the mean, eV; None for a single pull."""
    values: tuple[float, ...]
    """One value per pull, eV."""

    @property
    def n(self) -> int:
        """Number of pulls."""
        return len(self.values)


def mean_of(values: Sequence[float]) -> Mean:
    """Average over pulls, with the standard error of that mean.

    Parameters
    ----------
    values : sequence of float, eV
        One activation energy per pull; or, to compare two potentials, one difference per seed, in
        which the noise that both pulls share cancels.

    Raises
    ------
    ValueError
        If there is no value.
    """
    if not values:
        raise ValueError("a mean over pulls needs at least one pull, got none")
    array = np.asarray(values, dtype=np.float64)
    sem = float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else None
    return Mean(mean=float(array.mean()), sem=sem, values=tuple(float(value) for value in array))
