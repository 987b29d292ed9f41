"""A toy potential for the labellers of tests."""

import numpy as np


def springs(atoms):
    """Energy (eV) and forces (eV/Å) of springs of 1.5 Å between all pairs of atoms."""
    first, second = np.triu_indices(len(atoms), 1)
    vectors = atoms.positions[second] - atoms.positions[first]
    lengths = np.linalg.norm(vectors, axis=1)
    pull = 2 * (lengths - 1.5)[:, None] * vectors / lengths[:, None]
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, first, pull)
    np.add.at(forces, second, -pull)
    return float(np.sum((lengths - 1.5) ** 2)), forces
