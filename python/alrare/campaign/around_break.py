"""Whether the model's own trajectory around the break may be believed: the guard before a stop.

An ensemble can agree on a path that is wrong: a bond that rests at 2.2 Å for a thousand steps,
with a small spread, an energy that is nearly right, forces that are not, and an activation energy
that is an eV too high (docs/results.md). Uncertainty does not show that; labels do. So frames of
the model's own pulls around the break are labelled and compared, forces above all, and then join
the data: the activation energy is decided there, where 5 meV of the barrier move it by 0.1 eV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..exploration.observables import Observables, find_break
from ..files import read_json, write_json
from ..labelling.store import LabelStore
from ..model.accuracy import Forces, compare
from .context import Campaign
from .run_folder import timed


@dataclass(frozen=True)
class BreakErrors:
    """Errors of the driving potential on its own trajectory around the break."""

    n_frames: int
    """Frames compared."""
    energy_mae: float
    """Mean absolute error of the energy above that of the relaxed structure, eV."""
    force_mae: float
    """Mean absolute error of the force components, eV/Å."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)

    def is_below(self, *, energy: float, force: float) -> bool:
        """Whether both errors are below their limits (eV, eV/Å); NaN is not."""
        return self.energy_mae < energy and self.force_mae < force


def label_around_break(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    model: Path,
    start: Atoms,
    trajectories: Mapping[int, Sequence[Atoms]],
    observables: Mapping[int, Observables],
) -> tuple[list[str], BreakErrors | None]:
    """Label configurations of the model's own trajectory around the break.

    Parameters
    ----------
    campaign : Campaign
    iteration : int
    folder : Path
        Of the iteration; what was done there is read from `around_break.json`.
    model : Path
        ensemble.safetensors.
    start : Atoms
        The relaxed structure, labelled.
    trajectories : mapping from seed to sequence of Atoms
        Configurations of the model's pulls.
    observables : mapping from seed to Observables
        Of the same pulls.

    Returns
    -------
    list of str
        Keys of the labels.
    BreakErrors or None
        Of the driving potential there; None where none were asked for, or no label was to be had.
    """
    select, record = campaign.config.select, folder / "around_break.json"
    if not select.around_break:
        return [], None
    if not record.is_file():
        with timed(folder, "label around the break"):
            frames = frames_around_break(
                [trajectories[seed] for seed in sorted(trajectories)],
                [observables[seed].peak_step for seed in sorted(trajectories)],
                n_frames=select.around_break,
                window=select.break_window,
            )
            keys = campaign.label(frames, f"around the break {iteration}")
            with LabelStore(campaign.store_path) as store:
                labels = store.frames(keys)
            forces = campaign.config.forces
            errors = errors_around_break(model, start, labels, forces=forces) if labels else None
            write_json(record, {"keys": keys, **(errors.to_json() if errors else {})})
    content = read_json(record)
    return content.pop("keys"), BreakErrors(**content) if content else None


def frames_around_break(
    pulls: Sequence[Sequence[Atoms]],
    highest: Sequence[int],
    *,
    n_frames: int,
    window: tuple[int, int],
) -> list[Atoms]:
    """Take frames around the break of each pull.

    Parameters
    ----------
    pulls : sequence of sequences of Atoms
        The configurations of the model's pulls, `info["step"]` saying the MD step.
    highest : sequence of int
        Step of the largest work of each pull, which stands for the break where no bond broke.
    n_frames : int
        Frames to take in all: evenly from the pulls, evenly spaced in each, and the pulls shifted
        against each other so that few frames from each cover the window too.
    window : (int, int)
        MD steps before and after the break from which frames are taken.
    """
    known = [(path, peak) for path, peak in zip(pulls, highest, strict=True) if path]
    frames = []
    for number, (path, peak) in enumerate(known):
        first = find_break(path)
        center = peak if first is None else int(path[first.index].info["step"])
        first_step, last_step = center - window[0], center + window[1]
        inside = [f for f in path if first_step <= int(f.info["step"]) <= last_step]
        share = n_frames * (number + 1) // len(known) - n_frames * number // len(known)
        shift = (number + 0.5) / len(known)
        places = (np.arange(share) + shift) / max(share, 1)  # of the window, from 0 to 1
        frames += [inside[row] for row in np.unique((places * len(inside)).astype(int)) if inside]
    return frames


def errors_around_break(
    model: Path, start: Atoms, frames: Sequence[Atoms], *, forces: Forces
) -> BreakErrors:
    """Compare the driving potential with labels on its own trajectory.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    start : Atoms
        The relaxed structure, labelled: energies are taken from it.
    frames : sequence of Atoms
        Of `frames_around_break`, labelled; at least one.
    forces : {"best", "mean"}
        Whose energy and forces are judged.

    Raises
    ------
    AlrareError
        If a frame carries no label.
    """
    compared = compare(model, [start, *frames], forces=forces)
    components = np.concatenate([force.ravel() for force in compared.forces[1:]])
    return BreakErrors(
        n_frames=len(frames),
        energy_mae=float(np.abs(compared.energy[1:] - compared.energy[0]).mean()),
        force_mae=float(np.abs(components).mean()),
    )
