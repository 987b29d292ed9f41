"""The rule that ends a campaign; it uses the model's runs and labels, not the reference.

Where the labeller has done the same runs, their result is compared afterwards: they may contradict
a campaign that has converged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ..config import Stop
from ..exploration.work import mean_of
from .around_event import EventErrors


@dataclass(frozen=True)
class Change:
    """How the observable changed from one iteration to the next, seed by seed, in its unit."""

    mean: float
    sem: float | None
    """Standard error of that mean; None for one seed."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    def is_small(self, tolerance: float) -> bool:
        """Whether the change and its standard error are both below the tolerance."""
        return abs(self.mean) < tolerance and (self.sem is None or self.sem < tolerance)


@dataclass(frozen=True)
class Convergence:
    """Whether a campaign may stop after an iteration, and why or why not."""

    change: Change | None
    """Change from the previous iteration; None in iteration 0."""
    settled: bool
    """Whether the last `[stop] small_changes` changes were small and every run came to its end."""
    around_event: EventErrors | None
    """Errors on the labels around the event; None if there are no such labels."""
    converged: bool
    """Whether it is settled and those errors are below their limits: the campaign then stops."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, for results.json."""
        return asdict(self)


def judge(
    history: Sequence[Mapping[int, float]],
    *,
    finished: bool,
    around_event: EventErrors | None,
    stop: Stop,
    n_atoms: int,
    tolerance: float,
) -> Convergence:
    """Decide whether a campaign stops.

    It stops when the observable has settled and the errors around the event are small.

    Parameters
    ----------
    history : sequence of mappings from seed to float
        The observable by seed, of the iterations so far, in order.
    finished : bool
        Whether every run of the last iteration came to its end.
    around_event : EventErrors or None
        Errors of the last iteration's model on its own trajectories.
    stop : Stop
        The `[stop]` table.
    n_atoms : int
        Number of atoms of the structure.
    tolerance : float
        Largest small change, in the unit of the observable.
    """
    settled = finished and is_settled(
        history, tolerance=tolerance, small_changes=stop.small_changes
    )
    confirmed = around_event is not None and around_event.is_below(
        energy=stop.energy_limit(n_atoms), force=stop.force_error
    )
    change = (changes(history) or [None])[-1]
    return Convergence(change, settled, around_event, settled and confirmed)


def is_contradicted(error: float | None, sem: float | None, tolerance: float) -> bool:
    """Whether the labeller's own runs say that the observable of a model is wrong.

    So it is if their difference is larger than the tolerance and than twice its standard error.

    Parameters
    ----------
    error : float or None
        Mean difference, model minus labeller; None if it is not known.
    sem : float or None
        Its standard error; None for one seed.
    tolerance : float
        Largest small change, in the same unit.
    """
    return error is not None and abs(error) > max(tolerance, 2.0 * (sem or 0.0))


def changes(history: Sequence[Mapping[int, float]]) -> list[Change | None]:
    """Compare each iteration with the previous one, over the seeds that both have.

    Parameters
    ----------
    history : sequence of mappings from seed to float
        The observable by seed, of the iterations, in order.

    Returns
    -------
    list of Change or None
        One entry fewer than the history; None where two iterations share no seed.
    """
    found: list[Change | None] = []
    for before, now in pairwise(history):
        shared = sorted(before.keys() & now.keys())
        mean = mean_of([now[seed] - before[seed] for seed in shared]) if shared else None
        found.append(None if mean is None else Change(mean.mean, mean.sem))
    return found


def is_settled(
    history: Sequence[Mapping[int, float]], *, tolerance: float, small_changes: int
) -> bool:
    """Whether the last `small_changes` changes were all small, and over the same seeds.

    A seed without an observable in one iteration and one in the next has changed.

    Parameters
    ----------
    history : sequence of mappings from seed to float
        As for `changes`.
    tolerance : float
        Limit of each change and of its standard error.
    small_changes : int
        Number of successive small changes; with 0 the result is always False.
    """
    last = changes(history)[-small_changes:] if small_changes else []
    same_seeds = len({frozenset(values) for values in history[-small_changes - 1 :]}) == 1
    return (
        0 < small_changes == len(last)
        and same_seeds
        and all(change is not None and change.is_small(tolerance) for change in last)
    )
