r"""Whether the forces of a method are minus the gradient of its energy, in eV and Å.

A method is checked once, by two labels of a frame that is moved a little forth and back. With the
displacement :math:`d` and the three forces :math:`F_-, F_0, F_+` at :math:`x - d, x, x + d`, the
energy must change by

.. math::
    E_+ - E_0 = \tfrac1{12} (F_- - 8 F_0 - 5 F_+) \cdot d, \qquad
    E_0 - E_- = \tfrac1{12} (F_+ - 8 F_0 - 5 F_-) \cdot d

up to an error of fourth order in :math:`d`. Near a minimum the two changes have opposite signs, on
a slope the same, so that one of the two always shows a wrong sign or unit.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from ..units import BOHR, HARTREE, KCAL_PER_MOL

AMPLITUDE = 0.02
"""Å; standard deviation of the displacement of each coordinate."""
RELATIVE = 0.1
"""The check fails if the energy changes by more than this share else than the forces say, ..."""
ABSOLUTE = 2e-3
"""... and by more than this, eV. Grids and loose self-consistency make a few meV of noise."""

_FACTORS = {
    "the energy is in Hartree and the forces are in eV/Å": 1 / HARTREE,
    "the energy is in Rydberg and the forces are in eV/Å": 2 / HARTREE,
    "the energy is in kcal/mol and the forces are in eV/Å": 1 / KCAL_PER_MOL,
    "the energy is in kJ/mol and the forces are in eV/Å": 4.184 / KCAL_PER_MOL,
    "the energy is in eV and the forces are in Hartree/Bohr": HARTREE / BOHR,
    "the energy is in eV and the forces are in Hartree/Å": HARTREE,
    "the energy is in eV and the forces are in Rydberg/Bohr": HARTREE / BOHR / 2,
    "the energy is in eV and the forces are in kcal/mol/Å": KCAL_PER_MOL,
    "the forces are per Bohr instead of per Å": 1 / BOHR,
    "the forces are per nm instead of per Å": 0.1,
}
"""Change of the energy over that which the forces give, by what went wrong."""


@dataclass(frozen=True)
class Step:
    """Energy and forces of one of the three configurations."""

    energy: float
    """eV."""
    forces: NDArray[np.float64]
    """(N, 3), eV/Å."""


def displacement(n_atoms: int) -> NDArray[np.float64]:
    """Return the (N, 3) displacement of the check in Å, always the same for N atoms."""
    return AMPLITUDE * np.random.default_rng(n_atoms).standard_normal((n_atoms, 3))


def displaced(atoms: Atoms) -> tuple[Atoms, Atoms]:
    """Return the configurations at minus and plus the displacement."""
    moved = []
    for sign in (-1, 1):
        frame = atoms.copy()
        frame.positions += sign * displacement(len(atoms))
        moved.append(frame)
    return moved[0], moved[1]


def energy_changes(
    before: Step, center: Step, after: Step
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two energy changes of the check: as labelled, and as the forces say; eV each."""
    by_energy = np.array([after.energy - center.energy, center.energy - before.energy])
    d = displacement(len(center.forces))
    back, here, forth = (float(np.sum(step.forces * d)) for step in (before, center, after))
    by_forces = np.array([back - 8 * here - 5 * forth, forth - 8 * here - 5 * back]) / 12
    return by_energy, by_forces


def contradiction(by_energy: ArrayLike, by_forces: ArrayLike, n_atoms: int) -> str:
    """Compare energy changes with those that the forces give.

    Parameters
    ----------
    by_energy, by_forces : (K,) array, eV
        Changes between the same configurations, at least one.
    n_atoms : int
        Atoms of the configurations.

    Returns
    -------
    str
        The contradiction in a sentence with its likely cause; empty if there is none.
    """
    energies, works = np.asarray(by_energy, float), np.asarray(by_forces, float)
    size = max(np.linalg.norm(energies), np.linalg.norm(works))
    if np.linalg.norm(energies - works) <= ABSOLUTE + RELATIVE * size:
        return ""
    row = int(np.argmax(np.abs(energies - works)))
    return (
        f"where an atom moves by some {AMPLITUDE:g} Å, the energy changes by {energies[row]:+.4g},"
        f" the forces say {works[row]:+.4g} eV: {likely_cause(energies, works, n_atoms)}"
    )


def likely_cause(energies: NDArray[np.float64], works: NDArray[np.float64], n_atoms: int) -> str:
    """Say why energies and forces do not belong together: a sign, a unit, or neither."""
    other = (
        "the forces are not those of this energy (of another method, without a correction that the"
        " energy has, or the calculator keeps something from label to label)"
    )
    if not np.any(works):
        return "the forces are all zero"
    ratio = float(energies @ works / (works @ works))
    if np.linalg.norm(energies - ratio * works) > RELATIVE * np.linalg.norm(energies) + ABSOLUTE:
        return other
    causes = {"they are the gradient, not minus the gradient: flip their sign": -1.0}
    for cause, factor in _FACTORS.items():
        causes |= {cause: factor, f"{cause}, with the wrong sign": -factor}
    causes |= {"the energy is per atom": 1 / n_atoms}
    near = min(causes, key=lambda cause: abs(causes[cause] / ratio - 1))
    return near if abs(causes[near] / ratio - 1) < RELATIVE / 2 else other
