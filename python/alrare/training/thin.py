r"""Thinning of MD frames: successive steps hold almost the same information.

The rule `decorrelated` keeps every :math:`\lceil g \rceil`-th frame, where *g* is the statistical
inefficiency of the labels: with the normalized autocorrelation C(t) of the force magnitudes
:math:`|F_i|` (rotation does not change them), averaged over the atoms,

.. math:: g = 1 + 2 \sum_{t=1}^{t_0 - 1} \left(1 - \frac tT\right) C(t),

up to the first :math:`t_0` with :math:`C(t_0) \le 0`. Source: Chodera et al., J. Chem. Theory
Comput. 2007, 3, 26 (statistical inefficiency). Of the 2,001 steps of hexane at 500 K in steps of
0.5 fs it keeps 334 (g = 5.8); the shape of the chain is correlated for much longer (g = 297 for the
interatomic distances), so that the same steps hold about seven independent conformations.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..errors import AlrareError
from ..frames import label_of


def thinned_rows(frames: Sequence[Atoms], *, rule: Literal["none", "decorrelated"]) -> list[int]:
    """Return the rows of the MD frames that are used as data.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled frames of one MD run, in order of time and evenly spaced.
    rule : {"none", "decorrelated"}
        none: all rows, as in the paper. decorrelated: see the module.

    Raises
    ------
    AlrareError
        If a frame has no forces, or the frames are not of one run.
    """
    if rule == "none" or len(frames) < 3:
        return list(range(len(frames)))
    if any(not np.array_equal(atoms.numbers, frames[0].numbers) for atoms in frames):
        raise AlrareError("thinning: expected frames of one molecule, in order of time")
    forces = np.array([label_of(atoms)[1] for atoms in frames])
    step = math.ceil(statistical_inefficiency(np.linalg.norm(forces, axis=2)) - 1e-9)
    return list(range(0, len(frames), step))


def statistical_inefficiency(series: NDArray[np.float64]) -> float:
    """Return how many successive values carry the information of one independent value, at least 1.

    Parameters
    ----------
    series : (T, K) array
        K observables, whose autocovariances are added.
    """
    length = len(series)
    offset = series - series.mean(0)
    spectrum = np.fft.rfft(offset, 2 * length, axis=0)
    power = (spectrum * spectrum.conj()).real
    covariance = np.fft.irfft(power, axis=0)[:length].sum(1) / (length - np.arange(length))
    if covariance[0] <= 0.0:
        return 1.0
    correlation = covariance / covariance[0]
    crossing = np.flatnonzero(correlation <= 0.0)
    lags = np.arange(1, crossing[0] if len(crossing) else length - 1)
    return float(max(1.0 + 2.0 * ((1.0 - lags / length) * correlation[lags]).sum(), 1.0))
