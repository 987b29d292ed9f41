"""The training of one member step by step: batches, optimizer, learning rate and errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import Train
from ..model.ensemble import Metadata, member_weights
from .dataset import Dataset, Split, fit_shifts
from .descriptor_cache import Batch, DescriptorCache
from .gradients import Gradients, Labels, Layers, Strain, energies, open_gradient_engine
from .optimizer import Adam, Optimizer, Soap, one_cycle
from .whitening import Whitening, identity, whiten_elements

FORCE_ROWS = 64
"""Validation configurations, evenly drawn, whose forces are compared after each epoch."""

BATCH_MEMORY = 1 << 29
"""Bytes of joined batches that a member keeps from epoch to epoch: joining takes a seventh of the
time of a step. Other batches are joined again in every epoch; the weights are the same."""


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
    """Eq. 3 and the term of the stress; energies over all, forces and stress over these."""
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


class Trainer:
    """One member while it is trained.

    Parameters
    ----------
    cache, keys, dataset, split, metadata, settings, seed, start
        As of `member.fit_member`.
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
        self._cache, self._keys, self._split, self._settings = cache, keys, split, settings
        self._metadata = metadata
        self._engine = open_gradient_engine()
        self._rng = np.random.default_rng(seed)
        self._energies = torch.from_numpy(dataset.energies).float()
        self._forces = [torch.from_numpy(forces).float() for forces in dataset.forces]
        self._n_atoms = torch.from_numpy(dataset.n_atoms).float()
        self._strain = [
            None if strain is None else torch.from_numpy(strain).float()
            for strain in dataset.strain_derivatives
        ]
        self._volumes = torch.from_numpy(dataset.volumes)
        self._validation = cache.atoms([keys[row] for row in split.validation])
        self._compared = split.validation[:: -(-len(split.validation) // FORCE_ROWS)]
        self._compared_batch = cache.batch([keys[row] for row in self._compared])
        order = self._rng.permutation(np.array(split.train)).tolist()
        self._train_batches = self._batches(order)
        self._kept: dict[int, tuple[Batch, Labels]] = {}
        self._room = BATCH_MEMORY
        self._whitening = self._make_whitening()
        self._parameters = self._initial(seed, start)
        if start is not None:
            self._shift_energies()
        self._flat = [tensor for layers in self._parameters for layer in layers for tensor in layer]
        self._goal = None if start is None else self.snapshot()
        n_train = len(split.train)
        self._steps = count_epochs(settings, n_train) * -(-n_train // settings.batch_size)
        self._step = self._epoch_began_at = 0
        self._slower = 1.0
        self._optimizer = make_optimizer(settings, self._flat, self._goal)

    def _make_whitening(self) -> list[Whitening]:
        n_elements = len(self._metadata.elements)
        if self._settings.recipe == "paper":
            return [identity(self._metadata.aev.features(n_elements)) for _ in range(n_elements)]
        atoms = self._cache.atoms([self._keys[row] for row in self._split.train])
        return whiten_elements(atoms.aev, atoms.species, n_elements)

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
            parameters.append(layers)
        return parameters

    def _shift_energies(self) -> None:
        """Add to the last biases what separates the start's energies from those of the labels.

        Two methods count the energies of the atoms differently, by hundreds of eV. Left to
        training, the difference spoils the weights before the biases have taken it over.
        """
        rows = list(self._split.train)
        atoms = self._cache.atoms([self._keys[row] for row in rows])
        composition = np.zeros((len(rows), len(self._parameters)), dtype=np.int64)
        np.add.at(composition, (atoms.configuration.numpy(), atoms.species.numpy()), 1)
        missing = self._energies[rows] - energies(atoms, self._networks(), self._centers)
        shifts = fit_shifts(composition, missing.double().numpy())
        for layers, shift in zip(self._parameters, shifts, strict=True):
            layers[-1][1].add_(float(shift))

    def _networks(self) -> list[Layers]:
        """Return networks for the centered AEV: the whitening folded into the first layer."""
        return [
            [(white.fold(layers[0][0]), layers[0][1]), *layers[1:]]
            for layers, white in zip(self._parameters, self._whitening, strict=True)
        ]

    @property
    def _centers(self) -> list[Tensor]:
        return [white.center for white in self._whitening]

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
            flat = []
            for white, layers in zip(self._whitening, gradients, strict=True):
                for k, (weight, bias) in enumerate(layers):
                    flat += [weight @ white.transform if k == 0 else weight, bias]
            rate = self._slower * learning_rate(self._settings, self._step, self._steps)
            self._optimizer.step(flat, rate)
            self._step += 1
            total += loss * len(self._train_batches[number])
        return total / len(self._split.train), rate

    def training_loss(self) -> float:
        """Return the mean loss of the present weights on the training data."""
        total = 0.0
        for number, rows in enumerate(self._train_batches):
            total += self._loss_gradient(number)[0] * len(rows)
        return total / len(self._split.train)

    def _loss_gradient(self, number: int) -> tuple[float, Gradients]:
        """Return loss and gradient of a training batch."""
        batch, labels = self._joined(number)
        return self._engine.loss_gradient(
            batch,
            self._networks(),
            self._centers,
            labels,
            self._settings.force_weight,
            self._settings.stress_weight,
        )

    def _joined(self, number: int) -> tuple[Batch, Labels]:
        """Join a training batch, or return it as joined in an earlier epoch."""
        if number in self._kept:
            return self._kept[number]
        rows = self._train_batches[number]
        joined = self._cache.batch([self._keys[row] for row in rows]), self._labels(rows)
        self._room -= joined[0].nbytes
        if self._room >= 0:
            self._kept[number] = joined
        return joined

    def go_back(self, saved: Sequence[Tensor]) -> None:
        """Take up earlier weights, undo the last epoch's steps, and halve the learning rate."""
        self.restore(saved)
        self._step = self._epoch_began_at
        self._slower /= 2.0
        self._optimizer = make_optimizer(self._settings, self._flat, self._goal)

    def validate(self) -> Validation:
        """Compare the present weights with the validation data."""
        networks = self._networks()
        rows = torch.tensor(self._split.validation)
        predicted = energies(self._validation, networks, self._centers)
        squares = (predicted - self._energies[rows]).double().square()
        _, forces = self._engine.predict(self._compared_batch, networks, self._centers)
        labels = self._labels(self._compared)
        difference = (forces - labels.forces).double()
        of_atoms = torch.repeat_interleave(labels.n_atoms, labels.n_atoms.long())
        weighted = (difference.square().sum(1) / of_atoms).sum() / len(self._compared)
        loss = (squares / self._n_atoms[rows].sqrt()).mean()
        loss = loss + self._settings.force_weight * weighted
        stress_mae = None
        found = self._stress_errors(self._compared, self._compared_batch, labels)
        if found is not None:
            strain_error, stress_error, atoms = found
            of_cells = (strain_error.square().mean((1, 2)) / atoms.sqrt()).sum()
            loss = loss + self._settings.stress_weight * of_cells / len(self._compared)
            stress_mae = float(stress_error.abs().mean())
        return Validation(
            energy_mse=float(squares.mean()),
            force_mae=float(difference.abs().mean()),
            loss=float(loss),
            stress_mae=stress_mae,
        )

    def _stress_errors(
        self, rows: Sequence[int], batch: Batch, labels: Labels
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return errors of strain derivatives (K, 3, 3), eV, and stress, eV/Å³; atoms (K,).

        None where none of the configurations has a stress.
        """
        if labels.strain is None:
            return None
        where = labels.strain.rows
        predicted = self._engine.strain_derivatives(batch, self._networks(), self._centers)
        error = predicted[where].double() - labels.strain.derivatives
        volumes = self._volumes[torch.tensor(rows)[where]]
        return error, error / volumes.view(-1, 1, 1), labels.n_atoms[where]

    def errors(self, rows: Sequence[int]) -> Sums:
        """Sum the absolute errors over some configurations."""
        sums = Sums(0.0, 0, 0.0, 0)
        for part in self._batches(rows):
            batch = self._cache.batch([self._keys[row] for row in part])
            predicted, forces = self._engine.predict(batch, self._networks(), self._centers)
            labels = self._labels(part)
            energy = (predicted - labels.energies).abs().double().sum()
            difference = forces - labels.forces
            force = difference.abs().double().sum()
            sums += Sums(float(energy), len(part), float(force), difference.numel())
            found = self._stress_errors(part, batch, labels)
            if found is not None:
                stress = found[1]
                sums += Sums(0.0, 0, 0.0, 0, float(stress.abs().sum()), stress.numel())
        return sums

    def snapshot(self) -> list[Tensor]:
        """Copy the weights."""
        return [tensor.clone() for tensor in self._flat]

    def restore(self, saved: Sequence[Tensor]) -> None:
        """Set the weights to a snapshot, or to a mean of several."""
        for tensor, value in zip(self._flat, saved, strict=True):
            tensor.copy_(value)

    def exported(self) -> dict[str, Tensor]:
        """Return weights for the raw AEV: the first layer includes whitening and center."""
        weights = {}
        folded = zip(self._metadata.elements, self._networks(), self._centers, strict=True)
        for element, layers, center in folded:
            for k, (weight, bias) in enumerate(layers):
                shift = (weight.double() @ center.double()).float() if k == 0 else 0.0
                weights[f"{element}.{k}.weight"] = weight.clone()
                weights[f"{element}.{k}.bias"] = bias - shift
        return weights


def make_optimizer(
    settings: Train, parameters: list[Tensor], start: list[Tensor] | None = None
) -> Optimizer:
    """Return the recipe's optimizer.

    With recipe fast, weights of an earlier model decay toward that model, not toward zero.
    """
    if settings.recipe == "paper":
        return Adam(parameters, weight_decay=settings.weight_decay)
    if start is None:
        return Soap(parameters, weight_decay=settings.weight_decay)
    return Soap(parameters, weight_decay=START_DECAY * settings.weight_decay, toward=start)


def count_epochs(settings: Train, n_train: int) -> int:
    """Return the number of epochs: `epochs`, or as many as `min_steps` needs if that is more."""
    steps_of_one = -(-n_train // settings.batch_size)
    return max(settings.epochs, -(-settings.min_steps // steps_of_one))


def learning_rate(settings: Train, step: int, steps: int) -> float:
    """Return the recipe's learning rate at a step (from 0) of `steps`."""
    if settings.recipe == "paper":
        return settings.learning_rate
    return one_cycle(step, steps, settings.learning_rate)
