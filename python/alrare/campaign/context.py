"""What all stages of a running campaign share: configuration, run folder, progress display."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from ..config import Config
from ..electronic_state import state_of, with_state
from ..labelling.batch import label, require_labels
from ..labelling.method import method_of
from ..labelling.store import STORE_FILE
from ..processes import worker_count
from ..progress import Progress


@dataclass(frozen=True)
class Campaign:
    """A running campaign."""

    config: Config
    """al.toml."""
    folder: Path
    """The run folder."""
    structure: Atoms
    """The molecule as given, before the labeller relaxes it."""
    elements: tuple[str, ...]
    """Elements of the molecule by atomic number: the species of the model."""
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

    @property
    def workers(self) -> int:
        """Number of tasks that run at a time."""
        return worker_count(self.config.run.workers)

    def rng(self, iteration: int, purpose: str) -> np.random.Generator:
        """Return a stage's random generator, which depends on seed, iteration and purpose only."""
        return np.random.default_rng([self.config.seed, iteration, *purpose.encode()])

    def of_molecule(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Return copies of frames from LAMMPS that state the molecule's charge and multiplicity."""
        state = state_of(self.structure)
        return [with_state(frame, state) for frame in frames]

    def label(self, frames: Sequence[Atoms], origin: str) -> list[str]:
        """Label configurations; return the keys of the good labels.

        They are of the molecule, so they have its charge and multiplicity; LAMMPS keeps neither.

        Raises
        ------
        LabelError
            If a larger share than `[labeller] max_failed` fails.
        """
        if not frames:
            return []
        folder = self.store_path.parent
        done = label(
            self.of_molecule(frames),
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
