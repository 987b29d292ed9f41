"""Pairs of near atoms, each once, for networks that are evaluated in torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms

from .. import _core
from ..errors import ModelError
from .species import finite_positions, species_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """P pairs of atoms within a cutoff; periodic images of one pair are pairs of their own."""

    first: Ints
    """(P,): an atom."""
    second: Ints
    """(P,): the other one; the same atom where it meets its own image."""
    vec: Floats
    """(P, 3), Å: from the first to the second."""


def find_pairs(
    species: Ints,
    positions: Floats,
    cell: Floats | None,
    pbc: Sequence[bool],
    cutoff: float,
) -> Pairs:
    """Find the pairs of a configuration.

    Parameters
    ----------
    species : (N,) array
    positions : (N, 3) array, Å
    cell : (3, 3) array, Å, or None
    pbc : three bool
    cutoff : float, Å

    Raises
    ------
    RuntimeError
        If two atoms are at the same place, or a position is not finite.
    """
    edge_i, edge_j, vec = _core.neighbors(species, positions, cutoff, cell, pbc)
    squares = (vec * vec).sum(axis=1)
    if len(squares) and squares.min() == 0.0:
        k = int(np.argmin(squares))
        raise RuntimeError(
            f"atoms {edge_i[k]} and {edge_j[k]} (counted from 0) are at the same place"
        )
    x, y, z = vec.T
    upward = (x > 0.0) | ((x == 0.0) & ((y > 0.0) | ((y == 0.0) & (z > 0.0))))
    once = (edge_i < edge_j) | ((edge_i == edge_j) & upward)
    return Pairs(edge_i[once], edge_j[once], vec[once])


def pairs_of(atoms: Atoms, elements: Sequence[str], cutoff: float) -> tuple[Ints, Pairs]:
    """Return the species (N,) and the pairs of a frame.

    Raises
    ------
    ModelError
        If an element is unknown, a position is not finite, or two atoms are at the same place.
    """
    species = species_of(atoms, elements)
    cell = np.asarray(atoms.cell) if atoms.pbc.any() else None
    try:
        pbc = [bool(periodic) for periodic in atoms.pbc]
        return species, find_pairs(species, finite_positions(atoms), cell, pbc, cutoff)
    except RuntimeError as error:
        raise ModelError(f"{atoms.get_chemical_formula()}: {error}") from error
