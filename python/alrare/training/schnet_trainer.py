r"""The training of a member of a SchNet ensemble, by automatic differentiation in torch.

The loss of energies and forces is eq. 4 of Jung et al. 2024,

.. math::
    L = \rho\, \frac1C \sum_c (E_c - E_c^{ref})^2
      + (1 - \rho)\, \frac1{3N} \sum_i |F_i - F_i^{ref}|^2

with C configurations of N atoms in all. The stress of cells is compared as in ANI's loss
(`gradients`), as strain derivatives W, which are energies, with the weight of the energies:

.. math::
    L_\sigma = \rho \gamma\, \frac1C \sum_{c} \frac19 \sum_{ab} (W_{c,ab} - V_c \sigma_{c,ab})^2
"""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from torch import Tensor

from .. import config
from ..config import Train
from ..frames import frame_key
from ..model.ensemble import Metadata, member_weights
from ..model.pairs import pairs_of
from ..model.schnet import SchNetShape, StackedSchNet
from ..progress import Progress
from .dataset import Dataset, Split
from .device import open_device
from .optimizer import Plateau, one_cycle
from .trainer import Compared, Integers, Prediction, Trainer, Validation

LOWEST_RATE = 1e-6
"""Recipe paper: training ends when the rate has fallen to this."""


class SchNetTraining:
    """How models of SchNet are trained; see `families.Training`."""

    def shape(self, model: config.Model, elements: Sequence[str]) -> dict[str, Any]:
        """Return the fields of `Metadata` that describe the networks."""
        shape = SchNetShape(model.features, model.gaussians, model.interactions, model.cutoff)
        return {"hidden": {}, "schnet": shape}

    def identity(self, metadata: Metadata) -> dict[str, Any]:
        """Return what decides the weights beside data and settings."""
        return {"schnet": None if metadata.schnet is None else asdict(metadata.schnet)}

    def prepare(
        self, frames: Sequence[Atoms], metadata: Metadata, folder: Path, progress: Progress
    ) -> "Geometries":
        """Take the atoms alone; their pairs are found by each worker, which takes no time."""
        del metadata, folder, progress
        bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in frames]
        return Geometries(tuple(bare), tuple(frame_key(atoms, "") for atoms in frames))


@dataclass(frozen=True)
class Geometries:
    """The configurations of a training; see `families.Inputs`."""

    frames: tuple[Atoms, ...]
    """In the order of the data set."""
    keys: tuple[str, ...]
    """Of these frames."""

    def trainer(
        self,
        dataset: Dataset,
        split: Split,
        metadata: Metadata,
        settings: Train,
        seed: int,
        start: Mapping[str, Tensor] | None,
    ) -> "SchNetTrainer":
        """Return a member before its first step."""
        return SchNetTrainer(self.frames, dataset, split, metadata, settings, seed, start)


@dataclass(frozen=True)
class PairBatch:
    """C configurations with N atoms and P pairs in all, on the device that trains."""

    species: Tensor
    """(N,) int64."""
    first: Tensor
    """(P,) int64."""
    second: Tensor
    """(P,) int64."""
    vec: Tensor
    """(P, 3) float32, Å: from the first to the second."""
    configuration: Tensor
    """(N,) int64: the configuration that each atom belongs to."""
    count: int
    """C."""


class SchNetTrainer(Trainer):
    """One member of SchNet while it is trained.

    Parameters
    ----------
    frames : sequence of Atoms
        The configurations, in the order of `dataset`.
    dataset : Dataset
    split : Split
    metadata : Metadata
        Elements and shape.
    settings : config.Train
    seed : int
        Decides the initial weights and the order of the batches.
    start : mapping of tensors, optional
        Weights to start from, named as in the model file; random ones unless given.

    Raises
    ------
    AlrareError
        If the device is not there.
    """

    def __init__(
        self,
        frames: Sequence[Atoms],
        dataset: Dataset,
        split: Split,
        metadata: Metadata,
        settings: Train,
        seed: int,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(dataset, split, settings, seed)
        if metadata.schnet is None or settings.energy_share is None:
            raise ValueError("expected metadata and settings of SchNet")
        self._device = open_device(settings.device)
        self._share = settings.energy_share
        _keep_freed_memory()
        self._n_elements = len(metadata.elements)
        cutoff = metadata.schnet.cutoff
        self._pairs = [pairs_of(atoms, metadata.elements, cutoff) for atoms in frames]
        weights = member_weights(metadata, seed) if start is None else start
        none = torch.zeros(self._n_elements, dtype=torch.float64)
        self._network = StackedSchNet(
            metadata.schnet, {name: tensor[None].clone() for name, tensor in weights.items()}, none
        ).to(self._device)
        self._joined: dict[tuple[int, ...], PairBatch] = {}
        self._parameters = list(self._network.parameters())
        self._flat = [parameter.detach()[0] for parameter in self._parameters]
        if start is not None:
            self._shift_energies()
        self._goal = None if start is None else self.snapshot()
        self._plateau = Plateau(settings.learning_rate, LOWEST_RATE)
        self._optimizer = self._make_optimizer()

    def _batch(self, rows: Sequence[int]) -> PairBatch:
        """Join some configurations, or return them as joined before."""
        key = tuple(rows)
        if key not in self._joined:
            self._joined[key] = self._join(rows)
        return self._joined[key]

    def _join(self, rows: Sequence[int]) -> PairBatch:
        species = [self._pairs[row][0] for row in rows]
        pairs = [self._pairs[row][1] for row in rows]
        sizes = np.array([len(one) for one in species])
        starts = np.cumsum(sizes) - sizes
        moved = [(p.first + s, p.second + s) for p, s in zip(pairs, starts, strict=True)]
        first, second = (np.concatenate(parts) for parts in zip(*moved, strict=True))
        vec = np.concatenate([one.vec for one in pairs]).astype(np.float32)
        owner = np.repeat(np.arange(len(rows)), sizes)
        return PairBatch(
            species=self._tensor(np.concatenate(species)),
            first=self._tensor(first),
            second=self._tensor(second),
            vec=self._tensor(vec),
            configuration=self._tensor(owner),
            count=len(rows),
        )

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _energies_of(self, rows: Sequence[int]) -> Tensor:
        parts = []
        with torch.no_grad():
            for part in self._batches(rows):
                batch = self._batch(part)
                parts.append(_sum_over(batch, self._atoms_of(batch, batch.vec)))
        return torch.cat(parts).cpu()

    def _atoms_of(self, batch: PairBatch, vec: Tensor) -> Tensor:
        """Return the energies (N,) of atoms, float64."""
        return self._network.of_pairs(vec, batch.first, batch.second, batch.species)[0]

    def _composition(self, rows: Sequence[int]) -> Integers:
        counts = [np.bincount(self._pairs[row][0], minlength=self._n_elements) for row in rows]
        return np.stack(counts)

    def _constants(self) -> list[Tensor]:
        return list(dict(self._network.named_parameters())["output.1.bias"].detach()[0])

    def _predict(self, rows: Sequence[int]) -> Prediction:
        parts = [self._predict_batch(part, self._has_stress(rows)) for part in self._batches(rows)]
        strains = [part.strain for part in parts if part.strain is not None]
        return Prediction(
            torch.cat([part.energies for part in parts]),
            torch.cat([part.forces for part in parts]),
            torch.cat(strains) if strains else None,
        )

    def _predict_batch(self, rows: Sequence[int], stress: bool) -> Prediction:
        found = self._differentiate(self._batch(rows), stress, for_weights=False)
        return Prediction(
            found.energies.detach().cpu(),
            found.forces.cpu(),
            None if found.strain is None else found.strain.cpu(),
        )

    def _differentiate(self, batch: PairBatch, stress: bool, for_weights: bool) -> Prediction:
        vec = batch.vec.detach().requires_grad_()
        energies = self._atoms_of(batch, vec)
        (gradient,) = torch.autograd.grad(energies.sum(), vec, create_graph=for_weights)
        forces = torch.zeros(len(batch.species), 3, dtype=vec.dtype, device=vec.device)
        forces = forces.index_add(0, batch.first, gradient)
        forces = forces.index_add(0, batch.second, gradient, alpha=-1.0)
        strain = None
        if stress:
            products = gradient.unsqueeze(2) * batch.vec.unsqueeze(1)
            strain = torch.zeros(batch.count, 3, 3, dtype=vec.dtype, device=vec.device)
            strain = strain.index_add(0, batch.configuration[batch.first], products)
        return Prediction(_sum_over(batch, energies), forces, strain)

    def _loss_gradient(self, number: int) -> tuple[float, list[Tensor]]:
        rows = self._train_batches[number]
        labels = self._labels(rows)
        with_stress = labels.strain is not None and self._settings.stress_weight > 0.0
        found = self._differentiate(self._batch(rows), with_stress, for_weights=True)
        squares = (found.energies - labels.energies.to(self._device)).square()
        strain = None
        if labels.strain is not None and found.strain is not None:
            where = labels.strain.rows.to(self._device)
            strain = found.strain[where] - labels.strain.derivatives.to(self._device)
        difference = found.forces - labels.forces.to(self._device)
        loss = self._combine(squares, difference, strain, len(rows))
        gradients = torch.autograd.grad(loss, self._parameters)
        return float(loss.detach()), [gradient[0].contiguous() for gradient in gradients]

    def _loss(self, squares: Tensor, n_atoms: Tensor, compared: Compared) -> Tensor:
        """Equation 4 and the term of the stress."""
        del n_atoms
        return self._combine(squares, compared.forces, compared.strain, len(compared.n_atoms))

    def _combine(
        self, squares: Tensor, forces: Tensor, strain: Tensor | None, count: int
    ) -> Tensor:
        loss = self._share * squares.mean() + (1.0 - self._share) * forces.square().mean()
        if strain is None:
            return loss
        per_cell = strain.square().mean((1, 2)).sum() / count
        return loss + self._share * self._settings.stress_weight * per_cell

    def _rate(self) -> float:
        if self._settings.recipe == "paper":
            return self._plateau.rate
        return one_cycle(self._step, self._steps, self._settings.learning_rate)

    def score(self, validation: Validation) -> float:
        """Return the loss."""
        return validation.loss

    @property
    def finished(self) -> bool:
        """Whether recipe paper has lowered its rate to the lowest."""
        return self._settings.recipe == "paper" and self._plateau.rate <= LOWEST_RATE

    def end_epoch(self, validation: Validation) -> None:
        """Lower the rate of recipe paper where the loss stays."""
        self._plateau.consider(validation.loss)

    def exported(self) -> dict[str, Tensor]:
        """Return the weights as the model file has them, without the leading axis."""
        named = self._network.named_parameters()
        return {name: tensor.detach()[0].cpu().clone() for name, tensor in named}


def _sum_over(batch: PairBatch, of_atoms: Tensor) -> Tensor:
    """Return the sums (C,) over configurations of a value of each atom."""
    total = torch.zeros(batch.count, dtype=of_atoms.dtype, device=of_atoms.device)
    return total.index_add(0, batch.configuration, of_atoms)


def _keep_freed_memory() -> None:
    """Let the C library keep memory that was freed, as the next step needs it again.

    By default glibc returns each large block to the system, which fills it with zeros for the next
    step: that takes a third of the time.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        set_option(m_mmap_threshold, 1 << 30)
        set_option(m_trim_threshold, 1 << 30)
