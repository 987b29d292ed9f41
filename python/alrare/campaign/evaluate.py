"""How good the ensemble of an iteration is: on the test pulls, and in the activation energy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..exploration.observables import Observables, find_break
from ..exploration.work import mean_of
from ..frames import label_of
from ..model.accuracy import Calibration, Comparison, Forces, FrameErrors, compare


@dataclass(frozen=True)
class PullComparison:
    """One pull by the model beside that of the labeller."""

    seed: int
    """Seed of both pulls."""
    model: Observables
    """Of the model's pull."""
    reference: Observables | None
    """Of the labeller's with the same seed; None if that pull was not made."""


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
    barrier_error: float | None
    """Mean absolute error of the potential energy at the highest point before the break of each
    of the labeller's pulls, relative to that pull's first frame, eV."""
    test: FrameErrors
    """On all frames of the labeller's pulls, which are never trained on."""
    test_intact: FrameErrors
    """On those before the first bond breaks."""
    test_broken: FrameErrors
    """On those after."""
    calibration: Calibration
    """On the iteration's new labels, before they are trained on."""
    pulls: tuple[PullComparison, ...]
    """One entry a seed."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers: the keys of an iteration in results.json, and the details."""
        content = asdict(self)
        content["energy_mae_test"] = self.test.energy_mae
        content["force_mae_test"] = self.test.force_mae
        return content


def evaluate(
    *,
    model: Path,
    forces: Forces,
    test_pulls: Sequence[Sequence[Atoms]],
    new: Sequence[Atoms],
    pulls: Mapping[int, Observables],
    reference: Mapping[int, Observables],
) -> Evaluation:
    """Judge an ensemble by its pulls, by the labeller's own, and by labels new to it.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    forces : {"best", "mean"}
        Whose energy and forces are judged: those that drive the pulls.
    test_pulls : sequence of sequences of Atoms
        The labelled frames of each reference pull, in order of step.
    new : sequence of Atoms
        Labelled configurations of the model's own pulls that it was not trained on.
    pulls, reference : mapping from seed to Observables
        Of the model's and of the labeller's pulls.

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
        first = find_break(pull)
        end = begin + (len(pull) if first is None else first.index)
        intact += range(begin, end)
        broken += range(end, begin + len(pull))
        peaks += [_barrier_error(compared, frames, begin, end)] if end > begin else []
        begin += len(pull)
    work = {seed: pulls[seed].activation_energy for seed in sorted(pulls)}
    shared = [seed for seed in work if seed in reference]
    energy, energy_sem = _mean_sem(list(work.values()))
    error, error_sem = _mean_sem(
        [work[seed] - reference[seed].activation_energy for seed in shared]
    )
    return Evaluation(
        activation_energy=energy,
        activation_energy_sem=energy_sem,
        n_pulls=len(work),
        error=error,
        error_sem=error_sem,
        barrier_error=float(np.abs(peaks).mean()) if peaks and np.isfinite(peaks).all() else None,
        test=compared.errors(),
        test_intact=compared.part(intact).errors(),
        test_broken=compared.part(broken).errors(),
        calibration=compare(model, new, forces=forces).calibration(),
        pulls=tuple(PullComparison(seed, pulls[seed], reference.get(seed)) for seed in work),
    )


def _barrier_error(compared: Comparison, frames: Sequence[Atoms], begin: int, end: int) -> float:
    """Error of the barrier on one pull: at its highest frame, relative to its first."""
    highest = max(range(begin, end), key=lambda row: label_of(frames[row])[0])
    return float(compared.energy[highest] - compared.energy[begin])


def _mean_sem(values: list[float]) -> tuple[float | None, float | None]:
    if not values:
        return None, None
    mean = mean_of(values)
    return mean.mean, mean.sem
