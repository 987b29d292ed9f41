"""Labellers: what computes an energy and forces, by which method, and whether to believe it."""

import hashlib
import importlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from ..config import Labeller
from ..frames import closest_pair
from .dftb.engines import DftbPlus
from .dftb.method import PARSER_VERSION, hamiltonian, mixers, parameter_hashes
from .dftb.run import program_version
from .failures import LabelFailure


@dataclass(frozen=True)
class Method:
    """What was computed: labels of two methods never meet in one data set."""

    description: dict[str, Any]
    """Program, version, settings and parameter checksums; JSON."""
    hash: str
    """sha256 of the description as canonical JSON, in hexadecimal."""


def method_of(labeller: Labeller, elements: Sequence[str]) -> Method:
    """Return the method of a labeller for structures of some elements.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    elements : sequence of str
        Elements of the structures; they decide which parameter files count.

    Raises
    ------
    LabelError
        If the program or a parameter file is missing; the message names it.
    """
    description: dict[str, Any] = {"program": labeller.program}
    if labeller.program == "tblite":
        description |= {
            "version": importlib.metadata.version("tblite"),
            "method": labeller.method,
            "electronic_temperature": labeller.electronic_temperature,
        }
    elif labeller.program == "dftb+":
        assert labeller.slater_koster is not None
        block = hamiltonian(labeller, elements, folder="", periodic=True)
        description |= {
            "version": program_version(),
            "method": labeller.method,
            "electronic_temperature": labeller.electronic_temperature,
            "parser_version": PARSER_VERSION,
            "input": block.splitlines(),
            "mixers": mixers(labeller),
            "parameters": parameter_hashes(labeller.slater_koster, sorted(elements)),
        }
    else:
        assert labeller.calculator is not None
        description |= {
            "version": _version_of(labeller.calculator),
            "calculator": labeller.calculator,
            "arguments": labeller.arguments,
        }
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), default=str)
    return Method(
        description=json.loads(canonical), hash=hashlib.sha256(canonical.encode()).hexdigest()
    )


def make_calculator(labeller: Labeller, folder: Path) -> Calculator:
    """Make the calculator of a labeller; call it in a process that may die.

    With `reset()` before each call, a label depends on nothing but its frame: neither a resumed
    run nor the order of a batch changes one.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Scratch of this calculator alone.

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
        N atoms; left as it is.
    min_distance : float
        Å; a frame with two atoms nearer than this is unphysical. Programs give such frames
        converged results without complaint.

    Returns
    -------
    energy : float
        eV; the energy whose gradient the forces are.
    forces : (N, 3) array
        eV/Å.

    Raises
    ------
    LabelFailure
        If the frame or the result is not sane, or the calculator fails.
    """
    if not np.isfinite(atoms.positions).all():
        raise LabelFailure("unphysical", "a position is not finite")
    distance, first, second = closest_pair(atoms)
    if distance < min_distance:
        raise LabelFailure(
            "unphysical",
            f"atoms {first + 1} and {second + 1} are {distance:.3f} Å apart; at least"
            f" {min_distance:g} Å is sane ([labeller] min_distance)",
        )
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
    if forces.shape != (len(atoms), 3) or not np.isfinite(forces).all() or not np.isfinite(energy):
        raise LabelFailure("unphysical", "the energy or a force is not finite")
    return energy, forces


def _energy(calculator: Calculator, frame: Atoms) -> Any:
    # With smeared occupations the forces are the gradient of the free energy, where a
    # calculator tells the two apart.
    if "free_energy" in calculator.results:
        return calculator.results["free_energy"]
    return calculator.get_property("energy", frame)


def _version_of(calculator: str) -> str:
    package = calculator.partition(".")[0]
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def describe_failures(kinds: Sequence[str]) -> str:
    """Return a count of each kind, most frequent first: `3 not_converged, 1 timed_out`."""
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {kind}" for kind, count in ordered)
