"""The labeller's calculator, and the checks of its result."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    InputError,
    PropertyNotImplementedError,
)
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ..config import Labeller
from ..electronic_state import configuration
from .dftb.engines import DftbPlus
from .failures import Kind, LabelFailure
from .unphysical import check_configuration, check_label, check_stress


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
    return _user_calculator(labeller)


def unlisted_arguments(calculator: Calculator, arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments that an ASE calculator takes but does not list, and may ignore.

    Those of calculators of external programs go into an input file and may have any name.
    """
    listed = getattr(type(calculator), "default_parameters", {})
    if not listed or hasattr(calculator, "write_input"):
        return []
    of_classes = [
        vars(kind)["__init__"] for kind in type(calculator).__mro__ if "__init__" in vars(kind)
    ]
    taken = {name for init in of_classes[:-1] for name in inspect.signature(init).parameters}
    return [name for name in arguments if name not in {*listed, *taken}]


def check_folder(calculator: Calculator, folder: Path) -> None:
    """Refuse a calculator that works outside the folder of its worker.

    Several workers would write the same files, and the files of one label could be read for
    another.

    Raises
    ------
    LabelFailure
        Of kind rejected.
    """
    directory = getattr(calculator, "directory", ".")
    if not (folder / str(directory)).resolve().is_relative_to(folder.resolve()):
        raise LabelFailure(
            "rejected",
            f"{type(calculator).__name__} works in '{directory}': expected a folder below that of"
            " its worker, which is the current one when it is made; remove `directory` ([labeller]"
            " arguments)",
        )


def reset(calculator: Calculator) -> None:
    """Make a calculator forget the frame before, and its wave function."""
    if hasattr(calculator, "reset"):
        calculator.reset()
    else:  # ASE's newer calculators of external programs
        calculator.atoms, calculator.results = None, {}


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
        If the frame or the result is unphysical, or the calculator fails or gives something else
        than an energy and forces.
    """
    check_configuration(atoms, min_distance=min_distance)
    frame = configuration(atoms)
    try:
        forces = calculator.get_property("forces", frame)
        energy = _energy(calculator, frame)
    except LabelFailure:
        raise
    except PropertyNotImplementedError as error:
        raise LabelFailure(
            "rejected",
            f"{type(calculator).__name__} does not give what a label needs, an energy and forces"
            f" ({error})",
        ) from error
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # each fails in its own way
        raise LabelFailure(_kind(error), _what(error)) from error
    label = number("energy", energy), array("forces", forces, (len(atoms), 3))
    check_label(*label)
    return label


def evaluate_stress(calculator: Calculator, atoms: Atoms) -> NDArray[np.float64] | None:
    """Compute the stress of a frame that `evaluate_frame` has labelled; most have it already.

    Returns
    -------
    (6,) array or None
        eV/Å³, as `frames.labelled` takes it. None if the frame is not periodic, or the calculator
        gives no stress for it.

    Raises
    ------
    LabelFailure
        If the calculator fails or gives something else.
    """
    frame = configuration(atoms)
    may = "stress" in getattr(calculator, "implemented_properties", ())
    if not (may and frame.pbc.any() and frame.cell.rank == 3):
        return None
    try:
        stress = calculator.get_property("stress", frame)
    except LabelFailure:
        raise
    except NotImplementedError:  # not with these settings
        return None
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise LabelFailure(_kind(error), _what(error)) from error
    if stress is None:
        return None
    if np.shape(stress) == (3, 3):
        stress = full_3x3_to_voigt_6_stress(array("stress", stress, (3, 3)))
    checked = array("stress", stress, (6,))
    check_stress(checked)
    return checked


def number(name: str, value: Any) -> float:
    """Return a calculator's value as a real number.

    Raises
    ------
    LabelFailure
        Of kind rejected, if it is something else: `energy: expected a number, got (2,)`.
    """
    return float(array(name, value, ()))


def array(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a calculator's value as an array of real numbers of a known shape.

    Raises
    ------
    LabelFailure
        Of kind rejected, if it is something else: `forces: expected (15, 3), got (45,)`.
    """
    try:
        got = np.asarray(value)
    except ValueError:  # rows of different lengths
        got = np.asarray(None)
    if got.dtype.kind in "fiu" and got.shape == shape:
        return np.array(got, dtype=np.float64)
    found = str(got.shape)
    if got.dtype.kind not in "fiu":
        found = "complex numbers" if got.dtype.kind == "c" and shape else _short(value)
    raise LabelFailure("rejected", f"{name}: expected {shape or 'a number'}, got {found}")


def _user_calculator(labeller: Labeller) -> Calculator:
    assert labeller.calculator is not None
    module, _, name = labeller.calculator.rpartition(".")
    where = f"calculator = '{labeller.calculator}'"
    if not module:
        raise LabelFailure(
            "rejected",
            f"{where}: expected a module and a class or function in it, such as"
            f" 'my_module.{name or 'MyCalculator'}' ([labeller])",
        )
    try:
        factory = getattr(importlib.import_module(module), name)
        calculator: Calculator = factory(**labeller.arguments)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # anything may go wrong
        raise LabelFailure(
            "rejected",
            f"{where} with arguments {labeller.arguments}: {_what(error)} ([labeller])",
        ) from error
    if isinstance(calculator, type) or not hasattr(calculator, "get_property"):
        raise LabelFailure(
            "rejected",
            f"{where}: expected an ASE calculator, got {_short(calculator)} ([labeller])",
        )
    return calculator


def _energy(calculator: Calculator, frame: Atoms) -> Any:
    # With smeared occupations the forces are the gradient of the free energy, where a
    # calculator tells the two apart.
    results = getattr(calculator, "results", {})
    if "free_energy" in results:
        return results["free_energy"]
    return calculator.get_property("energy", frame)


def _kind(error: BaseException) -> Kind:
    if isinstance(error, InputError | CalculatorSetupError):
        return "rejected"
    text = str(error).lower()
    return "not_converged" if "not converge" in text or "convergence" in text else "crashed"


def _what(error: BaseException) -> str:
    """Say what an exception says; `sys.exit("reason")` gives its reason."""
    if isinstance(error, SystemExit):
        return f"the calculator ended its process: {error.code}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(value: Any) -> str:
    """Name a value that was not expected: `None`, `int 42`, `complex (1+0j)`."""
    text = repr(value)
    if value is None or isinstance(value, type):
        return text
    return f"{type(value).__name__} {text}" if len(text) < 40 else type(value).__name__
