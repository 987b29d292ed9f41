"""How models of each family are trained: what is prepared, and the trainer of a member."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms
from torch import Tensor

from .. import config
from ..config import Train
from ..model.ensemble import Metadata
from ..progress import Progress
from .ani_trainer import AniTraining
from .dataset import Dataset, Split
from .schnet_trainer import SchNetTraining
from .trainer import Trainer


class Inputs(Protocol):
    """The configurations of a training, as a worker process gets them."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What the configurations are known by in the hash of the data, in order."""

    def trainer(
        self,
        dataset: Dataset,
        split: Split,
        metadata: Metadata,
        settings: Train,
        seed: int,
        start: Mapping[str, Tensor] | None,
    ) -> Trainer:
        """Return a member before its first step; `start`: weights of an earlier model."""


class Training(Protocol):
    """A family of models, seen from training."""

    def shape(self, model: config.Model, elements: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `Metadata` that describe the networks."""

    def identity(self, metadata: Metadata) -> dict[str, Any]:
        """Return what decides the weights beside data and settings."""

    def prepare(
        self, frames: Sequence[Atoms], metadata: Metadata, folder: Path, progress: Progress
    ) -> Inputs:
        """Prepare the configurations; `folder` keeps what several trainings may share."""


TRAININGS: Mapping[str, Training] = {"ani": AniTraining(), "schnet": SchNetTraining()}
"""By the names of `model.ensemble.FAMILIES`."""
