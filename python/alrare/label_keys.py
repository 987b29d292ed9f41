"""Labels of a frame under the names of its file: energy, forces and stress."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from .errors import AlrareError
from .xyz import fortran_number

_VIRIALS = ("virial", "virials")


@dataclass(frozen=True)
class LabelKeys:
    """What energy, forces and stress are called in a file; None: energy, forces and stress."""

    energy: str | None = None
    """Every frame must have it."""
    forces: str | None = None
    """Every frame must have it; only a single atom needs none."""
    stress: str | None = None
    """Of the frames that are periodic in three directions at least one must have it."""


def is_cell(atoms: Atoms) -> bool:
    """Whether a frame is periodic in three directions, so that its stress is defined."""
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3


def as_stress(value: Any, place: str) -> NDArray[np.float64]:
    """Return a stress as (6,) array in ASE's order: xx, yy, zz, yz, xz, xy.

    Parameters
    ----------
    value : array_like
        (6,), (3, 3), or the nine components of the latter.
    place : str
        How an error names the frame.

    Raises
    ------
    AlrareError
        If it is something else.
    """
    try:
        stress = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        stress = np.zeros(0)
    if stress.shape == (6,):
        return stress
    if stress.shape in ((9,), (3, 3)):
        voigt: NDArray[np.float64] = full_3x3_to_voigt_6_stress(stress.reshape(3, 3))
        return voigt
    raise AlrareError(
        f"{place}: expected a stress of 6 numbers (xx, yy, zz, yz, xz, xy) or of 3 x 3, got"
        f" {np.shape(value) or value!r}"
    )


def take_labels(atoms: Atoms, keys: LabelKeys, place: str) -> None:
    """Move labels of other names, or an energy as Fortran writes it, to where ASE keeps labels.

    Parameters
    ----------
    atoms : Atoms
        Is changed.
    keys : LabelKeys
    place : str
        How an error names the frame.

    Raises
    ------
    AlrareError
        If the frame lacks the energy or the forces of that name, its energy is no number, or the
        stress of that name has another shape.
    """
    results = dict(getattr(atoms.calc, "results", {}))
    before = dict(results)
    if keys.energy is not None:
        energy = atoms.info.get(keys.energy, before.get(keys.energy))
        if energy is None:
            raise _no_key(place, keys.energy, "energy", atoms.info)
        results["energy"] = energy
        results.pop("free_energy", None)
    if keys.forces is not None and len(atoms) > 1:
        forces = atoms.arrays.get(keys.forces, before.get(keys.forces))
        if forces is None:
            raise _no_key(place, keys.forces, "forces", atoms.arrays)
        results["forces"] = forces
    if keys.stress is not None:
        stress = atoms.info.get(keys.stress, before.get(keys.stress))
        results.pop("stress", None)
        if stress is not None:
            results["stress"] = as_stress(stress, place)
    for key in ("energy", "free_energy"):
        if isinstance(results.get(key), str):
            try:
                results[key] = fortran_number(results[key])
            except ValueError as error:
                raise AlrareError(
                    f"{place}: expected a number as its {key}, got {results[key]!r}"
                ) from error
    if results.keys() != before.keys() or any(results[key] is not before[key] for key in results):
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results.update(results)


def check_stress_key(
    frames: Sequence[Atoms], key: str | None, place: Callable[[Atoms, int], str]
) -> None:
    """Refuse a name of the stress that no cell of a file has.

    Parameters
    ----------
    frames : sequence of Atoms
        After `take_labels`.
    key : str or None
    place : callable
        Returns how an error names a frame (`frames.place_of`).

    Raises
    ------
    AlrareError
        If there are cells of several atoms, and none has it.
    """
    cells = [atoms for atoms in frames if is_cell(atoms) and len(atoms) > 1]
    if key is None or not cells:
        return
    if not any("stress" in getattr(atoms.calc, "results", {}) for atoms in cells):
        raise _no_key(place(cells[0], 1), key, "stress", cells[0].info)


def unused_virials(frames: Sequence[Atoms]) -> str:
    """Return a sentence about cells that have a virial and no stress; empty if there are none."""
    found = [
        key
        for atoms in frames
        if is_cell(atoms) and "stress" not in getattr(atoms.calc, "results", {})
        for key in _VIRIALS
        if key in atoms.info or key in getattr(atoms.calc, "results", {})
    ]
    if not found:
        return ""
    return (
        f"{len(found)} cells have '{found[0]}' and no stress: it is not used; to use it, give"
        " stress = -virial / volume (eV/Å³) in the file, if the virial is in eV and positive where"
        " the cell would expand"
    )


def _no_key(place: str, key: str, what: str, found: Iterable[str]) -> AlrareError:
    others = ", ".join(name for name in found if name not in ("numbers", "positions")) or "nothing"
    return AlrareError(
        f"{place}: expected '{key}' as its {what}, got {others} beside energy and"
        " forces; name another key, or none for energy and forces"
    )
