"""Whether the model's own path around the break may be believed: the guard before a stop.

An ensemble can agree on a path that is wrong: a bond that rests at 2.2 Å for a thousand steps,
with a small spread, an energy that is nearly right, forces that are not, and an activation energy
that is an eV too high (docs/results.md). Uncertainty does not show that; labels do. So frames of
the model's own pulls around the break are labelled and compared, forces above all, and then join
the data: the activation energy is decided there, where 5 meV of the barrier move it by 0.1 eV.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from .accuracy import Driver, compare
from .observables import find_break


@dataclass(frozen=True)
class PathErrors:
    """Errors of the driving potential on its own path around the break."""

    n_frames: int
    """Frames compared."""
    energy_mae: float
    """Mean absolute error of the energy, eV, relative to that at the first frame of each pull."""
    force_mae: float
    """Mean absolute error of the force components, eV/Å."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    def is_below(self, *, energy: float, force: float) -> bool:
        """Whether both errors are below their limits (eV, eV/Å); NaN is not."""
        return self.energy_mae < energy and self.force_mae < force


def path_frames(
    pulls: Sequence[Sequence[Atoms]],
    highest: Sequence[int],
    *,
    n_frames: int,
    before: int,
    after: int,
) -> list[Atoms]:
    """Take frames around the break of each pull, and each pull's first.

    Parameters
    ----------
    pulls : sequence of sequences of Atoms
        The configurations of the model's pulls, `info["step"]` saying the MD step.
    highest : sequence of int
        Step of the largest work of each pull, which stands for the break where no bond broke.
    n_frames : int
        Frames to take in all, evenly from the pulls and evenly spaced in each.
    before, after : int
        MD steps of the window, from the break.

    Returns
    -------
    list of Atoms
        Each with `info["pull"]`, the index of its pull; the first frame of a pull comes first.
    """
    taken = []
    share = max(n_frames // max(len(pulls), 1) - 1, 1)
    for number, (path, peak) in enumerate(zip(pulls, highest, strict=True)):
        if not path:
            continue
        first = find_break(path)
        center = peak if first is None else int(path[first.index].info["step"])
        window = [
            row
            for row in range(1, len(path))
            if center - before <= int(path[row].info["step"]) <= center + after
        ]
        even = np.unique(np.linspace(0, len(window) - 1, share).round().astype(int))
        for row in [0, *(window[k] for k in even if window)]:
            frame = path[row].copy()
            frame.info["pull"] = number
            taken.append(frame)
    return taken


def path_errors(model: Path, frames: Sequence[Atoms], *, driver: Driver) -> PathErrors:
    """Compare the driving potential with labels on its own path.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    frames : sequence of Atoms
        Of `path_frames`, labelled.
    driver : {"best", "mean"}
        Whose energy and forces are judged.

    Raises
    ------
    AlrareError
        If a frame carries no label.
    """
    compared = compare(model, frames, driver=driver)
    pull = np.array([int(frame.info["pull"]) for frame in frames])
    first = np.array([int(np.argmax(pull == number)) for number in pull])
    others = np.arange(len(frames)) != first
    energy = compared.energy - compared.energy[first]
    forces = np.concatenate([force.ravel() for force in compared.forces])
    return PathErrors(
        n_frames=len(frames),
        energy_mae=float(np.abs(energy[others]).mean()),
        force_mae=float(np.abs(forces).mean()),
    )
