"""The labeller's calculator, and the checks of its result."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..config import Labeller
from .dftb.engines import DftbPlus
from .failures import LabelFailure
from .unphysical import check_configuration, check_label


def make_calculator(labeller: Labeller, folder: Path) -> Calculator:
    """Make the calculator of a labeller, in a process whose death does no harm.

    With `reset()` before each call, a label depends on its frame only, not on the labels before it
    or on interruptions.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Working folder, used by this calculator only.

    Raises
    ------
    LabelFailure
        If the calculator does not exist or refuses its arguments.
    """
    if labeller.program == "tblite":
        from .tblite import Tblite

        return Tblite(
            method=labeller.method,
            electronic_temperature=labeller.electronic_temperature,  # K; tblite.ase converts
            cache_api=False,  # no start from the wave function of the call before
            verbosity=0,
        )
    if labeller.program == "dftb+":
        return DftbPlus(labeller=labeller, folder=folder)
    assert labeller.calculator is not None
    module, _, name = labeller.calculator.rpartition(".")
    try:
        factory = getattr(importlib.import_module(module), name)
        calculator: Calculator = factory(**labeller.arguments)
        return calculator
    except Exception as error:  # anything may go wrong inside a user's calculator
        raise LabelFailure(
            "rejected",
            f"calculator = '{labeller.calculator}' with arguments {labeller.arguments}:"
            f" {type(error).__name__}: {error} ([labeller])",
        ) from error


def evaluate_frame(
    calculator: Calculator, atoms: Atoms, *, min_distance: float
) -> tuple[float, NDArray[np.float64]]:
    """Compute one label and check it.

    Parameters
    ----------
    calculator : Calculator
        As from `make_calculator`.
    atoms : Atoms
        N atoms; not changed.
    min_distance : float
        Å; a frame with two atoms closer than this is unphysical.

    Returns
    -------
    energy : float
        eV; the forces are its negative gradient.
    forces : (N, 3) array
        eV/Å.

    Raises
    ------
    LabelFailure
        If the frame or the result is unphysical, or the calculator fails.
    """
    check_configuration(atoms, min_distance=min_distance)
    frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    try:
        forces = np.array(calculator.get_property("forces", frame), dtype=np.float64)
        energy = float(_energy(calculator, frame))
    except LabelFailure:
        raise
    except Exception as error:  # each calculator fails in its own way
        text = " ".join(str(error).split())
        lost = "not converge" in text.lower() or "convergence" in text.lower()
        raise LabelFailure(
            "not_converged" if lost else "crashed", f"{type(error).__name__}: {text}"
        ) from error
    if forces.shape != (len(atoms), 3):
        raise LabelFailure("unphysical", "the energy or a force is not finite")
    check_label(energy, forces)
    return energy, forces


def _energy(calculator: Calculator, frame: Atoms) -> Any:
    # With smeared occupations the forces are the gradient of the free energy, where a
    # calculator tells the two apart.
    if "free_energy" in calculator.results:
        return calculator.results["free_energy"]
    return calculator.get_property("energy", frame)
