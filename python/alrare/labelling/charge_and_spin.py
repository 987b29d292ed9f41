"""Handing charge and multiplicity to the calculators of users; those that take none are refused.

The two labellers of alrare's own read them from the frame themselves: `tblite` both, `dftb` the
charge.
"""

from typing import Any

from ase import Atoms

from ..config import STATE_ARGUMENTS
from ..electronic_state import state_of
from .failures import LabelFailure

READS_STATE = "reads_electronic_state"
"""Attribute, true, of a calculator that takes `info["charge"]` and `info["multiplicity"]` of the
atoms into account."""


def set_state(calculator: Any, arguments: dict[str, Any], atoms: Atoms) -> None:
    """Give an ASE calculator the charge and the multiplicity of a frame.

    A calculator that has a parameter `charge`, or `multiplicity` or `mult`, receives it. What its
    `arguments` fix is left as it is. One that reads them from the frame says so (`READS_STATE`).

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    arguments : dict
        Of the `[labeller]` table.
    atoms : Atoms

    Raises
    ------
    LabelFailure
        Of kind rejected, if the arguments fix another value, or the calculator has no such
        parameter and the frame is not neutral or not of the lowest multiplicity.
    """
    if getattr(calculator, READS_STATE, False):
        return
    state = state_of(atoms)
    electrons = int(atoms.numbers.sum()) - state.charge
    usual = {"charge": 0, "multiplicity": electrons % 2 + 1}
    known = getattr(calculator, "parameters", {})
    for key, wanted in state._asdict().items():
        given = [name for name in STATE_ARGUMENTS[key] if arguments.get(name) is not None]
        fixed = [name for name in given if type(arguments[name]) is int]
        taken = [name for name in STATE_ARGUMENTS[key] if name in known and not given]
        if fixed:
            if arguments[fixed[0]] != wanted:
                raise LabelFailure(
                    "rejected",
                    f"the frame has {key} {wanted}, but arguments give {fixed[0]} ="
                    f" {arguments[fixed[0]]} ([labeller]): correct one of them",
                )
        elif taken and known[taken[0]] != wanted:
            if known[taken[0]] is not None or wanted != usual[key]:
                _set(calculator, taken[0], wanted)
        elif not taken and wanted != usual[key]:
            raise _refused(calculator, key, wanted)


def _set(calculator: Any, name: str, value: int) -> None:
    try:
        calculator.set(**{name: value})
    except Exception as error:  # some can be given parameters only when they are made
        raise _refused(calculator, name, value) from error


def _refused(calculator: Any, key: str, value: int) -> LabelFailure:
    return LabelFailure(
        "rejected",
        f"the frame has {key} {value}, and {type(calculator).__name__} takes no `{key}` from a"
        f" frame: give it as one of its arguments ([labeller]) if all frames have it; a calculator"
        f" that reads info['{key}'] of the atoms says so by `{READS_STATE} = True`",
    )
