"""The ensemble as an ASE calculator: no LAMMPS, and for ANI no torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ..electronic_state import stated_by
from ..errors import ModelError
from .engine import open_engine
from .model_file import read_metadata, spread_factors
from .species import species_of
from .trained_states import check_stated

Floats = npt.NDArray[np.float64]


class EnsembleCalculator(Calculator):
    r"""Energies, forces, stress and uncertainty of an `ensemble.safetensors`.

    Models of ANI are evaluated by the code that `pair_style nnp_ensemble` runs in LAMMPS, those of
    SchNet in torch.

    Parameters
    ----------
    model : Path or str
        `ensemble.safetensors`, or the folder that holds it.
    forces : {"mean", "best"} or int
        Whose energy and forces the calculator returns: the mean of the members, the best member
        that the model file names, or member K, counted from 1. As `forces` of the pair style.
    force_std : bool
        Compute the forces of all members too, which takes up to a third more time
        (benchmarks/records/step.md).
    threads : int
        OpenMP threads, or torch's.

    Raises
    ------
    ModelError
        If the file is not an ensemble.safetensors or is damaged, or `forces` names no member.

    Notes
    -----
    Atoms that state a charge or a multiplicity (`info["charge"]`, `info["multiplicity"]`, ...;
    docs/labellers.md) must have those of the model's labels; atoms that state none are taken to.

    `results` holds, beside ASE's ``energy`` (eV), ``forces`` (n, 3) (eV/Å) and, for three periodic
    directions, ``stress`` (6,) (eV/Å³):

    ==================== =================== ===================================================
    ``member_energies``  (M,) eV
    ``energy_std``       float, eV           their standard deviation, M − 1 in the divisor
    ``member_forces``    (M, n, 3) eV/Å      with `force_std`
    ``forces_std``       (n,) eV/Å           with `force_std`: of each atom
                                             :math:`\sqrt{\sum_m |F_m - \bar F|^2 / (M-1) / 3}`
    ``force_std``        float, eV/Å         with `force_std`: the largest of them
    ==================== =================== ===================================================

    and, if the model is calibrated (`calibration` is not None), ``calibrated_energy_std`` and
    ``calibrated_force_std``: the same as errors, times the model's factors.

    Examples
    --------
    >>> atoms.calc = EnsembleCalculator("runs/hexane/iter_004")  # doctest: +SKIP
    >>> atoms.get_potential_energy(), atoms.calc.results["energy_std"]  # doctest: +SKIP
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: Path | str,
        *,
        forces: Literal["mean", "best"] | int = "mean",
        force_std: bool = True,
        threads: int = 1,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(model, str | os.PathLike):
            raise ModelError(f"model: expected the path of a model, got {type(model).__name__}")
        path = Path(model) / "ensemble.safetensors" if Path(model).is_dir() else Path(model)
        metadata = read_metadata(path) if path.is_file() else {}
        self._source = (path.absolute(), metadata, threads)
        self._engine = open_engine(*self._source)
        self._training: dict[str, Any] = metadata.get("training", {})
        self.calibration = spread_factors(metadata)
        self.elements: tuple[str, ...] = tuple(self._engine.elements)
        self._weights = _weights(forces, self._engine.members, self._engine.best_member)
        self._force_std = force_std

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the engine, so that a calculator can be copied and sent to processes."""
        return {key: value for key, value in self.__dict__.items() if key != "_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the model file again."""
        self.__dict__.update(state)
        self._engine = open_engine(*self._source)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation; ASE itself does not look at `info`."""
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        last: Any = self.atoms
        if not changes and stated_by(atoms) != stated_by(last):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`; called by ASE.

        Raises
        ------
        ModelError
            If the model does not know an element, or a position is not finite; or if the atoms
            state a charge or a multiplicity that the model was not trained on.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        frame: Any = self.atoms
        check_stated(frame, self._training)
        species = species_of(frame, self.elements)
        where = (species, frame.positions, np.asarray(frame.cell), [bool(p) for p in frame.pbc])
        try:
            if self._force_std:
                energies, member_forces, virials = self._engine.evaluate_members(*where)
                forces = np.tensordot(self._weights, member_forces, 1)
                virial = np.tensordot(self._weights, virials, 1)
            else:
                energies, forces, virial = self._engine.evaluate(*where, weights=self._weights)
        except RuntimeError as error:
            raise ModelError(str(error)) from error
        energy = float(self._weights @ energies)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "member_energies": energies,
            "energy_std": float(standard_deviation(energies)),
        }
        if frame.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(-virial / frame.get_volume())
        if self._force_std:
            forces_std = np.sqrt((standard_deviation(member_forces) ** 2).mean(axis=1))
            self.results["member_forces"] = member_forces
            self.results["forces_std"] = forces_std
            self.results["force_std"] = float(forces_std.max(initial=0.0))
        if self.calibration is not None:
            self.results["calibrated_energy_std"] = (
                self.calibration.energy * self.results["energy_std"]
            )
            if self._force_std:
                self.results["calibrated_force_std"] = (
                    self.calibration.force * self.results["force_std"]
                )


def standard_deviation(members: Floats) -> Floats:
    """Return the sample standard deviation over the first axis; 0 for a single member."""
    if len(members) == 1:
        return np.zeros(members.shape[1:])
    spread: Floats = members.std(axis=0, ddof=1)
    return spread


def _weights(forces: str | int, members: int, best_member: int) -> Floats:
    """Return the weight of each member in the returned energy and forces."""
    if forces == "mean":
        return np.full(members, 1.0 / members)
    member = best_member if forces == "best" else forces - 1 if isinstance(forces, int) else -1
    if not 0 <= member < members:
        raise ModelError(f"forces must be mean, best or a member from 1 to {members}, got {forces}")
    weights = np.zeros(members)
    weights[member] = 1.0
    return weights
