"""The training of a member of an ANI ensemble, on cached descriptors by the native engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from .. import config
from ..config import Train
from ..model.aev import AEVConstants
from ..model.ensemble import Metadata, member_weights
from ..progress import Progress
from .dataset import Dataset, Split
from .descriptor_cache import AtomBatch, Batch, DescriptorCache
from .device import moved, open_device
from .gradients import Labels, open_gradient_engine
from .optimizer import one_cycle
from .trainer import Compared, Integers, Prediction, Trainer, Validation
from .whitening import Whitening, identity, whiten_elements

BATCH_MEMORY = 1 << 29
"""Bytes of joined batches that a member keeps from epoch to epoch: joining takes a seventh of the
time of a step. Other batches are joined again in every epoch; the weights are the same."""
_DESCRIPTOR = (
    "radial_cutoff", "angular_cutoff", "radial_shifts", "angular_shifts", "angle_sections",
)  # fmt: skip
"""Keys of `[model]` that choose the descriptor."""


class AniTraining:
    """How models of ANI are trained; see `families.Training`."""

    def shape(self, model: config.Model, elements: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `Metadata` that describe the networks."""
        return {
            "hidden": {e: tuple(model.hidden.get(e, model.hidden_default)) for e in elements},
            "aev": AEVConstants.of_resolution(
                **{name: getattr(model, name) for name in _DESCRIPTOR}
            ),
        }

    def identity(self, metadata: Metadata) -> dict[str, Any]:
        """Return what decides the weights beside data and settings."""
        return {"hidden": metadata.hidden, "aev": metadata.aev.to_dict()}

    def prepare(
        self, frames: Sequence[Atoms], metadata: Metadata, folder: Path, progress: Progress
    ) -> "CachedDescriptors":
        """Compute the descriptors that the cache in a folder lacks."""
        cache = DescriptorCache(folder, constants=metadata.aev, elements=metadata.elements)
        keys = cache.keys(frames)
        missing = sum(1 for key in set(keys) if key not in cache)
        if missing:
            with progress.stage("descriptors", total=missing) as stage:
                cache.add(frames, report=stage.advance)
        return CachedDescriptors(folder, tuple(keys))


@dataclass(frozen=True)
class CachedDescriptors:
    """The configurations of a training, by the descriptor cache; see `families.Inputs`."""

    folder: Path
    """Of the cache."""
    keys: tuple[str, ...]
    """In the order of the data set."""

    def trainer(
        self,
        dataset: Dataset,
        split: Split,
        metadata: Metadata,
        settings: Train,
        seed: int,
        start: Mapping[str, Tensor] | None,
    ) -> "AniTrainer":
        """Return a member before its first step."""
        cache = DescriptorCache(self.folder, constants=metadata.aev, elements=metadata.elements)
        return AniTrainer(cache, self.keys, dataset, split, metadata, settings, seed, start)


class AniTrainer(Trainer):
    """One member of ANI while it is trained.

    Parameters
    ----------
    cache : DescriptorCache
        Holds every key.
    keys : sequence of str
        Of the configurations, in the order of `dataset`.
    dataset : Dataset
    split : Split
    metadata : Metadata
        Elements and layer widths.
    settings : config.Train
    seed : int
        Decides the initial weights and the order of the batches.
    start : mapping of tensors, optional
        Weights for the raw AEV to start from, named as in the model file; random ones unless given.
    """

    def __init__(
        self,
        cache: DescriptorCache,
        keys: Sequence[str],
        dataset: Dataset,
        split: Split,
        metadata: Metadata,
        settings: Train,
        seed: int,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(dataset, split, settings, seed)
        self._cache, self._keys, self._metadata = cache, keys, metadata
        self._device = open_device(settings.device)
        self._engine = open_gradient_engine(self._device)
        self._validation = self._atoms_of(split.validation)
        self._compared_batch = self._batch_of(self._compared)
        self._kept: dict[int, tuple[Batch, Labels]] = {}
        self._room = BATCH_MEMORY
        self._whitening = self._make_whitening()
        self._parameters = self._initial(seed, start)
        self._whitening = [moved(white, self._device) for white in self._whitening]
        if start is not None:
            self._shift_energies()
        self._flat = [tensor for layers in self._parameters for layer in layers for tensor in layer]
        self._goal = None if start is None else self.snapshot()
        self._optimizer = self._make_optimizer()

    def _make_whitening(self) -> list[Whitening]:
        n_elements = len(self._metadata.elements)
        if self._settings.recipe == "paper":
            return [identity(self._metadata.aev.features(n_elements)) for _ in range(n_elements)]
        atoms = self._cache.atoms([self._keys[row] for row in self._split.train])
        return whiten_elements(atoms.aev, atoms.species, n_elements)

    def _atoms_of(self, rows: Sequence[int]) -> AtomBatch:
        return moved(self._cache.atoms([self._keys[row] for row in rows]), self._device)

    def _batch_of(self, rows: Sequence[int]) -> Batch:
        return moved(self._cache.batch([self._keys[row] for row in rows]), self._device)

    def _initial(
        self, seed: int, start: Mapping[str, Tensor] | None
    ) -> list[list[tuple[Tensor, Tensor]]]:
        weights = member_weights(self._metadata, seed) if start is None else start
        parameters = []
        for element, white in zip(self._metadata.elements, self._whitening, strict=True):
            layers = [
                (weights[f"{element}.{k}.weight"].clone(), weights[f"{element}.{k}.bias"].clone())
                for k in range(len(self._metadata.hidden[element]) + 1)
            ]
            if start is not None:
                layers[0] = white.unfold(*layers[0])
            parameters.append([(w.to(self._device), b.to(self._device)) for w, b in layers])
        return parameters

    def _atoms(self, rows: Sequence[int]) -> AtomBatch:
        if rows is self._split.validation:
            return self._validation
        return self._atoms_of(rows)

    def _energies_of(self, rows: Sequence[int]) -> Tensor:
        atoms = self._atoms(rows)
        return self._engine.energies(atoms, self._parameters, self._whitening).cpu()

    def _composition(self, rows: Sequence[int]) -> Integers:
        atoms = self._atoms(rows)
        composition = np.zeros((len(rows), len(self._parameters)), dtype=np.int64)
        np.add.at(composition, (atoms.configuration.cpu().numpy(), atoms.species.cpu().numpy()), 1)
        return composition

    def _constants(self) -> list[Tensor]:
        return [layers[-1][1] for layers in self._parameters]

    def _predict(self, rows: Sequence[int]) -> Prediction:
        batch = self._compared_batch
        if rows is not self._compared:
            batch = self._batch_of(rows)
        member = self._parameters, self._whitening
        predicted, forces = self._engine.predict(batch, *member)
        strain = None
        if self._has_stress(rows):
            strain = self._engine.strain_derivatives(batch, *member).cpu()
        return Prediction(predicted.cpu(), forces.cpu(), strain)

    def _loss_gradient(self, number: int) -> tuple[float, list[Tensor]]:
        batch, labels = self._joined(number)
        loss, gradients = self._engine.loss_gradient(
            batch,
            self._parameters,
            self._whitening,
            labels,
            self._settings.force_weight,
            self._settings.stress_weight,
        )
        return loss, [tensor for layers in gradients for layer in layers for tensor in layer]

    def _joined(self, number: int) -> tuple[Batch, Labels]:
        """Join a training batch, or return it as joined in an earlier epoch."""
        if number in self._kept:
            return self._kept[number]
        rows = self._train_batches[number]
        joined = self._batch_of(rows), moved(self._labels(rows), self._device)
        self._room -= joined[0].nbytes
        if self._room >= 0:
            self._kept[number] = joined
        return joined

    def _loss(self, squares: Tensor, n_atoms: Tensor, compared: Compared) -> Tensor:
        """Equation 3 and the term of the stress; see `gradients`."""
        of_atoms = torch.repeat_interleave(compared.n_atoms, compared.n_atoms.long())
        count = len(compared.n_atoms)
        weighted = (compared.forces.square().sum(1) / of_atoms).sum() / count
        loss = (squares / n_atoms.sqrt()).mean()
        loss = loss + self._settings.force_weight * weighted
        if compared.strain is not None and compared.n_strained is not None:
            of_cells = (compared.strain.square().mean((1, 2)) / compared.n_strained.sqrt()).sum()
            loss = loss + self._settings.stress_weight * of_cells / count
        return loss

    def _rate(self) -> float:
        return learning_rate(self._settings, self._step, self._steps)

    def score(self, validation: Validation) -> float:
        """Return the energy MSE with recipe paper, as there, otherwise the loss."""
        return validation.energy_mse if self._settings.recipe == "paper" else validation.loss

    def exported(self) -> dict[str, Tensor]:
        """Return weights for the raw AEV: the first layer includes whitening and center."""
        weights = {}
        for element, layers, white in zip(
            self._metadata.elements, self._parameters, self._whitening, strict=True
        ):
            raw = [white.fold(*layers[0]), *layers[1:]]
            for k, (weight, bias) in enumerate(raw):
                weights[f"{element}.{k}.weight"] = weight.cpu().clone()
                weights[f"{element}.{k}.bias"] = bias.cpu().clone()
        return weights


def learning_rate(settings: Train, step: int, steps: int) -> float:
    """Return the recipe's learning rate at a step (from 0) of `steps`."""
    if settings.recipe == "paper":
        return settings.learning_rate
    return one_cycle(step, steps, settings.learning_rate)
