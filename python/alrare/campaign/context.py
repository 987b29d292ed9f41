"""What all stages of a running campaign share: configuration, run folder, progress display."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from ..config import Config
from ..config import System as SystemTable
from ..electronic_state import state_of, with_state
from ..errors import AlrareError, ConfigError
from ..execution.executor import Workers
from ..exploration.exploration import Exploration, SpringPull
from ..exploration.lammps_box import box_of
from ..exploration.load_input import load_input
from ..labelling.batch import label, require_labels
from ..labelling.method import method_of
from ..labelling.store import STORE_FILE, LabelStore
from ..progress import Progress
from ..structure import elements_of, load_structure

_TAKEN = re.compile(r"data|(run|pull|member|iter)_\d+|.*\.(json|extxyz|csv|png|svg|pt|safetensors)")
"""Names in the folders of an iteration and of the reference."""


@dataclass(frozen=True)
class System:
    """A molecule or cell of a campaign, and what drives it."""

    name: str
    """Name in results.json and in the tables."""
    structure: Atoms
    """The structure as given, before the labeller relaxes it; its cell is one that LAMMPS takes."""
    exploration: Exploration
    """The pull of its atoms, or an input of `[[explore]]`."""
    subfolder: str = ""
    """Its folder in those of the reference and the iterations; empty for the only system."""
    twin: str = ""
    """Folder of the system before it with the same structure, which another input drives."""

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
    executor: Workers = 0
    """Where its tasks run."""

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
            workers=self.executor,
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

    def has_labels(self, keys: Iterable[str]) -> bool:
        """Whether the store holds good labels of all keys: it may have been damaged and mended."""
        with LabelStore(self.store_path) as store:
            return set(keys) <= set(store.keys())


def systems_of(config: Config) -> tuple[System, ...]:
    """Read the molecules of a campaign.

    Raises
    ------
    ConfigError
        If one cannot be pulled, or two have one composition and different charges or
        multiplicities.
    """
    systems: list[System] = []
    first: dict[str, str] = {}
    for table in config.systems:
        structure = _load(config, table)
        driving = list(_explorations(config, table, structure))
        if not driving:
            raise ConfigError(
                f"explore, systems: no input drives {table.name}; name it in one of [[explore]], or"
                " remove the system"
            )
        for name, exploration in driving:
            several = bool(config.system) or len(config.explore) > 1
            subfolder, twin = name if several else "", first.get(table.name, "")
            systems.append(System(name, structure, exploration, subfolder, twin))
            first.setdefault(table.name, subfolder)
    if config.explore:
        _check_names(systems)
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
    return tuple(systems)


def _check_names(systems: Sequence[System]) -> None:
    """Refuse names of which the folders would be one, or would be taken."""
    known: dict[str, str] = {}
    for system in systems:
        name = system.name
        if name.lower() in known:
            raise ConfigError(
                f'system, explore: "{known[name.lower()]}" and "{name}" would have one'
                " folder; give names that differ, also where system and exploration are joined"
                " by a hyphen"
            )
        if system.subfolder and _TAKEN.fullmatch(name.lower()):
            raise ConfigError(
                f'system, explore: "{name}" is the name of another folder or file of a campaign;'
                " choose another"
            )
        known[name.lower()] = name


def _explorations(
    config: Config, table: SystemTable, structure: Atoms
) -> Iterator[tuple[str, Exploration]]:
    """Give what drives a system, each with the name under which it stands in the results."""
    if config.pull is not None:
        pull = config.pull.model_copy(update={"atoms": table.atoms})
        yield table.name, SpringPull(pull, config.timestep)
    for explore in config.explore:
        if explore.systems and table.name not in explore.systems:
            continue
        of_system = [table.name] if config.system or len(config.explore) == 1 else []
        of_input = [explore.title] if len(config.explore) > 1 else []
        yield (
            "-".join([*of_system, *of_input]),
            load_input(
                explore,
                table.groups,
                n_atoms=len(structure),
                min_distance=config.select.min_distance,
                timestep=config.timestep,
            ),
        )


def _load(config: Config, table: SystemTable) -> Atoms:
    structure = load_structure(config, table, periodic=bool(config.explore))
    try:
        return box_of(structure)
    except AlrareError as error:
        raise ConfigError(f"structure = '{table.structure}': {error}") from error
