"""Fit one member of an ensemble: the recipes, and the best epoch's weights."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import Train
from ..errors import AlrareError
from ..model.ensemble import Metadata, member_weights
from .dataset import Dataset, Split
from .descriptor_cache import Batch, DescriptorCache
from .gradients import Labels, Layers, energies, open_gradient_engine
from .optimizer import Adam, Optimizer, Soap, one_cycle
from .whitening import Whitening, identity, whiten

FORCE_ROWS = 64
"""Validation configurations, evenly drawn, whose forces are compared after each epoch."""

BATCH_MEMORY = 1 << 29
"""Bytes of joined batches that a member keeps from epoch to epoch: joining takes a seventh of the
time of a step. Other batches are joined again in every epoch; the weights are the same."""


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors over some configurations."""

    energy: float
    """Of the energy of a configuration, eV."""
    force: float
    """Of a force component, eV/Å."""


@dataclass(frozen=True)
class Epoch:
    """Loss and errors of one pass over the training data."""

    number: int
    """From 1."""
    learning_rate: float
    """At the end of the epoch."""
    train_loss: float
    """Mean of eq. 3 over the pass."""
    validation_energy_mse: float
    """eV², over the whole validation set; the weights of the epoch with the lowest are kept."""
    validation_force_mae: float
    """eV/Å, over at most `FORCE_ROWS` validation configurations."""


@dataclass(frozen=True)
class Fit:
    """A fitted member."""

    weights: dict[str, Tensor]
    """"{element}.{layer}.weight" (out, in) and ".bias" (out,), for the raw AEV."""
    best_epoch: int
    """The epoch whose weights these are, from 1."""
    curve: list[Epoch]
    """Every epoch, in order."""
    train: Errors
    """On the training configurations."""
    validation: Errors
    """On the validation configurations."""
    everything: Errors
    """On both."""
    seconds: float
    """CPU time."""


def fit_member(
    *,
    cache: DescriptorCache,
    keys: Sequence[str],
    dataset: Dataset,
    split: Split,
    metadata: Metadata,
    settings: Train,
    seed: int,
    report: Callable[[Epoch], None],
    start: Mapping[str, Tensor] | None = None,
) -> Fit:
    """Train one member.

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
        Decides the initial weights and the order of the batches; the same seed gives the same
        weights.
    report : callable
        Called after each epoch.
    start : mapping of tensors, optional
        Weights for the raw AEV to start from, named as in `Fit`; random ones unless given.

    Raises
    ------
    AlrareError
        If the loss is no longer finite.
    """
    begin = time.process_time()
    trainer = _Trainer(cache, keys, dataset, split, metadata, settings, seed, start)
    curve: list[Epoch] = []
    best, best_epoch, best_weights = np.inf, 0, trainer.snapshot()
    for number in range(1, count_epochs(settings, len(split.train)) + 1):
        try:
            loss, rate = trainer.epoch()
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of NaN
            loss, rate = np.nan, np.nan
        energy_mse, force_mae = trainer.validate()
        if not np.isfinite(loss + energy_mse):
            raise AlrareError(
                f"training diverged in epoch {number} (seed {seed}): the loss is {loss}; lower"
                f" learning_rate = {settings.learning_rate} ([train])"
            )
        curve.append(Epoch(number, rate, loss, energy_mse, force_mae))
        if energy_mse < best:
            best, best_epoch, best_weights = energy_mse, number, trainer.snapshot()
        report(curve[-1])
    trainer.restore(best_weights)
    train, validation = trainer.errors(split.train), trainer.errors(split.validation)
    return Fit(
        weights=trainer.exported(),
        best_epoch=best_epoch,
        curve=curve,
        train=train.mean(),
        validation=validation.mean(),
        everything=(train + validation).mean(),
        seconds=time.process_time() - begin,
    )


@dataclass(frozen=True)
class _Sums:
    """Sums of absolute errors, and the numbers of energies and force components in them."""

    energy: float
    energies: int
    force: float
    components: int

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.energy + other.energy,
            self.energies + other.energies,
            self.force + other.force,
            self.components + other.components,
        )

    def mean(self) -> Errors:
        return Errors(self.energy / self.energies, self.force / self.components)


class _Trainer:
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
        self._validation = cache.atoms([keys[row] for row in split.validation])
        self._compared = split.validation[:: -(-len(split.validation) // FORCE_ROWS)]
        self._compared_batch = cache.batch([keys[row] for row in self._compared])
        order = self._rng.permutation(np.array(split.train)).tolist()
        self._train_batches = self._batches(order)
        self._kept: dict[int, tuple[Batch, Labels]] = {}
        self._room = BATCH_MEMORY
        self._whitening = self._make_whitening()
        self._parameters = self._initial(seed, start)
        self._flat = [tensor for layers in self._parameters for layer in layers for tensor in layer]
        n_train = len(split.train)
        self._steps = count_epochs(settings, n_train) * -(-n_train // settings.batch_size)
        self._step = 0
        self._optimizer = make_optimizer(settings, self._flat)

    def _make_whitening(self) -> list[Whitening]:
        elements = range(len(self._metadata.elements))
        if self._settings.recipe == "paper":
            n_features = self._metadata.aev.features(len(elements))
            return [identity(n_features) for _ in elements]
        atoms = self._cache.atoms([self._keys[row] for row in self._split.train])
        return [whiten(atoms.aev[atoms.species == k]) for k in elements]

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
        return Labels(self._energies[index], forces, self._n_atoms[index])

    def _batches(self, rows: Sequence[int]) -> list[list[int]]:
        size = self._settings.batch_size
        return [list(rows[start : start + size]) for start in range(0, len(rows), size)]

    def epoch(self) -> tuple[float, float]:
        """Pass once over the training data; return the mean loss and the last learning rate.

        The batches are drawn once; each epoch takes them in a new order.
        """
        total, rate = 0.0, 0.0
        for number in self._rng.permutation(len(self._train_batches)).tolist():
            batch, labels = self._joined(number)
            loss, gradients = self._engine.loss_gradient(
                batch, self._networks(), self._centers, labels, self._settings.force_weight
            )
            flat = []
            for white, layers in zip(self._whitening, gradients, strict=True):
                for k, (weight, bias) in enumerate(layers):
                    flat += [weight @ white.transform if k == 0 else weight, bias]
            rate = learning_rate(self._settings, self._step, self._steps)
            self._optimizer.step(flat, rate)
            self._step += 1
            total += loss * len(labels.energies)
        return total / len(self._split.train), rate

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

    def validate(self) -> tuple[float, float]:
        """Return the MSE of all validation energies (eV²) and the force MAE of some (eV/Å)."""
        networks = self._networks()
        predicted = energies(self._validation, networks, self._centers)
        reference = self._energies[torch.tensor(self._split.validation)]
        _, forces = self._engine.predict(self._compared_batch, networks, self._centers)
        difference = forces - self._labels(self._compared).forces
        mse = (predicted - reference).double().square().mean()
        return float(mse), float(difference.abs().double().mean())

    def errors(self, rows: Sequence[int]) -> _Sums:
        """Sum the absolute errors over some configurations."""
        sums = _Sums(0.0, 0, 0.0, 0)
        for part in self._batches(rows):
            batch = self._cache.batch([self._keys[row] for row in part])
            predicted, forces = self._engine.predict(batch, self._networks(), self._centers)
            labels = self._labels(part)
            energy = (predicted - labels.energies).abs().double().sum()
            difference = forces - labels.forces
            force = difference.abs().double().sum()
            sums += _Sums(float(energy), len(part), float(force), difference.numel())
        return sums

    def snapshot(self) -> list[Tensor]:
        """Copy the weights."""
        return [tensor.clone() for tensor in self._flat]

    def restore(self, saved: list[Tensor]) -> None:
        """Set the weights to a snapshot."""
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


def make_optimizer(settings: Train, parameters: list[Tensor]) -> Optimizer:
    """Return the recipe's optimizer."""
    if settings.recipe == "paper":
        return Adam(parameters)
    return Soap(parameters)


def count_epochs(settings: Train, n_train: int) -> int:
    """Return the number of epochs: `epochs`, or as many as `min_steps` needs if that is more."""
    steps_of_one = -(-n_train // settings.batch_size)
    return max(settings.epochs, -(-settings.min_steps // steps_of_one))


def learning_rate(settings: Train, step: int, steps: int) -> float:
    """Return the recipe's learning rate at a step (from 0) of `steps`."""
    if settings.recipe == "paper":
        return settings.learning_rate
    return one_cycle(step, steps, settings.learning_rate)
