"""A cell as LAMMPS takes it: lower triangular, with open directions along an axis."""

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

from ..errors import AlrareError

_FLAT = 1e-6  # volume over the product of the lengths of a cell that spans no volume

_ZERO = 1e-13  # of the longest vector: what rounding leaves of a right angle


def box_of(atoms: Atoms) -> Atoms:
    """Return a structure whose cell LAMMPS takes, the same up to a rotation and lattice vectors.

    The first vector is along x, the second in the xy plane, and neither leans by more than half a
    vector of the lattice. Directions that are not periodic are axes of their own; the cell says
    nothing of how far the atoms reach there.

    Parameters
    ----------
    atoms : Atoms
        N atoms, with any periodic directions.

    Returns
    -------
    Atoms
        A copy with the same order of the atoms; as it is for a cell of that form.

    Raises
    ------
    AlrareError
        If the periodic directions span no volume.
    """
    box: Atoms = atoms.copy()
    if not atoms.pbc.any():
        return box
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    lengths = np.linalg.norm(cell, axis=1)
    if np.all(lengths[atoms.pbc] > 0.0):
        cell = complete_cell(cell)
        lengths = np.linalg.norm(cell, axis=1)
    if abs(np.linalg.det(cell)) <= _FLAT * np.prod(lengths):
        raise AlrareError(
            f"{atoms.get_chemical_formula()}: expected a cell whose periodic directions span a"
            f" volume, got pbc {atoms.pbc.tolist()}, cell {atoms.cell.array.tolist()}"
        )
    if np.linalg.det(cell) < 0.0:  # left-handed; the other sign is the same lattice
        cell[2] *= -1.0
    if np.any(np.triu(cell, 1)) or np.any(np.diag(cell) < 0.0):
        # cell.T = rotation @ upper, so that the rows of cell @ rotation are those of upper.T
        rotation, upper = np.linalg.qr(cell.T)
        signs = np.sign(np.diag(upper))
        rotation, cell = rotation * signs, np.tril((upper * signs[:, None]).T)
        box.positions = atoms.positions @ rotation
    for row, other in ((1, 0), (2, 1), (2, 0)):
        cell[row] -= np.rint(cell[row, other] / cell[other, other]) * cell[other]
    box.cell = np.where(np.abs(cell) < _ZERO * lengths.max(), 0.0, cell)
    return box
