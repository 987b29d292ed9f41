"""The runs of a system in one iteration, and the labeller's own, with their observables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from ..errors import UnstableModelError
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
    biased: Sequence[RunResult] = ()
    """Runs with a bias, which only give candidates: nothing is observed in them."""
    biased_events: Mapping[int, Observed] = field(default_factory=dict)
    """By seed, for the step of their event alone."""

    def candidates(self) -> list[tuple[Path, Observed | None]]:
        """Return the candidates' file of every run, and what says where its event was."""
        return [
            *((run.candidates, self.observables.get(run.seed)) for run in self.runs),
            *((run.candidates, self.biased_events.get(run.seed)) for run in self.biased),
        ]

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
    run = partial(
        simulate,
        model=lammps_file(folder),
        structure=reference.structure,
        elements=campaign.elements,
        exploration=system.exploration,
        timestep=config.timestep,
        forces=config.forces,
        run=config.run,
        workers=campaign.executor,
        progress=campaign.progress,
    )
    target = folder / system.subfolder
    runs = run(folder=target, select=config.select)
    biased: list[RunResult] = []
    if config.select.bias != "none":
        first = max(system.exploration.seeds) + 1
        seeds = range(first, first + config.select.biased_runs)
        select = config.select
        known = [one.selection.threshold for one in runs if one.selection.threshold is not None]
        if known and select.threshold == "adaptive" and select.relative is None:
            # a bias drives up the spread from which a run would draw its own
            select = select.model_copy(update={"threshold": float(np.mean(known))})
        try:
            biased = run(
                folder=target / "biased", bias=config.select.bias, seeds=seeds, select=select
            )
        except UnstableModelError:
            campaign.progress.message(
                f"{target / 'biased'}: no run with the bias made a single step; a weaker bias"
                " ([select]) would give candidates"
            )
    trajectories, observables = _observed(system, runs)
    return Explored(runs, trajectories, observables, biased, _observed(system, biased)[1])


def _observed(
    system: System, runs: Sequence[RunResult]
) -> tuple[dict[int, list[Atoms]], dict[int, Observed]]:
    """Return configurations and observables of the runs that made a step, by seed."""
    tables = {run.seed: run.table for run in runs if run.table is not None}
    trajectories = {run.seed: read_trajectory(run.trajectory) for run in runs if run.seed in tables}
    return trajectories, _observe(system.exploration, tables, trajectories)


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
