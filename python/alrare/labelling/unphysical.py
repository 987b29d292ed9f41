"""When a configuration, or a label, is unphysical: the one place that decides it.

A configuration is unphysical if a position is not a finite number or two atoms are too close; a
label, if its energy, a force or its stress is not a finite number.
"""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..structure import closest_pair, pair_name
from .failures import LabelFailure


def check_configuration(atoms: Atoms, *, min_distance: float) -> None:
    """Refuse a configuration that no label can belong to.

    Electronic-structure programs may converge for such a configuration without a warning.

    Parameters
    ----------
    atoms : Atoms
    min_distance : float
        Å; two atoms closer than this are unphysical.

    Raises
    ------
    LabelFailure
        Of kind unphysical; the message names the atoms, counted from 1.
    """
    if not np.isfinite(atoms.positions).all():
        raise LabelFailure("unphysical", "a position is not finite")
    distance, first, second = closest_pair(atoms)
    if distance < min_distance:
        raise LabelFailure(
            "unphysical",
            f"{pair_name(first, second)} are {distance:.3f} Å apart; at least"
            f" {min_distance:g} Å is sane ([labeller] min_distance)",
        )


def check_label(energy: float, forces: NDArray[np.float64]) -> None:
    """Refuse an energy (eV) or (N, 3) forces (eV/Å) that are not finite.

    Raises
    ------
    LabelFailure
        Of kind unphysical.
    """
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise LabelFailure("unphysical", "the energy or a force is not finite")


def check_stress(stress: NDArray[np.float64]) -> None:
    """Refuse a (6,) stress (eV/Å³) that is not finite.

    Raises
    ------
    LabelFailure
        Of kind unphysical.
    """
    if not np.isfinite(stress).all():
        raise LabelFailure("unphysical", "the stress is not finite")
