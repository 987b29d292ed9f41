"""Evaluation of an iteration's ensemble: activation energy, and errors on the test pulls."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..exploration.event import find_event
from ..exploration.observables import Observables, activation_energies
from ..exploration.work import mean_of
from ..frames import label_of
from ..model.accuracy import Calibration, Comparison, Forces, FrameErrors, compare


@dataclass(frozen=True)
class PullComparison:
    """A pull by the model and the labeller's pull with the same seed."""

    seed: int
    """Seed of both pulls."""
    model: Observables
    """Observables of the model's pull."""
    reference: Observables | None
    """Observables of the labeller's pull; None if there is none with this seed."""


@dataclass(frozen=True)
class Evaluation:
    """Errors and activation energy of one iteration's ensemble."""

    activation_energy: float | None
    """Mean over the model's pulls with an event, eV; None without such pulls."""
    activation_energy_sem: float | None
    """Standard error of that mean, eV; None for fewer than two such pulls."""
    n_pulls: int
    """Number of pulls by the model."""
    error: float | None
    """Activation energy, model minus labeller, mean over the seeds whose pulls by both had
    an event, eV."""
    error_sem: float | None
    """Standard error of that mean, eV; None for fewer than two seeds."""
    barrier_error: float | None
    """Barrier error, eV: on each of the labeller's pulls, the error of the potential energy at its
    highest frame before the break relative to its first frame; mean of the absolute values."""
    test: FrameErrors
    """Errors on all frames of the test pulls, which no model is trained on."""
    test_intact: FrameErrors
    """Errors on the frames before the event."""
    test_broken: FrameErrors
    """Errors on the frames after it."""
    calibration: Calibration
    """Spread and error on the iteration's new labels, which it was not trained on."""
    pulls: tuple[PullComparison, ...]
    """One entry per seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain numbers, under the keys of an iteration in results.json."""
        content = asdict(self)
        content["energy_mae_test"] = self.test.energy_mae
        content["force_mae_test"] = self.test.force_mae
        return content


def evaluate(
    *,
    model: Path,
    forces: Forces,
    test_pulls: Sequence[Sequence[Atoms]],
    new: Sequence[Sequence[Atoms]],
    pulls: Mapping[int, Observables],
    reference: Mapping[int, Observables],
) -> Evaluation:
    """Evaluate an ensemble on its own pulls, on the test pulls, and on labels new to it.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    forces : {"best", "mean"}
        Whose energy and forces are compared; the same as in the pulls.
    test_pulls : sequence of sequences of Atoms
        The labelled frames of each test pull, in order of step.
    new : sequence of sequences of Atoms
        Labelled configurations of the model's own pulls that it was not trained on: the candidates
        and those around the break, each pull by pull.
    pulls, reference : mapping from seed to Observables
        Observables of the model's and of the labeller's pulls.

    Raises
    ------
    AlrareError
        If a file is missing or damaged.
    """
    frames = [frame for pull in test_pulls for frame in pull]
    compared = compare(model, frames, forces=forces)
    intact: list[int] = []
    broken: list[int] = []
    peaks: list[float] = []
    begin = 0
    for pull in test_pulls:
        first = find_event(pull)
        end = begin + (len(pull) if first is None else first.index)
        intact += range(begin, end)
        broken += range(end, begin + len(pull))
        peaks += [_barrier_error(compared, frames, begin, end)] if end > begin else []
        begin += len(pull)
    work, of_labeller = activation_energies(pulls), activation_energies(reference)
    energy, energy_sem = _mean_sem(list(work.values()))
    error, error_sem = _mean_sem(
        [work[seed] - of_labeller[seed] for seed in work if seed in of_labeller]
    )
    return Evaluation(
        activation_energy=energy,
        activation_energy_sem=energy_sem,
        n_pulls=len(pulls),
        error=error,
        error_sem=error_sem,
        barrier_error=float(np.abs(peaks).mean()) if peaks and np.isfinite(peaks).all() else None,
        test=compared.errors(),
        test_intact=compared.part(intact).errors(),
        test_broken=compared.part(broken).errors(),
        calibration=_calibration(model, new, forces),
        pulls=tuple(
            PullComparison(seed, pulls[seed], reference.get(seed)) for seed in sorted(pulls)
        ),
    )


def _calibration(model: Path, new: Sequence[Sequence[Atoms]], forces: Forces) -> Calibration:
    """Compare spread and error; the labels of half of the pulls check those of the others."""
    half: list[int] = []
    frames: list[Atoms] = []
    for group in new:
        half += range(len(frames), len(frames) + len(group) // 2)
        frames += group
    return compare(model, frames, forces=forces).calibration(half)


def _barrier_error(compared: Comparison, frames: Sequence[Atoms], begin: int, end: int) -> float:
    """Return the energy error of a pull at its highest frame relative to its first frame."""
    highest = max(range(begin, end), key=lambda row: label_of(frames[row])[0])
    return float(compared.energy[highest] - compared.energy[begin])


def _mean_sem(values: list[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    mean = mean_of(values)
    return mean.mean, mean.sem
