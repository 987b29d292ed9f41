"""The training of one member step by step: batches, optimizer, learning rate and errors.

What depends on the family of models is in `ani_trainer` and `schnet_trainer`.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..config import Train
from .dataset import Dataset, Split, fit_shifts
from .gradients import Labels, Strain
from .optimizer import Adam, Optimizer, SoapSettings, open_soap

Integers = npt.NDArray[np.int64]
FORCE_ROWS = 64
"""Validation configurations, evenly drawn, whose forces are compared after each epoch."""


START_DECAY = 15.0
"""Weights of an earlier model decay toward it this many times faster than others toward zero."""


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors over some configurations."""

    energy: float
    """Of the energy of a configuration, eV."""
    force: float
    """Of a force component, eV/Å."""
    stress: float | None = None
    """Of a component of the stress, eV/Å³; None if no configuration has one."""


@dataclass(frozen=True)
class Validation:
    """How well the present weights predict the validation data."""

    energy_mse: float
    """eV², over all of them."""
    force_mae: float
    """eV/Å, of the components of at most `FORCE_ROWS` of them."""
    loss: float
    """What is minimized, with the term of the stress; energies over all, forces and stress over
    these."""
    stress_mae: float | None = None
    """eV/Å³, of the components of these; None if none of them has a stress."""

    @property
    def energy_rmse(self) -> float:
        """Root of `energy_mse`, eV."""
        return math.sqrt(self.energy_mse)


@dataclass(frozen=True)
class Sums:
    """Sums of absolute errors, and the numbers of values in them."""

    energy: float
    energies: int
    force: float
    components: int
    stress: float = 0.0
    stress_components: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.energy + other.energy,
            self.energies + other.energies,
            self.force + other.force,
            self.components + other.components,
            self.stress + other.stress,
            self.stress_components + other.stress_components,
        )

    def mean(self) -> Errors:
        """Return the mean absolute errors."""
        return Errors(
            self.energy / self.energies,
            self.force / self.components,
            self.stress / self.stress_components if self.stress_components else None,
        )


@dataclass(frozen=True)
class Prediction:
    """What the present weights give for some configurations."""

    energies: Tensor
    """(C,), eV, without self energies."""
    forces: Tensor
    """(N, 3), eV/Å."""
    strain: Tensor | None
    """(C, 3, 3), eV: derivatives of the energies by the strain; None if there is no stress."""


@dataclass(frozen=True)
class Compared:
    """Differences of predictions from the labels of some configurations."""

    forces: Tensor
    """(N, 3) float64, eV/Å."""
    n_atoms: Tensor
    """(C,): atoms of each configuration."""
    strain: Tensor | None
    """(K, 3, 3) float64, eV: of strain derivatives, of those that have a stress."""
    stress: Tensor | None
    """(K, 3, 3) float64, eV/Å³."""
    n_strained: Tensor | None
    """(K,): atoms of these."""


class Trainer(ABC):
    """One member while it is trained.

    Parameters
    ----------
    dataset : Dataset
    split : Split
    settings : config.Train
    seed : int
        Decides the order of the batches.
    """

    _flat: list[Tensor]
    """The weights, changed in place; on the CPU or all on one other device."""
    _goal: list[Tensor] | None = None
    """Of a start, what the weights decay toward."""
    _optimizer: Optimizer

    def __init__(self, dataset: Dataset, split: Split, settings: Train, seed: int) -> None:
        self.began = time.process_time()
        self._split, self._settings = split, settings
        self._rng = np.random.default_rng(seed)
        self._energies = torch.from_numpy(dataset.energies).float()
        self._forces = [torch.from_numpy(forces).float() for forces in dataset.forces]
        self._n_atoms = torch.from_numpy(dataset.n_atoms).float()
        self._strain = [
            None if strain is None else torch.from_numpy(strain).float()
            for strain in dataset.strain_derivatives
        ]
        self._volumes = torch.from_numpy(dataset.volumes)
        self._compared = split.validation[:: -(-len(split.validation) // FORCE_ROWS)]
        order = self._rng.permutation(np.array(split.train)).tolist()
        self._train_batches = self._batches(order)
        n_train = len(split.train)
        self._steps = count_epochs(settings, n_train) * -(-n_train // settings.batch_size)
        self._step = self._epoch_began_at = 0
        self._slower = 1.0

    @abstractmethod
    def _loss_gradient(self, number: int) -> tuple[float, list[Tensor]]:
        """Return the loss of a training batch and its gradient, in the order of `_flat`."""

    @abstractmethod
    def _energies_of(self, rows: Sequence[int]) -> Tensor:
        """Return the energies (C,) of configurations, eV, without self energies."""

    @abstractmethod
    def _predict(self, rows: Sequence[int]) -> Prediction:
        """Return energies, forces and, where one has a stress (`_has_stress`), the strain's."""

    @abstractmethod
    def _composition(self, rows: Sequence[int]) -> Integers:
        """Return the number of atoms of each element in each configuration, (C, S)."""

    @abstractmethod
    def _constants(self) -> list[Tensor]:
        """Return by element the weights that are added to the energy of each of its atoms."""

    @abstractmethod
    def _loss(self, squares: Tensor, n_atoms: Tensor, compared: Compared) -> Tensor:
        """Return what is minimized.

        Parameters
        ----------
        squares : (C,) float64 tensor, eV²
            Of the errors of the energies.
        n_atoms : (C,) tensor
            Atoms of these configurations.
        compared : Compared
            Errors of the forces and the stress, of the same or other configurations.
        """

    @abstractmethod
    def _rate(self) -> float:
        """Return the recipe's learning rate of the next step."""

    @abstractmethod
    def score(self, validation: Validation) -> float:
        """Return what decides which epoch's weights are kept: that of the lowest."""

    @abstractmethod
    def exported(self) -> dict[str, Tensor]:
        """Return the weights as the model file has them, without the leading axis."""

    @property
    def finished(self) -> bool:
        """Whether training ends before its number of epochs."""
        return False

    def end_epoch(self, validation: Validation) -> None:
        """Take note of the errors after an epoch."""
        del validation

    def _shift_energies(self) -> None:
        """Add to the constants what separates the start's energies from those of the labels.

        Two methods count the energies of the atoms differently, by hundreds of eV. Left to
        training, the difference spoils the weights before the biases have taken it over.
        """
        rows = list(self._split.train)
        missing = self._energies[rows] - self._energies_of(rows)
        shifts = fit_shifts(self._composition(rows), missing.double().numpy())
        for constant, shift in zip(self._constants(), shifts, strict=True):
            constant.add_(float(shift))

    def _make_optimizer(self) -> Optimizer:
        return make_optimizer(self._settings, self._flat, self._goal)

    def _labels(self, rows: Sequence[int]) -> Labels:
        index = torch.tensor(rows)
        forces = torch.cat([self._forces[row] for row in rows])
        strain = self._strain_of(rows)
        return Labels(self._energies[index], forces, self._n_atoms[index], strain)

    def _strain_of(self, rows: Sequence[int]) -> Strain | None:
        found = [
            (k, strain) for k, row in enumerate(rows) if (strain := self._strain[row]) is not None
        ]
        if not found:
            return None
        numbers, tensors = zip(*found, strict=True)
        return Strain(torch.tensor(numbers), torch.stack(tensors))

    def _has_stress(self, rows: Sequence[int]) -> bool:
        return any(self._strain[row] is not None for row in rows)

    def _batches(self, rows: Sequence[int]) -> list[list[int]]:
        size = self._settings.batch_size
        return [list(rows[start : start + size]) for start in range(0, len(rows), size)]

    def epoch(self) -> tuple[float, float]:
        """Pass once over the training data; return the mean loss and the last learning rate.

        The batches are drawn once; each epoch takes them in a new order.
        """
        total, rate = 0.0, 0.0
        self._epoch_began_at = self._step
        for number in self._rng.permutation(len(self._train_batches)).tolist():
            loss, gradients = self._loss_gradient(number)
            rate = self._slower * self._rate()
            self._optimizer.step(gradients, rate)
            self._step += 1
            total += loss * len(self._train_batches[number])
        return total / len(self._split.train), rate

    def training_loss(self) -> float:
        """Return the mean loss of the present weights on the training data."""
        total = 0.0
        for number, rows in enumerate(self._train_batches):
            total += self._loss_gradient(number)[0] * len(rows)
        return total / len(self._split.train)

    def go_back(self, saved: Sequence[Tensor]) -> None:
        """Take up earlier weights, undo the last epoch's steps, and halve the learning rate."""
        self.restore(saved)
        self._step = self._epoch_began_at
        self._slower /= 2.0
        self._optimizer = self._make_optimizer()

    def validate(self) -> Validation:
        """Compare the present weights with the validation data."""
        rows = torch.tensor(self._split.validation)
        predicted = self._energies_of(self._split.validation)
        squares = (predicted - self._energies[rows]).double().square()
        found = self._compare(self._compared, self._predict(self._compared))
        loss = self._loss(squares, self._n_atoms[rows], found)
        return Validation(
            energy_mse=float(squares.mean()),
            force_mae=float(found.forces.abs().mean()),
            loss=float(loss),
            stress_mae=None if found.stress is None else float(found.stress.abs().mean()),
        )

    def _compare(self, rows: Sequence[int], predicted: Prediction) -> Compared:
        """Compare predictions of forces and stress with the labels."""
        labels = self._labels(rows)
        difference = predicted.forces - labels.forces
        if labels.strain is None or predicted.strain is None:
            return Compared(difference.double(), labels.n_atoms, None, None, None)
        where = labels.strain.rows
        error = predicted.strain[where].double() - labels.strain.derivatives
        volumes = self._volumes[torch.tensor(rows)[where]]
        return Compared(
            forces=difference.double(),
            n_atoms=labels.n_atoms,
            strain=error,
            stress=error / volumes.view(-1, 1, 1),
            n_strained=labels.n_atoms[where],
        )

    def errors(self, rows: Sequence[int]) -> Sums:
        """Sum the absolute errors over some configurations."""
        sums = Sums(0.0, 0, 0.0, 0)
        for part in self._batches(rows):
            predicted = self._predict(part)
            found = self._compare(part, predicted)
            energy = (predicted.energies - self._energies[torch.tensor(part)]).abs().double().sum()
            force = found.forces.abs().sum()
            sums += Sums(float(energy), len(part), float(force), found.forces.numel())
            if found.stress is not None:
                stress = float(found.stress.abs().sum())
                sums += Sums(0.0, 0, 0.0, 0, stress, found.stress.numel())
        return sums

    def snapshot(self) -> list[Tensor]:
        """Copy the weights."""
        return [tensor.clone() for tensor in self._flat]

    def restore(self, saved: Sequence[Tensor]) -> None:
        """Set the weights to a snapshot, or to a mean of several."""
        for tensor, value in zip(self._flat, saved, strict=True):
            tensor.copy_(value)


def count_epochs(settings: Train, n_train: int) -> int:
    """Return the number of epochs: `epochs`, or as many as `min_steps` needs if that is more."""
    steps_of_one = -(-n_train // settings.batch_size)
    return max(settings.epochs, -(-settings.min_steps // steps_of_one))


def make_optimizer(
    settings: Train, parameters: list[Tensor], start: list[Tensor] | None = None
) -> Optimizer:
    """Return the recipe's optimizer.

    With recipe fast, weights of an earlier model decay toward that model, not toward zero.
    """
    if settings.recipe == "paper":
        return Adam(parameters, weight_decay=settings.weight_decay)
    decay = settings.weight_decay if start is None else START_DECAY * settings.weight_decay
    return open_soap(parameters, SoapSettings(weight_decay=decay), start)
