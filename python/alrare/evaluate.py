"""How good the ensemble of an iteration is: on unseen pulls, and in the activation energy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from .dataset import check_labels
from .ensemble import load_ensemble
from .frames import label_of
from .work import activation_energy, mean_of, read_work

BONDED = 1.25
"""Two atoms are bonded when nearer than this times the sum of their covalent radii."""
BROKEN = 1.45
"""A bond is broken beyond this times its first length (C-C: about 2.2 Å)."""


@dataclass(frozen=True)
class FrameErrors:
    """Errors of the driving potential on labelled frames.

    Energies are compared relative to their mean offset: an error common to all frames moves no
    atom and costs no work (Jung et al. 2024, Fig. 3c, "MAE of the relative energy").
    """

    n_frames: int
    """Frames compared."""
    energy_mae: float | None
    """Mean absolute error of the relative energy, eV; None without frames or when not finite."""
    force_mae: float | None
    """Mean absolute error of the force components, eV/Å; None likewise."""
    calibration: float | None
    """Rms error of the relative energy over rms energy_std; above 1: over-confident."""


@dataclass(frozen=True)
class PullError:
    """The activation energy of one pull by the model beside that of the labeller."""

    seed: int
    """Seed of both pulls."""
    activation_energy: float
    """By the model, eV."""
    reference: float | None
    """By the labeller with the same seed, eV; None if that pull was not made."""


@dataclass(frozen=True)
class Evaluation:
    """What one iteration's ensemble is worth."""

    activation_energy: float | None
    """Mean over the model's pulls, eV; None without pulls."""
    activation_energy_sem: float | None
    """Standard error of that mean, eV; None for fewer than two pulls."""
    n_pulls: int
    """Pulls by the model."""
    error: float | None
    """Mean of model minus labeller over the seeds both have, eV."""
    error_sem: float | None
    """Standard error of that mean, eV; None for fewer than two seeds."""
    unseen: FrameErrors
    """On all frames of the labeller's pulls, which are never trained on."""
    unseen_intact: FrameErrors
    """On those before the first bond breaks."""
    unseen_broken: FrameErrors
    """On those after."""
    pulls: tuple[PullError, ...]
    """One entry a seed."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers: the keys of an iteration in results.json, and the details."""
        content = asdict(self)
        content["energy_mae_unseen"] = self.unseen.energy_mae
        content["force_mae_unseen"] = self.unseen.force_mae
        return content


def evaluate(
    *,
    model: Path,
    driver: Literal["best", "mean"],
    unseen: Sequence[Sequence[Atoms]],
    curves: Mapping[int, Path],
    reference: Mapping[int, Path],
) -> Evaluation:
    """Judge an ensemble by its pulls and by the labeller's own.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    driver : {"best", "mean"}
        Whose energy and forces are judged: those that drive the pulls.
    unseen : sequence of sequences of Atoms
        The labelled frames of each reference pull, in order of step.
    curves, reference : mapping from seed to Path
        work.dat of the model's and of the labeller's pulls.

    Raises
    ------
    AlrareError
        If a file is missing or damaged.
    """
    breaks = [break_index(pull) for pull in unseen]
    intact = [frame for pull, end in zip(unseen, breaks, strict=True) for frame in pull[:end]]
    broken = [frame for pull, end in zip(unseen, breaks, strict=True) for frame in pull[end:]]
    errors = _compare(model, [*intact, *broken], driver)
    work = {seed: activation_energy(read_work(path)) for seed, path in sorted(curves.items())}
    of_labeller = {seed: activation_energy(read_work(path)) for seed, path in reference.items()}
    energy, energy_sem = _mean_sem(list(work.values()))
    shared = [seed for seed in work if seed in of_labeller]
    error, error_sem = _mean_sem([work[seed] - of_labeller[seed] for seed in shared])
    return Evaluation(
        activation_energy=energy,
        activation_energy_sem=energy_sem,
        n_pulls=len(work),
        error=error,
        error_sem=error_sem,
        unseen=errors.summary(),
        unseen_intact=errors.part(slice(0, len(intact))).summary(),
        unseen_broken=errors.part(slice(len(intact), None)).summary(),
        pulls=tuple(PullError(seed, work[seed], of_labeller.get(seed)) for seed in work),
    )


def frame_errors(
    model: Path, frames: Sequence[Atoms], *, driver: Literal["best", "mean"] = "best"
) -> FrameErrors:
    """Compare an ensemble with labelled frames of one molecule.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    frames : sequence of Atoms
        Each with a calculator that holds its energy (eV) and forces (eV/Å).
    driver : {"best", "mean"}
        Whose energy and forces are compared.

    Raises
    ------
    AlrareError
        If the model does not fit the frames, or a frame carries no label.
    """
    return _compare(model, frames, driver).summary()


def break_index(frames: Sequence[Atoms]) -> int:
    """Return the index of the first frame with a bond broken, or the number of frames.

    The bonds are those of the first frame; a bond is broken when it is `BROKEN` times as long as
    there.
    """
    if not frames:
        return 0
    first, second = np.triu_indices(len(frames[0]), 1)
    radii = covalent_radii[frames[0].numbers]
    start = np.linalg.norm(frames[0].positions[first] - frames[0].positions[second], axis=1)
    bonded = start < BONDED * (radii[first] + radii[second])
    first, second, limit = first[bonded], second[bonded], BROKEN * start[bonded]
    for index, frame in enumerate(frames):
        length = np.linalg.norm(frame.positions[first] - frame.positions[second], axis=1)
        if (length > limit).any():
            return index
    return len(frames)


@dataclass(frozen=True)
class _Errors:
    energy: NDArray[np.float64]
    forces: list[NDArray[np.float64]]
    spread: NDArray[np.float64]

    def part(self, which: slice) -> "_Errors":
        return _Errors(self.energy[which], self.forces[which], self.spread[which])

    def summary(self) -> FrameErrors:
        if not self.forces:
            return FrameErrors(0, None, None, None)
        relative = self.energy - self.energy.mean()
        spread = float(np.sqrt(np.mean(self.spread**2)))
        forces = np.concatenate([force.ravel() for force in self.forces])
        return FrameErrors(
            n_frames=len(relative),
            energy_mae=_finite(float(np.abs(relative).mean())),
            force_mae=_finite(float(np.abs(forces).mean())),
            calibration=_finite(float(np.sqrt(np.mean(relative**2))) / spread) if spread else None,
        )


def _compare(model: Path, frames: Sequence[Atoms], driver: str) -> _Errors:
    if not frames:
        return _Errors(np.zeros(0), [], np.zeros(0))
    check_labels(frames)
    ensemble = load_ensemble(model)
    result = ensemble.evaluate(frames)
    if driver == "best":
        best = ensemble.metadata.best_member
        energy, forces = result.energies[best], [force[best] for force in result.forces]
    else:
        energy = result.energies.mean(axis=0)
        forces = [force.mean(axis=0) for force in result.forces]
    labels = [label_of(frame) for frame in frames]
    return _Errors(
        energy=energy - np.array([label[0] for label in labels]),
        forces=[force - label[1] for force, label in zip(forces, labels, strict=True)],
        spread=result.energy_std,
    )


def _mean_sem(values: list[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    mean = mean_of(values)
    return mean.mean, mean.sem


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
