"""What all stages of a running campaign share: configuration, run folder, progress display."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from ..config import Config, Pull
from ..electronic_state import state_of, with_state
from ..errors import ConfigError
from ..labelling.batch import label, require_labels
from ..labelling.method import method_of
from ..labelling.store import STORE_FILE
from ..processes import worker_count
from ..progress import Progress
from ..structure import elements_of, load_structure


@dataclass(frozen=True)
class System:
    """A molecule of a campaign, and how it is pulled."""

    name: str
    """Name in results.json and in the tables."""
    structure: Atoms
    """The molecule as given, before the labeller relaxes it."""
    pull: Pull
    """The `[pull]` table with its own atoms."""
    subfolder: str = ""
    """Its folder in those of the reference and the iterations; empty for the only system."""

    def of_molecule(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return copies of frames from LAMMPS that state the molecule's charge and multiplicity."""
        state = state_of(self.structure)
        return [with_state(frame, state) for frame in frames]


@dataclass(frozen=True)
class Campaign:
    """A running campaign."""

    config: Config
    """al.toml."""
    folder: Path
    """The run folder."""
    systems: tuple[System, ...]
    """Its molecules, which one model learns."""
    progress: Progress
    """Progress display of all stages."""
    retry: bool = False
    """Whether labels that failed are tried again, whatever the reason."""

    @property
    def store_path(self) -> Path:
        """Path of the label store."""
        return self.folder / "labels" / STORE_FILE

    @cached_property
    def method(self) -> str:
        """Hash of the labels' method."""
        return method_of(self.config.labeller, self.elements).hash

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Elements of all molecules by atomic number: the species of the model."""
        return tuple(elements_of(*(system.structure for system in self.systems)))

    @property
    def workers(self) -> int:
        """Number of tasks that run at a time."""
        return worker_count(self.config.run.workers)

    def rng(self, iteration: int, purpose: str) -> np.random.Generator:
        """Return a stage's random generator, which depends on seed, iteration and purpose only."""
        return np.random.default_rng([self.config.seed, iteration, *purpose.encode()])

    def label(self, system: System, frames: Sequence[Atoms], origin: str) -> list[str]:
        """Label configurations of a system; return the keys of the good labels.

        They get the molecule's charge and multiplicity; LAMMPS keeps neither.

        Raises
        ------
        LabelError
            If a larger share than `[labeller] max_failed` fails.
        """
        if not frames:
            return []
        folder = self.store_path.parent
        origin = f"{origin}, {system.name}" if system.subfolder else origin
        done = label(
            system.of_molecule(frames),
            labeller=self.config.labeller,
            folder=folder,
            workers=self.workers,
            progress=self.progress,
            origin=origin,
            retry=self.retry,
        )
        require_labels(done, max_failed=self.config.labeller.max_failed, folder=folder)
        if done.failed:
            self.progress.message(
                f"{origin}: {len(done.failed)} of {len(frames)} labels failed, the first:"
                f" {done.failed[0].reason}"
            )
        return list(done.keys)


def systems_of(config: Config) -> tuple[System, ...]:
    """Read the molecules of a campaign.

    Raises
    ------
    ConfigError
        If one cannot be pulled, or two have one composition and different charges or
        multiplicities.
    """
    systems = tuple(
        System(
            table.name,
            load_structure(config, table),
            config.pull.model_copy(update={"atoms": table.atoms}),
            table.name if config.system else "",
        )
        for table in config.systems
    )
    states: dict[str, System] = {}
    for system in systems:
        formula = system.structure.get_chemical_formula()
        other = states.setdefault(formula, system)
        if state_of(other.structure) != state_of(system.structure):
            raise ConfigError(
                f"system: {other.name} and {system.name} are both {formula}, one with"
                f" {state_of(other.structure)}, the other with {state_of(system.structure)}; a"
                " model knows positions only and cannot learn both: make a campaign of each"
            )
    return systems
