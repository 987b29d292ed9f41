"""Errors of an ensemble on labelled frames, and whether its spread predicts them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ..frames import (
    check_labels,
    common_method,
    is_isolated_atom,
    label_of,
    place_of,
    stress_tensor,
)
from .calculator import EnsembleCalculator, standard_deviation
from .ensemble import load_ensemble
from .model_file import SpreadFactors
from .trained_states import check_state

Floats = NDArray[np.float64]
Forces = Literal["best", "mean"]


@dataclass(frozen=True)
class FrameErrors:
    """Errors of the driving potential on labelled frames.

    The mean energy error of all frames of one composition is subtracted first, since a constant
    offset changes neither forces nor work (Jung et al. 2024, Fig. 3c, "MAE of the relative
    energy"). `offsets` holds what was subtracted.
    """

    n_frames: int
    """Frames compared."""
    energy_mae: float | None
    """Mean absolute error of the relative energy, eV, over the frames whose composition occurs more
    than once; None without such frames or if not finite."""
    force_mae: float | None
    """Mean absolute error of the force components, eV/Å; None without frames or if not finite."""
    calibration: float | None
    """Rms error of the relative energy divided by rms energy_std; above 1: over-confident."""
    offsets: dict[str, float | None]
    """Mean energy error by composition, eV."""
    same_method: bool | None = None
    """Whether the labels are by the method that the model was trained on; None if unknown."""
    calibrated: float | None = None
    """As `calibration`, of the calibrated energy_std; None if the model is not calibrated."""


@dataclass(frozen=True)
class Calibration:
    """What the spread of the members says about the error of their mean.

    Computed from labels that the ensemble was not trained on. A ratio above 1 means that the
    ensemble is over-confident; spread times ratio is the calibrated spread. Energies are relative,
    as in `FrameErrors`: over the frames whose composition occurs more than once.
    """

    n_frames: int
    """Frames compared."""
    energy_error: float | None
    """Rms error of the relative mean energy, eV."""
    energy_std: float | None
    """Rms energy_std, eV."""
    energy_ratio: float | None
    """`energy_error` divided by `energy_std`."""
    energy_correlation: float | None
    """Spearman rank correlation of the absolute error and energy_std over the frames."""
    force_error: float | None
    """Rms error of the components of the mean forces, eV/Å."""
    force_std: float | None
    """Rms standard deviation of the members' force components, eV/Å."""
    force_ratio: float | None
    """`force_error` divided by `force_std`."""
    force_correlation: float | None
    """Spearman rank correlation of both over the frames, each as the rms over a frame."""
    energy_check: float | None = None
    """Rms error of the energy divided by the rms calibrated spread on one half of the frames,
    calibrated by the other half; None without halves."""
    force_check: float | None = None
    """The same for the forces."""


@dataclass(frozen=True)
class Comparison:
    """Differences of an ensemble to the labels of N frames."""

    energy: Floats
    """(N,) eV: driving potential minus label."""
    forces: list[Floats]
    """N arrays (n, 3), eV/Å: driving potential minus label."""
    energy_of_mean: Floats
    """(N,) eV: mean of the members minus label."""
    forces_of_mean: list[Floats]
    """N arrays (n, 3), eV/Å: mean of the members minus label."""
    energy_std: Floats
    """(N,) eV."""
    force_std: list[Floats]
    """N arrays (n, 3), eV/Å: standard deviation of the members, component by component."""
    formulas: tuple[str, ...]
    """Composition of each frame."""
    stress: tuple[Floats | None, ...]
    """N arrays (3, 3), eV/Å³: driving potential minus label; None without a stress."""

    def part(self, rows: Sequence[int]) -> "Comparison":
        """Return the comparison of some of the frames."""
        which = list(rows)
        return Comparison(
            self.energy[which],
            [self.forces[row] for row in which],
            self.energy_of_mean[which],
            [self.forces_of_mean[row] for row in which],
            self.energy_std[which],
            [self.force_std[row] for row in which],
            tuple(self.formulas[row] for row in which),
            tuple(self.stress[row] for row in which),
        )

    def relative_energies(self) -> tuple[Floats, dict[str, float], NDArray[np.bool_]]:
        """Return the errors of the relative energies (N,) in eV, and how they were made.

        The second value holds the mean error by composition, which was subtracted; the third tells
        of each frame whether its composition occurs more than once.
        """
        relative, offsets = without_offsets(self.energy, self.formulas)
        frames = Counter(self.formulas)
        counted = np.array([frames[formula] > 1 for formula in self.formulas], dtype=bool)
        return relative, offsets, counted

    def errors(self) -> FrameErrors:
        """Summarize the errors of the driving potential."""
        if not self.forces:
            return FrameErrors(0, None, None, None, {})
        relative, offsets, counted = self.relative_energies()
        relative = relative[counted]
        forces = np.concatenate([force.ravel() for force in self.forces])
        return FrameErrors(
            n_frames=len(self.energy),
            energy_mae=_finite(np.abs(relative).mean()) if counted.any() else None,
            force_mae=_finite(np.abs(forces).mean()),
            calibration=_ratio(_rms(relative), _rms(self.energy_std[counted]))
            if counted.any()
            else None,
            offsets={formula: _finite(value) for formula, value in offsets.items()},
        )

    def calibration(self, half: Sequence[int] = ()) -> Calibration:
        """Compare spread and error.

        Parameters
        ----------
        half : sequence of int, optional
            The half of the frames that calibrates the other half in a check: frames of pulls of
            which the other half holds none.
        """
        counted = self.relative_energies()[2]
        if not counted.any():
            return Calibration(0, *(8 * [None]))
        relative = without_offsets(self.energy_of_mean, self.formulas)[0][counted]
        rows = np.flatnonzero(counted)
        of_frame = np.array([_rms(self.forces_of_mean[row]) for row in rows])
        spread = np.array([_rms(self.force_std[row]) for row in rows])
        sizes = np.array([self.force_std[row].size for row in rows])
        energy, energy_std = _rms(relative), _rms(self.energy_std[counted])
        force, force_std = _rms(of_frame, sizes), _rms(spread, sizes)
        first = np.isin(rows, list(half))
        return Calibration(
            n_frames=len(rows),
            energy_error=_finite(energy),
            energy_std=_finite(energy_std),
            energy_ratio=_ratio(energy, energy_std),
            energy_correlation=_rank_correlation(np.abs(relative), self.energy_std[counted]),
            force_error=_finite(force),
            force_std=_finite(force_std),
            force_ratio=_ratio(force, force_std),
            force_correlation=_rank_correlation(of_frame, spread),
            energy_check=_check(relative, self.energy_std[counted], np.ones(len(rows)), first),
            force_check=_check(of_frame, spread, sizes, first),
        )


def without_offsets(energies: Floats, formulas: Sequence[str]) -> tuple[Floats, dict[str, float]]:
    """Return energies (N,) less the mean of their composition, and these means by composition."""
    relative, offsets = energies.copy(), {}
    for formula in dict.fromkeys(formulas):
        rows = np.array([other == formula for other in formulas])
        offsets[formula] = float(energies[rows].mean())
        relative[rows] -= offsets[formula]
    return relative, offsets


def compare(model: Path, frames: Sequence[Atoms], *, forces: Forces) -> Comparison:
    """Evaluate an ensemble on labelled frames.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    frames : sequence of Atoms
        Each with a calculator that holds its energy (eV) and forces (eV/Å).
    forces : {"best", "mean"}
        Whose energy and forces are the driving potential: the best member's or the mean.

    Raises
    ------
    AlrareError
        If the model does not know an element of the frames, or a frame carries no label.
    """
    if not frames:
        return Comparison(np.zeros(0), [], np.zeros(0), [], np.zeros(0), [], (), ())
    check_labels(frames)
    best = load_ensemble(model).metadata.best_member
    calculator = EnsembleCalculator(model, forces=forces)
    of_frames, stress = [], []
    for frame in frames:
        of_frames.append(_members(calculator, frame))
        stress.append(_stress_error(calculator, frame))
    labels = [label_of(frame) for frame in frames]
    energy = np.array([energy for energy, _ in labels])
    member_energies = np.stack([energies for energies, _ in of_frames], axis=1)
    member_forces = [members for _, members in of_frames]
    pairs = [(m, force) for m, (_, force) in zip(member_forces, labels, strict=True)]
    energy_of_mean = member_energies.mean(axis=0) - energy
    forces_of_mean = [members.mean(axis=0) - force for members, force in pairs]
    by_mean = forces == "mean"
    return Comparison(
        energy=energy_of_mean if by_mean else member_energies[best] - energy,
        forces=forces_of_mean if by_mean else [members[best] - force for members, force in pairs],
        energy_of_mean=energy_of_mean,
        forces_of_mean=forces_of_mean,
        energy_std=standard_deviation(member_energies),
        force_std=[standard_deviation(members) for members in member_forces],
        formulas=tuple(frame.get_chemical_formula() for frame in frames),
        stress=tuple(stress),
    )


def frame_errors(model: Path, frames: Sequence[Atoms], *, forces: Forces = "best") -> FrameErrors:
    """Compare an ensemble with labelled frames; see `compare`.

    Isolated atoms are left out, since a model learns them from their energies alone.

    Raises
    ------
    AlrareError
        As `compare`, and if the labels are of several methods, or a frame has a charge or a
        multiplicity that the model was not trained on.
    """
    checked = check_frames(model, frames)
    factors = load_ensemble(model).metadata.calibration
    return checked.errors_of(compare(model, checked.several, forces=forces), factors)


@dataclass(frozen=True)
class CheckedFrames:
    """Labelled frames that a model may be compared with."""

    several: list[Atoms]
    """All but the isolated atoms."""
    same_method: bool | None
    """Whether the labels are by the method that the model was trained on; None if not known."""

    def errors_of(
        self, comparison: Comparison, factors: SpreadFactors | None = None
    ) -> FrameErrors:
        """Summarize a comparison of these frames with a model of this calibration."""
        errors = comparison.errors()
        errors = replace(errors, same_method=self.same_method)
        if errors.calibration is None or factors is None:
            return errors
        return replace(errors, calibrated=errors.calibration / factors.energy)


def check_frames(model: Path, frames: Sequence[Atoms]) -> CheckedFrames:
    """Check labelled frames and leave isolated atoms out; raises as `frame_errors`."""
    check_labels(frames)
    metadata = load_ensemble(model).metadata
    method, own = common_method(frames), metadata.method
    several = [frame for frame in frames if not is_isolated_atom(frame)]
    for number, frame in enumerate(several, start=1):
        check_state(frame, metadata.training, place_of(frame, number))
    return CheckedFrames(several, method == own if method and own else None)


def _members(calculator: EnsembleCalculator, frame: Atoms) -> tuple[Floats, Floats]:
    """Return the energies (M,) and forces (M, n, 3) of every member on one frame."""
    calculator.calculate(frame)
    return calculator.results["member_energies"], calculator.results["member_forces"]


def _stress_error(calculator: EnsembleCalculator, frame: Atoms) -> Floats | None:
    """Return the error (3, 3) of the stress just calculated, eV/Å³; None without a label."""
    label = stress_tensor(frame)
    if label is None:
        return None
    error: Floats = voigt_6_to_full_3x3_stress(calculator.results["stress"]) - label
    return error


def _rms(values: Floats, weights: Floats | None = None) -> float:
    return float(np.sqrt(np.average(np.square(values), weights=weights)))


def _check(
    errors: Floats, spreads: Floats, weights: Floats, first: NDArray[np.bool_]
) -> float | None:
    """Return the ratio of error to spread of the other frames over that of `first`; (n,) each."""
    if not 0 < first.sum() < len(first):
        return None
    of_first, of_others = (
        _ratio(_rms(errors[half], weights[half]), _rms(spreads[half], weights[half]))
        for half in (first, ~first)
    )
    return _ratio(of_others, of_first) if of_first and of_others else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ratio(error: float, spread: float) -> float | None:
    return _finite(error / spread) if spread > 0.0 else None


def _rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's coefficient; None for fewer than three frames or without any difference."""
    if len(first) < 3 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return None
    from scipy.stats import spearmanr  # takes half a second to import

    return _finite(spearmanr(first, second).statistic)
