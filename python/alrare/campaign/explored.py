"""The runs of a system in one iteration, and the labeller's own, with their observables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ..exploration.exploration import Exploration, Observed
from ..exploration.labeller_md import TRAJECTORY_FILE
from ..exploration.model_runs import simulate
from ..exploration.observables import read_trajectory
from ..exploration.run_result import RunResult
from ..frames import read_frames
from ..model.engine import lammps_file
from .context import Campaign, System
from .reference import Reference


@dataclass(frozen=True)
class Explored:
    """The model's runs of one system in one iteration."""

    runs: Sequence[RunResult]
    trajectories: Mapping[int, Sequence[Atoms]]
    """Configurations by seed."""
    observables: Mapping[int, Observed]
    """By seed."""

    def energy_reached(self) -> float:
        """Return the highest energy until the events, eV above the start: median of the runs."""
        return float(np.median([one.peak_energy for one in self.observables.values()]))


def explore(campaign: Campaign, system: System, folder: Path, reference: Reference) -> Explored:
    """Drive a system by the model of an iteration.

    Parameters
    ----------
    campaign : Campaign
    system : System
    folder : Path
        Folder of the iteration, with its model.
    reference : Reference
        The runs start from its relaxed structure.
    """
    config = campaign.config
    runs = simulate(
        model=lammps_file(folder, config.run.device),
        structure=reference.structure,
        elements=campaign.elements,
        exploration=system.exploration,
        select=config.select,
        timestep=config.timestep,
        forces=config.forces,
        folder=folder / system.subfolder,
        run=config.run,
        workers=campaign.executor,
        progress=campaign.progress,
    )
    tables = {run.seed: run.table for run in runs if run.table is not None}
    trajectories = {run.seed: read_trajectory(run.trajectory) for run in runs if run.seed in tables}
    return Explored(runs, trajectories, _observe(system.exploration, tables, trajectories))


def test_pulls(reference: Reference) -> dict[int, list[Atoms]]:
    """Read the labelled configurations of the labeller's own runs by seed."""
    return {seed: read_frames(path / TRAJECTORY_FILE) for seed, path in reference.runs.items()}


def observe_reference(
    system: System, reference: Reference, frames: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observed]:
    """Return the observables of the labeller's own runs by seed; the frames are `test_pulls`."""
    table = system.exploration.quantity.table
    tables = {seed: folder / table for seed, folder in reference.runs.items()}
    return _observe(system.exploration, tables, frames)


def values_of(runs: Mapping[int, Observed]) -> dict[int, float]:
    """Return the observable by seed, of the runs that have one."""
    known = {seed: runs[seed].value for seed in sorted(runs)}
    return {seed: value for seed, value in known.items() if value is not None}


def _observe(
    exploration: Exploration,
    tables: Mapping[int, Path],
    trajectories: Mapping[int, Sequence[Atoms]],
) -> dict[int, Observed]:
    return {
        seed: exploration.observe(path, trajectories[seed]) for seed, path in sorted(tables.items())
    }
