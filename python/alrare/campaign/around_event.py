"""Labels around the event of the model's own pulls: a test of the model, then training data.

All members can agree on a wrong trajectory: a bond that stays at 2.2 Å for a thousand steps, with a
small spread, nearly the right energy, wrong forces, and an activation energy that is an eV too high
(docs/results.md). The uncertainty does not show this, but labels do. So configurations of the
model's pulls around the event are labelled and compared with the model before the campaign may
stop. Then they are trained on, since the activation energy is decided there: an error of 5 meV in
the barrier changes it by 0.1 eV.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..files import read_json, write_json
from ..labelling.store import LabelStore
from ..model.accuracy import Forces, compare
from .context import Campaign, System
from .explored import Explored


@dataclass(frozen=True)
class EventErrors:
    """Errors of the driving potential on its own trajectories around the event."""

    n_frames: int
    """Number of frames compared."""
    energy_mae: float
    """Mean absolute error of the energy above that of the relaxed structure, eV."""
    force_mae: float
    """Mean absolute error of the force components, eV/Å."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain numbers."""
        return asdict(self)

    def is_below(self, *, energy: float, force: float) -> bool:
        """Whether both errors are below their limits (eV, eV/Å); False for NaN."""
        return self.energy_mae < energy and self.force_mae < force


def label_around_event(
    campaign: Campaign,
    system: System,
    iteration: int,
    folder: Path,
    n_frames: int,
    model: Path,
    start: Atoms,
    explored: Explored,
) -> tuple[list[str], EventErrors | None]:
    """Label configurations of the model's own trajectories around the event.

    Parameters
    ----------
    campaign : Campaign
    system : System
    iteration : int
    folder : Path
        Folder of the system in the iteration. If it holds `around_event.json`, the result is read
        from there.
    n_frames : int
        Number of configurations to label, from all pulls together.
    model : Path
        ensemble.safetensors.
    start : Atoms
        The relaxed structure, labelled.
    explored : Explored
        The model's pulls.

    Returns
    -------
    list of str
        Keys of the labels.
    EventErrors or None
        Errors of the driving potential on these labels; None if there are none.
    """
    if not n_frames:
        return [], None
    record = folder / "around_event.json"
    content = read_json(record) if record.is_file() else {}
    if not content or not campaign.has_labels(content["keys"]):
        seeds = sorted(explored.trajectories)
        frames = frames_around_event(
            [explored.trajectories[seed] for seed in seeds],
            [explored.observables[seed].center for seed in seeds],
            [explored.observables[seed].peak_step for seed in seeds],
            n_frames=n_frames,
            window=campaign.config.select.event_window,
        )
        keys = campaign.label(system, frames, f"around the event {iteration}")
        with LabelStore(campaign.store_path) as store:
            labels = store.frames(keys)
        forces = campaign.config.forces
        errors = errors_around_event(model, start, labels, forces=forces) if labels else None
        content = {"keys": keys, **(errors.to_json() if errors else {})}
        write_json(record, content)
    return content.pop("keys"), EventErrors(**content) if content else None


def frames_around_event(
    pulls: Sequence[Sequence[Atoms]],
    centers: Sequence[int],
    decided: Sequence[int],
    *,
    n_frames: int,
    window: tuple[int, int],
) -> list[Atoms]:
    """Choose frames around the event of each pull.

    Parameters
    ----------
    pulls : sequence of sequences of Atoms
        The configurations of each pull; `info["step"]` is the MD step.
    centers : sequence of int
        For each pull the MD step of its event.
    decided : sequence of int
        For each pull the MD step that decides its observable. If that is later than the window,
        half of the pull's frames are taken between the two.
    n_frames : int
        Number of frames, the same from every pull (±1) and evenly spaced in the window. The frames
        of different pulls are shifted against each other, so that a few of each cover the window.
    window : (int, int)
        MD steps before and after the event from which frames are taken.
    """
    known = [one for one in zip(pulls, centers, decided, strict=True) if one[0]]
    frames = []
    for number, (path, center, last) in enumerate(known):
        first, end = center - window[0], center + window[1]
        share = n_frames * (number + 1) // len(known) - n_frames * number // len(known)
        shift = (number + 0.5) / len(known)
        later = _between(path, end + 1, last)
        n_later = share // 2 if later else 0
        frames += _spread(_between(path, first, end), share - n_later, shift)
        frames += _spread(later, n_later, shift)
    return frames


def _between(path: Sequence[Atoms], first: int, last: int) -> list[Atoms]:
    return [frame for frame in path if first <= int(frame.info["step"]) <= last]


def _spread(frames: Sequence[Atoms], count: int, shift: float) -> list[Atoms]:
    """Return so many evenly spaced frames, the first of them a share of the spacing in."""
    places = (np.arange(count) + shift) / max(count, 1)  # from 0 to 1
    return [frames[row] for row in np.unique((places * len(frames)).astype(int)) if len(frames)]


def errors_around_event(
    model: Path, start: Atoms, frames: Sequence[Atoms], *, forces: Forces
) -> EventErrors:
    """Compare the driving potential with labels on its own trajectories.

    Parameters
    ----------
    model : Path
        ensemble.safetensors.
    start : Atoms
        The relaxed structure, labelled; energies are compared relative to its energy.
    frames : sequence of Atoms
        Labelled frames of `frames_around_event`; at least one.
    forces : {"best", "mean"}
        Whose energy and forces are compared.

    Raises
    ------
    AlrareError
        If a frame carries no label.
    """
    compared = compare(model, [start, *frames], forces=forces)
    components = np.concatenate([force.ravel() for force in compared.forces[1:]])
    return EventErrors(
        n_frames=len(frames),
        energy_mae=float(np.abs(compared.energy[1:] - compared.energy[0]).mean()),
        force_mae=float(np.abs(components).mean()),
    )
