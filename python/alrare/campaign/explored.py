"""The pulls of a system in one iteration, and the labeller's own, with their observables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ..config import Pull
from ..exploration.labeller_md import TRAJECTORY_FILE
from ..exploration.lammps_input import WORK_FILE
from ..exploration.model_pulls import PullResult, model_file, simulate_pulls
from ..exploration.observables import Observables, observe, read_trajectory
from ..exploration.work import read_work
from ..frames import read_frames
from .context import Campaign, System
from .reference import Reference


@dataclass(frozen=True)
class Explored:
    """The model's pulls of one system in one iteration."""

    pulls: Sequence[PullResult]
    trajectories: Mapping[int, Sequence[Atoms]]
    """Configurations by seed."""
    observables: Mapping[int, Observables]
    """By seed."""

    def energy_reached(self) -> float:
        """Return the highest energy until the events, eV above the start: median of the pulls."""
        return float(np.median([one.peak_energy for one in self.observables.values()]))


def explore(campaign: Campaign, system: System, folder: Path, reference: Reference) -> Explored:
    """Pull a system by the model of an iteration.

    Parameters
    ----------
    campaign : Campaign
    system : System
    folder : Path
        Folder of the iteration, with its model.
    reference : Reference
        The pulls start from its relaxed structure.
    """
    config = campaign.config
    pulls = simulate_pulls(
        model=model_file(folder, config.run.device),
        structure=reference.structure,
        elements=campaign.elements,
        pull=system.pull,
        select=config.select,
        timestep=config.timestep,
        forces=config.forces,
        folder=folder / system.subfolder,
        run=config.run,
        progress=campaign.progress,
    )
    curves = {pull.seed: pull.work for pull in pulls if pull.work is not None}
    trajectories = {p.seed: read_trajectory(p.trajectory) for p in pulls if p.seed in curves}
    return Explored(pulls, trajectories, _observe(system.pull, curves, trajectories))


def test_pulls(reference: Reference) -> dict[int, list[Atoms]]:
    """Read the labelled configurations of the labeller's own pulls by seed."""
    return {seed: read_frames(path / TRAJECTORY_FILE) for seed, path in reference.pulls.items()}


def observe_reference(
    system: System, reference: Reference, frames: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observables]:
    """Return the observables of the labeller's own pulls by seed; the frames are `test_pulls`."""
    curves = {seed: folder / WORK_FILE for seed, folder in reference.pulls.items()}
    return _observe(system.pull, curves, frames)


def _observe(
    pull: Pull, curves: Mapping[int, Path], trajectories: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observables]:
    return {
        seed: observe(
            read_work(path), trajectories[seed], plus_steps=pull.plus_steps, pulled=pull.atoms
        )
        for seed, path in sorted(curves.items())
    }
