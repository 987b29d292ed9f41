"""Alkane chains, all-trans, built from ideal angles: the molecules of Fig. 7."""

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

CC = 1.53
"""Å."""
CH = 1.09
"""Å."""
HALF_ANGLE = np.arccos(-1.0 / 3.0) / 2.0
"""Half the tetrahedral angle, rad: of C-C-C and of H-C-H."""


def alkane(n: int) -> Atoms:
    r"""Return the all-trans chain :math:`C_nH_{2n+2}` with ideal bonds and angles.

    The carbons form a zigzag in the xy plane along x. It is continued by one point at both ends,
    where the outermost hydrogens point; every carbon has two more, on the far side of its two
    neighbors in the zigzag.

    Parameters
    ----------
    n : int
        Carbons, at least 2.

    Returns
    -------
    Atoms
        Carbons 1 to n along the chain, then the hydrogens.

    Raises
    ------
    ValueError
        If n < 2: a chain is pulled by its two ends.

    Examples
    --------
    >>> alkane(6).get_chemical_formula()
    'C6H14'
    """
    if n < 2:
        raise ValueError(f"a chain has at least 2 carbons, got {n}")
    places = np.arange(-1, n + 1)
    zigzag = np.zeros((n + 2, 3))
    zigzag[:, 0] = CC * np.sin(HALF_ANGLE) * places
    zigzag[:, 1] = CC * np.cos(HALF_ANGLE) * (places % 2)
    carbons = zigzag[1:-1]
    outward = _unit(2.0 * carbons - zigzag[:-2] - zigzag[2:])
    sideward = np.array([0.0, 0.0, np.sin(HALF_ANGLE)])
    hydrogens = [
        carbons + CH * (np.cos(HALF_ANGLE) * outward + sideward),
        carbons + CH * (np.cos(HALF_ANGLE) * outward - sideward),
        carbons[[0, -1]] + CH * _unit(zigzag[[0, -1]] - carbons[[0, -1]]),
    ]
    return Atoms(f"C{n}H{2 * n + 2}", np.concatenate([carbons, *hydrogens]))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths
