"""Evaluation of an iteration's ensemble: activation energy, and errors on the test pulls."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..exploration.event import find_event
from ..exploration.exploration import Observed
from ..exploration.work import mean_of
from ..frames import label_of
from ..model.accuracy import Calibration, Comparison, Forces, FrameErrors, compare
from .explored import values_of


@dataclass(frozen=True)
class RunComparison:
    """A run by the model and the labeller's run with the same seed."""

    seed: int
    """Seed of both runs."""
    finished: bool
    """Whether the model's run came to its end."""
    model: dict[str, Any]
    """Observables of the model's run."""
    reference: dict[str, Any] | None
    """Observables of the labeller's run; None if there is none with this seed."""


@dataclass(frozen=True)
class Evaluation:
    """Errors and activation energy of one iteration's ensemble."""

    key: str
    """Name of the observable, under which `to_json` gives its mean: `activation_energy`."""
    value: float | None
    """Mean of the observable over the model's runs that have one; None without such runs."""
    value_sem: float | None
    """Standard error of that mean; None for fewer than two such runs."""
    n_runs: int
    """Number of runs by the model."""
    error: float | None
    """The observable, model minus labeller, mean over the seeds of which both runs have one."""
    error_sem: float | None
    """Standard error of that mean; None for fewer than two seeds."""
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
    runs: tuple[RunComparison, ...]
    """One entry per seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain numbers, under the keys of an iteration in results.json."""
        content = asdict(self)
        key = content.pop("key")
        mean = {key: content.pop("value"), f"{key}_sem": content.pop("value_sem")}
        content = mean | content
        content["energy_mae_test"] = self.test.energy_mae
        content["force_mae_test"] = self.test.force_mae
        return content


def evaluate(
    *,
    model: Path,
    forces: Forces,
    test_pulls: Sequence[Sequence[Atoms]],
    new: Sequence[Sequence[Atoms]],
    key: str,
    runs: Mapping[int, Observed],
    reference: Mapping[int, Observed],
    finished: Collection[int] = (),
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
    key : str
        Name of the observable in results.json.
    runs, reference : mapping from seed to Observed
        What was observed in the model's and in the labeller's runs.
    finished : collection of int
        Seeds of the model's runs that came to their ends.

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
    ours, of_labeller = values_of(runs), values_of(reference)
    value, value_sem = _mean_sem(list(ours.values()))
    error, error_sem = _mean_sem(
        [ours[seed] - of_labeller[seed] for seed in ours if seed in of_labeller]
    )
    return Evaluation(
        key=key,
        value=value,
        value_sem=value_sem,
        n_runs=len(runs),
        error=error,
        error_sem=error_sem,
        barrier_error=float(np.abs(peaks).mean()) if peaks and np.isfinite(peaks).all() else None,
        test=compared.errors(),
        test_intact=compared.part(intact).errors(),
        test_broken=compared.part(broken).errors(),
        calibration=_calibration(model, new, forces),
        runs=tuple(
            RunComparison(
                seed,
                seed in finished,
                runs[seed].to_json(),
                reference[seed].to_json() if seed in reference else None,
            )
            for seed in sorted(runs)
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
