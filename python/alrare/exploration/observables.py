"""Observables of a pull: the activation energy, and where and how the molecule broke.

The maximum of the work scatters by a tenth of an eV from seed to seed (docs/results.md). The work
at the break, the peak of the spring force and the highest potential energy scatter less; and pulls
in which different bonds broke should not be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from ..errors import SimulationError
from .work import WorkCurve, activation_energy

BONDED = 1.25
"""Two atoms are bonded if closer than this times the sum of their covalent radii."""
BROKEN = 1.45
"""A bond is broken if longer than this times its initial length (C-C: about 2.2 Å)."""
_HEADER = 8  # lines of a snapshot before the atoms: step, count, box


@dataclass(frozen=True)
class Break:
    """The first bond that broke in a pull."""

    index: int
    """Index of the first frame in which it is broken, from 0."""
    atoms: tuple[int, int]
    """The bond's two atoms, from 1 as in LAMMPS."""


@dataclass(frozen=True)
class Observables:
    """Observables of one pull by a model or by the labeller."""

    activation_energy: float
    """Maximum of the work, eV (paper, Fig. 2b); an activation energy only if a bond broke."""
    peak_step: int
    """MD step of that maximum, from the start of the pull."""
    work_at_break: float | None
    """Work when the first bond broke, eV; None if no bond broke."""
    break_step: int | None
    """MD step of that break, from the start of the pull; None if no bond broke."""
    broken_bond: tuple[int, int] | None
    """The two atoms of that bond, from 1; None if no bond broke."""
    peak_force: float
    """Largest tension of the spring, eV/Å."""
    peak_energy: float
    """Highest potential energy minus that of the first step of the pull, eV."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


def observe(curve: WorkCurve, path: Sequence[Atoms]) -> Observables:
    """Compute the observables of a pull from its work curve and its configurations.

    Parameters
    ----------
    curve : WorkCurve
        Work curve of the pull.
    path : sequence of Atoms
        Trajectory of the pull in order of step, with `info["step"]`; may be empty.

    Raises
    ------
    SimulationError
        If the curve holds no finite work.
    """
    first = find_break(path)
    step = None if first is None else int(path[first.index].info["step"])
    energy = curve.potential_energy[np.isfinite(curve.potential_energy)]
    force = curve.force[np.isfinite(curve.force)]
    return Observables(
        activation_energy=activation_energy(curve),
        peak_step=int(curve.step[np.nanargmax(curve.work)]),
        work_at_break=None if step is None else float(np.interp(step, curve.step, curve.work)),
        break_step=step,
        broken_bond=None if first is None else first.atoms,
        peak_force=float(force.max()),
        peak_energy=float(energy.max() - energy[0]),
    )


def activation_energies(pulls: Mapping[int, Observables]) -> dict[int, float]:
    """Return the activation energy, eV, by seed, of the pulls in which a bond broke.

    The largest work of another pull only says how far it went.
    """
    return {
        seed: pulls[seed].activation_energy
        for seed in sorted(pulls)
        if pulls[seed].broken_bond is not None
    }


def find_break(frames: Sequence[Atoms]) -> Break | None:
    """Return the first broken bond of a pull; None if no bond broke.

    The bonds are those of the first frame. A bond is broken if it is longer than `BROKEN` times its
    length there. If several break in the same frame, the one with the largest ratio is returned.
    """
    if not frames:
        return None
    first, second = np.triu_indices(len(frames[0]), 1)
    radii = covalent_radii[frames[0].numbers]
    start = _lengths(frames[0], first, second)
    bonded = start < BONDED * (radii[first] + radii[second])
    first, second, start = first[bonded], second[bonded], start[bonded]
    for index, frame in enumerate(frames):
        stretch = _lengths(frame, first, second) / start
        if (stretch > BROKEN).any():
            worst = int(np.argmax(stretch))
            return Break(index, (int(first[worst]) + 1, int(second[worst]) + 1))
    return None


def _lengths(
    frame: Atoms, first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(
        frame.positions[first] - frame.positions[second], axis=1
    )
    return lengths


def read_trajectory(path: Path) -> list[Atoms]:
    """Read the configurations of a model's pull.

    Parameters
    ----------
    path : Path
        `trajectory.lammpstrj` of a pull; an incomplete last frame is ignored.

    Returns
    -------
    list of Atoms
        Molecules without a box, in order of step; `info["step"]` is the MD step.

    Raises
    ------
    SimulationError
        If the file is missing or damaged.
    """
    try:
        snapshots = path.read_text(encoding="utf-8").split("ITEM: TIMESTEP\n")[1:]
    except OSError as error:
        raise SimulationError(f"{path}: no configurations of a pull ({error.strerror})") from error
    try:
        frames = [_frame(text.splitlines(keepends=True)) for text in snapshots]
    except (ValueError, KeyError, IndexError) as error:
        raise SimulationError(
            f"{path}: expected the dump of a pull (id element xu yu zu), got another file ({error})"
        ) from error
    return [frame for frame in frames if frame is not None]


def _frame(lines: list[str]) -> Atoms | None:
    """Read a snapshot; return None if it is incomplete."""
    rows = lines[_HEADER:]
    if not rows:
        return None
    rows = rows[: int(lines[2])]
    if len(rows) < int(lines[2]) or not rows[-1].endswith("\n"):
        return None
    words = [row.split() for row in rows]
    positions = np.array([[float(x) for x in row[2:5]] for row in words])
    return Atoms([row[1] for row in words], positions, info={"step": int(lines[0])})
