"""The charges and multiplicities of a model's labels: a model of positions knows no others."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms

from ..electronic_state import ElectronicState, lowest_state, state_of, stated_by
from ..errors import ModelError


def states_of(frames: Sequence[Atoms]) -> list[dict[str, Any]]:
    """Return what a model file says of the electronic states of its training data.

    Returns
    -------
    list of dict
        One for each state: ``charge``, ``multiplicity``, and ``formulas``, the compositions that
        have it, each of which has one state only (`check_one_state`).
    """
    formulas: dict[ElectronicState, set[str]] = {}
    for frame in frames:
        formulas.setdefault(state_of(frame), set()).add(frame.get_chemical_formula())
    return [{**state._asdict(), "formulas": sorted(formulas[state])} for state in sorted(formulas)]


def check_state(atoms: Atoms, training: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration whose charge or multiplicity the model was not trained on.

    A composition of the training data must have the state that it had there. Another composition
    must have the charge of some label, and its multiplicity, where 1 and 2 both mean the lowest.
    A model that records no states, as one of TorchANI or an older one, gives a warning for all but
    the lowest neutral state.

    Parameters
    ----------
    atoms : Atoms
    training : mapping
        `Metadata.training` of the model.
    where : str
        How the error names the configuration.

    Raises
    ------
    ModelError
        If the model was trained on other states.
    """
    state, formula = state_of(atoms), atoms.get_chemical_formula()
    known = _known(training, formula)
    if not known:
        if state != lowest_state(atoms):
            warnings.warn(
                f"{where}: {state}: the model does not tell the charge and multiplicity of its"
                " labels, and gives the same energy for all",
                stacklevel=2,
            )
    elif not any(state.charge == charge and _same(state, spin) for charge, spin in known):
        trained = " or ".join(_named(charge, spin) for charge, spin in known)
        spin = None if known[0][1] is None else state.multiplicity
        raise ModelError(
            f"{where}: {_named(state.charge, spin)}, but the model was trained on {trained}, and"
            " positions do not tell it of another; state what the labels had (as charge=1"
            " multiplicity=1 in the second line of extended XYZ), or train a model for this state"
        )


def check_stated(atoms: Atoms, training: Mapping[str, Any]) -> None:
    """Do as `check_state` if the configuration states a charge or a multiplicity at all."""
    if stated_by(atoms) != (None, None):
        check_state(atoms, training, atoms.get_chemical_formula())


def _known(training: Mapping[str, Any], formula: str) -> list[tuple[int, int | None]]:
    """Return charge and multiplicity (None: any) of the labels of a composition, else of all."""
    states = training.get("states", [])
    own = [state for state in states if formula in state["formulas"]]
    if states:
        return sorted({(state["charge"], state["multiplicity"]) for state in own or states})
    return [(charge, None) for charge in training.get("charges", [])]


def _named(charge: int, spin: int | None) -> str:
    return f"charge {charge:+d}" + ("" if spin is None else f", multiplicity {spin}")


def _same(state: ElectronicState, spin: int | None) -> bool:
    return spin is None or max(state.multiplicity, 2) == max(spin, 2)
