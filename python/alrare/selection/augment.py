"""Noisy copies of selected configurations (Jung et al. 2024, §2.3.4)."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ..electronic_state import configuration


def noisy_copies(
    frames: Sequence[Atoms], *, copies: int, amplitude: float, rng: np.random.Generator
) -> list[Atoms]:
    """Move every coordinate by uniform noise, several times for each configuration.

    Parameters
    ----------
    frames : sequence of Atoms
        The selected configurations; the result does not contain them.
    copies : int
        Noisy copies of each configuration (2 in the paper).
    amplitude : float, Å
        The noise is uniform in ±amplitude on every coordinate (0.05 in the paper).
    rng : numpy.random.Generator
        The source of the noise.

    Returns
    -------
    list of Atoms
        ``copies * len(frames)`` configurations without calculator, the copies of one frame one
        after the other; `info["copy_of"]` is the index of the frame in `frames`.
    """
    result = []
    for index, frame in enumerate(frames):
        for _ in range(copies):
            copy = configuration(frame)
            copy.positions += rng.uniform(-amplitude, amplitude, (len(frame), 3))
            copy.info["copy_of"] = index
            result.append(copy)
    return result
