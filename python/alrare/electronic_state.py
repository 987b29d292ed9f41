"""Charge and spin multiplicity: the part of a configuration that positions do not tell.

A frame states them in `info["charge"]` and `info["multiplicity"]`, as alrare writes them, or in one
of the other ways that files have: the other `CHARGE_KEYS` and the sum of the initial charges; the
other `MULTIPLICITY_KEYS`; the `UNPAIRED_KEYS` and the sum of the initial magnetic moments, which
are the number of unpaired electrons. `UNCLEAR_KEYS` are refused. Upper and lower case are the same
but for single letters. A frame that states nothing is neutral, with the lowest multiplicity that
its number of electrons allows: 1 for an even one, 2 for an odd one.

The key `spin` is read as the multiplicity 2S + 1, as the data sets mean it that have this key. The
number of unpaired electrons would have the other parity and is refused, but for 0: this can only be
a number of unpaired electrons, and is read so. An odd number of electrons cannot have it.
"""

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from .errors import AlrareError

CHARGE_KEYS = ("charge", "total_charge", "net_charge", "tot_charge", "molecular_charge", "q")
MULTIPLICITY_KEYS = ("multiplicity", "spin_multiplicity", "mult", "spin")
UNPAIRED_KEYS = ("uhf", "unpaired_electrons", "unpaired", "n_unpaired", "nunpaired")
UNCLEAR_KEYS = ("total_spin", "spin_state")
"""Keys whose values may be S, 2S, 2S + 1 or a word."""
_KEYS = {*CHARGE_KEYS, *MULTIPLICITY_KEYS, *UNPAIRED_KEYS, *UNCLEAR_KEYS}
_TOLERANCE = 0.01  # of a sum of charges or moments that were rounded in a file


class ElectronicState(NamedTuple):
    """Total charge and spin multiplicity of a configuration."""

    charge: int
    """In elementary charges."""
    multiplicity: int
    """2S + 1: 1 for a singlet, 2 for a doublet, one more than the number of unpaired electrons."""

    def __str__(self) -> str:
        return f"charge {self.charge:+d}, multiplicity {self.multiplicity}".replace("+0", "0")


def state_of(
    atoms: Atoms, *, charge: int | None = None, multiplicity: int | None = None
) -> ElectronicState:
    """Return the charge and the multiplicity of a frame.

    Parameters
    ----------
    atoms : Atoms
    charge, multiplicity : int, optional
        What the frame has if it states none; by default 0 and the lowest multiplicity.

    Raises
    ------
    AlrareError
        If the frame states two different values, or its number of electrons does not allow them.
    """
    stated_charge, stated_multiplicity = stated_by(atoms)
    total = stated_charge if stated_charge is not None else charge or 0
    spin = stated_multiplicity if stated_multiplicity is not None else multiplicity
    electrons = int(atoms.numbers.sum()) - total
    state = ElectronicState(total, electrons % 2 + 1 if spin is None else spin)
    unpaired = state.multiplicity - 1
    if electrons < 0 or not 0 <= unpaired <= electrons or (electrons - unpaired) % 2:
        raise AlrareError(
            f"{atoms.get_chemical_formula()}: {state}: {electrons} electrons cannot have that"
            " (even numbers of electrons have multiplicity 1, 3, ..., odd ones 2, 4, ...; it is the"
            " number of unpaired electrons plus 1)"
        )
    return state


def lowest_state(atoms: Atoms) -> ElectronicState:
    """Return the state of a frame that states nothing: neutral, lowest multiplicity."""
    return ElectronicState(0, int(atoms.numbers.sum()) % 2 + 1)


def with_state(atoms: Atoms, state: ElectronicState) -> Atoms:
    """Return a copy of a frame without calculator that states its charge and multiplicity.

    The state of a neutral frame with the lowest multiplicity is not written, since it is what a
    frame has that states nothing. All other statements are removed.
    """
    frame: Atoms = atoms.copy()
    for key in [key for key in frame.info if _plain(key) in _KEYS]:
        del frame.info[key]
    for array in ("initial_charges", "initial_magmoms"):
        frame.arrays.pop(array, None)
    frame.info.update(state_info(frame, state))
    return frame


def state_info(atoms: Atoms, state: ElectronicState) -> dict[str, int]:
    """Return what `info` says of a state: nothing for the lowest one of a neutral frame."""
    return {} if state == lowest_state(atoms) else state._asdict()


def configuration(atoms: Atoms) -> Atoms:
    """Return a copy that holds the configuration only.

    That is elements, positions, cell, pbc, and charge and multiplicity, but no further `info`.
    """
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.info.update(state_info(frame, state_of(atoms)))
    return frame


def stated_by(atoms: Atoms) -> tuple[int | None, int | None]:
    """Return the charge and the multiplicity that a frame states; None where it states none.

    Raises
    ------
    AlrareError
        If it states two different values, one that is not a whole number, or one whose meaning is
        unclear.
    """
    _refuse_unclear(atoms)
    charges = _stated(atoms, CHARGE_KEYS)
    total = _sum(atoms, "initial_charges")
    if total is not None:
        charges["the sum of the initial charges"] = total
    spins = _stated(atoms, MULTIPLICITY_KEYS)
    for name in [name for name, value in spins.items() if "spin'" in name.lower() and value == 0]:
        spins[name] = 1
    for name, number in _stated(atoms, UNPAIRED_KEYS).items():
        spins[f"{name}, plus 1,"] = number + 1
    unpaired = _sum(atoms, "initial_magmoms")
    if unpaired is not None:
        spins["the sum of the initial magnetic moments, plus 1,"] = abs(unpaired) + 1
    return _one(atoms, "charge", charges), _one(atoms, "multiplicity", spins)


def check_whole(atoms: Atoms) -> None:
    """Refuse initial charges and magnetic moments that a total charge and spin cannot stand for.

    Raises
    ------
    AlrareError
        If a sum is not a whole number, or the moments have both signs or a direction: they would
        be lost in a label.
    """
    formula = atoms.get_chemical_formula()
    for array, what in (
        ("initial_charges", "initial charges"),
        ("initial_magmoms", "initial magnetic moments"),
    ):
        values = atoms.arrays.get(array)
        if values is None or not np.any(values):
            continue
        if _sum(atoms, array) is None or (
            array == "initial_magmoms" and values.min() < -_TOLERANCE < _TOLERANCE < values.max()
        ):
            raise AlrareError(
                f"{formula}: its {what} ({np.size(values)} values, sum {np.sum(values):.4g}) are"
                " more than a total charge and multiplicity, which is all that a label keeps;"
                " state those in info['charge'] and info['multiplicity'], and remove the others"
            )


def _sum(atoms: Atoms, array: str) -> int | None:
    """Return the sum of an array of one number per atom, if it is whole; None for only zeros."""
    values = atoms.arrays.get(array)
    if values is None or values.ndim != 1 or not np.any(values):
        return None
    total = float(values.sum())
    return round(total) if abs(total - round(total)) < _TOLERANCE else None


def _plain(key: Any) -> str:
    """Return a key in lower case; a single letter, such as Q for a quadrupole, as it is."""
    text = str(key)
    return text if len(text) == 1 else text.lower()


def _stated(atoms: Atoms, keys: tuple[str, ...]) -> dict[str, int]:
    return {f"info['{key}']": _whole(atoms, key) for key in atoms.info if _plain(key) in keys}


def _refuse_unclear(atoms: Atoms) -> None:
    for key, value in atoms.info.items():
        if _plain(key) in UNCLEAR_KEYS:
            raise AlrareError(
                f"{atoms.get_chemical_formula()}: info['{key}'] = {value!r}: it may be S, 2S or"
                " 2S + 1; state multiplicity (2S + 1) or uhf (2S, the unpaired electrons) instead"
            )


def _whole(atoms: Atoms, key: str) -> int:
    value: Any = atoms.info[key]
    try:
        number = float(value)
        if isinstance(value, bool) or number != round(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise AlrareError(
            f"{atoms.get_chemical_formula()}: info['{key}'] = {value!r}: expected a whole number,"
            " which is a total charge or spin; rename the key if it means something else"
        ) from None
    return round(number)


def _one(atoms: Atoms, what: str, stated: dict[str, int]) -> int | None:
    if len(set(stated.values())) > 1:
        values = ", ".join(f"{source} says {value}" for source, value in stated.items())
        raise AlrareError(f"{atoms.get_chemical_formula()}: expected one {what}, got {values}")
    return next(iter(stated.values()), None)
