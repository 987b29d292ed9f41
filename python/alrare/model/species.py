"""What a model needs of a configuration: the species of its atoms, and finite positions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms

from ..errors import ModelError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def species_of(atoms: Atoms, elements: Sequence[str]) -> Ints:
    """Return the index of each atom's element in `elements`.

    Raises
    ------
    ModelError
        If an element is unknown to the model.
    """
    symbols = atoms.get_chemical_symbols()
    unknown = sorted(set(symbols) - set(elements))
    if unknown:
        raise ModelError(
            f"{atoms.get_chemical_formula()}: element {', '.join(unknown)} is unknown to a model of"
            f" {', '.join(elements)}; train it on data that holds this element"
        )
    index = {symbol: k for k, symbol in enumerate(elements)}
    return np.array([index[symbol] for symbol in symbols], dtype=np.int64)


def finite_positions(atoms: Atoms) -> Floats:
    """Return the positions (N, 3) in Å.

    Raises
    ------
    ModelError
        If one is not finite.
    """
    positions = np.asarray(atoms.positions, dtype=np.float64)
    if not np.isfinite(positions).all():
        raise ModelError(
            f"{atoms.get_chemical_formula()}: positions must be finite, got NaN or inf"
        )
    return positions
