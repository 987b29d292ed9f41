"""Members of an ensemble that ended far worse than the others."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

ASTRAY = 1.5
"""A member whose error is this many times the median of the others has gone astray."""


def excess(metrics: Sequence[Mapping[str, Any]], number: int) -> float:
    """Return a member's error over the median of the others, of energies or forces, the larger.

    Parameters
    ----------
    metrics : sequence of mappings
        Of all members, as in training.json; the errors on all data are compared.
    number : int
        Of the member, from 0.
    """
    if len(metrics) < 2:
        return 1.0

    def ratio(error: str) -> float:
        own = metrics[number]["all"][error]
        others = median(m["all"][error] for k, m in enumerate(metrics) if k != number)
        return float(own / max(others, 1e-12))

    return max(ratio("energy_mae"), ratio("force_mae"))


def astray(metrics: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the members whose `excess` is above `ASTRAY`."""
    return [k for k in range(len(metrics)) if excess(metrics, k) > ASTRAY]
