"""When the activation energy has settled, told from the model's pulls alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ..exploration.work import mean_of


@dataclass(frozen=True)
class Change:
    """How the activation energy changed from one iteration to the next, seed by seed."""

    mean: float
    """eV."""
    sem: float | None
    """Standard error of that mean, eV; None for one seed."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    def is_small(self, tolerance: float) -> bool:
        """Whether the change and its standard error are both below the tolerance (eV)."""
        return abs(self.mean) < tolerance and (self.sem is None or self.sem < tolerance)


def changes(history: Sequence[Mapping[int, float]]) -> list[Change | None]:
    """Compare each iteration's pulls with those before, over the seeds both have.

    Parameters
    ----------
    history : sequence of mappings from seed to float, eV
        Activation energies of the iterations, in order.

    Returns
    -------
    list of Change or None
        One shorter than the history; None where no seed is shared.
    """
    found: list[Change | None] = []
    for before, now in pairwise(history):
        shared = sorted(before.keys() & now.keys())
        mean = mean_of([now[seed] - before[seed] for seed in shared]) if shared else None
        found.append(None if mean is None else Change(mean.mean, mean.sem))
    return found


def is_settled(
    history: Sequence[Mapping[int, float]], *, tolerance: float, iterations: int
) -> bool:
    """Whether the last `iterations` changes were all small.

    Parameters
    ----------
    history : sequence of mappings from seed to float, eV
        As for `changes`.
    tolerance : float, eV
        Limit of each change and of its standard error.
    iterations : int
        Changes in a row; 0 never settles.
    """
    last = changes(history)[-iterations:] if iterations else []
    return 0 < iterations == len(last) and all(
        change is not None and change.is_small(tolerance) for change in last
    )
