"""Fit one member of an ensemble: epochs, a safeguard, and the choice of the weights kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import Train
from ..errors import AlrareError
from .dataset import Split
from .trainer import Errors, Trainer, Validation, count_epochs

RUNAWAY = 10.0
"""An epoch whose mean loss is this many times the lowest before, or the first, is undone."""

HALVINGS = 8
"""How often a member's learning rate is halved at most."""

LATE = 0.25
"""Share of the epochs, the last ones, whose weights may be kept: before, the rate is still high."""


@dataclass(frozen=True)
class Epoch:
    """Loss and errors of one pass over the training data."""

    number: int
    """From 1."""
    learning_rate: float
    """At the end of the epoch."""
    train_loss: float
    """Mean over the pass of what is minimized."""
    validation_energy_mse: float
    """eV², over the whole validation set."""
    validation_force_mae: float
    """eV/Å, over at most `trainer.FORCE_ROWS` validation configurations."""


@dataclass(frozen=True)
class Fit:
    """A fitted member."""

    weights: dict[str, Tensor]
    """As in the model file, without the leading axis."""
    best_epoch: int
    """The epoch whose weights these are, from 1."""
    at_start: Validation
    """Before the first step."""
    kept: Validation
    """Of these weights."""
    halvings: int
    """How often an epoch was undone and the learning rate halved."""
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
    trainer: Trainer,
    *,
    split: Split,
    settings: Train,
    seed: int,
    report: Callable[[Epoch], None],
) -> Fit:
    """Train one member.

    An epoch whose loss runs away is undone; training goes on at half the learning rate from the
    weights with which the epoch of lowest loss began.

    Parameters
    ----------
    trainer : Trainer
        Of the family, before its first step; with the same seed it gives the same weights.
    split, settings, seed
        As it was made with.
    report : callable
        Called after each epoch.

    Raises
    ------
    AlrareError
        If the loss runs away at any learning rate that is tried.
    """
    at_start = trainer.validate()
    before = good = trainer.snapshot()
    kept = _Kept(settings, good, at_start, count_epochs(settings, len(split.train)))
    lowest, halvings = trainer.training_loss(), 0
    curve: list[Epoch] = []
    while len(curve) < kept.n_epochs and not trainer.finished:
        number = len(curve) + 1
        try:
            loss, rate = trainer.epoch()
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # of NaN
            loss, rate = np.nan, np.nan
        validation = trainer.validate()
        if not (loss < RUNAWAY * lowest and np.isfinite(loss + validation.loss)):
            if halvings == HALVINGS:
                raise AlrareError(
                    f"training diverged in epoch {number} (seed {seed}): the loss is {loss}, also"
                    f" at a {2**halvings}th of learning_rate = {settings.learning_rate:g} ([train])"
                )
            halvings += 1
            trainer.go_back(good)
            before = good
            continue
        if loss < lowest:  # its weights may be spoilt at its end, not those at its beginning
            lowest, good = loss, before
        before = trainer.snapshot()
        curve.append(Epoch(number, rate, loss, validation.energy_mse, validation.force_mae))
        kept.consider(number, validation, trainer)
        trainer.end_epoch(validation)
        report(curve[-1])
    trainer.restore(kept.weights)
    train, on_validation = trainer.errors(split.train), trainer.errors(split.validation)
    return Fit(
        weights=trainer.exported(),
        best_epoch=kept.epoch,
        at_start=at_start,
        kept=kept.validation,
        halvings=halvings,
        curve=curve,
        train=train.mean(),
        validation=on_validation.mean(),
        everything=(train + on_validation).mean(),
        seconds=time.process_time() - trainer.began,
    )


class _Kept:
    """The weights that are kept: those of the epoch of lowest `Trainer.score`.

    Recipe paper: of all epochs, as in the paper. Otherwise of the late ones.
    """

    def __init__(
        self, settings: Train, weights: list[Tensor], validation: Validation, n_epochs: int
    ) -> None:
        self.epoch, self.n_epochs = 0, n_epochs
        self.weights, self.validation = weights, validation
        self._from_first, self._lowest = settings.recipe == "paper", np.inf

    def consider(self, number: int, validation: Validation, trainer: Trainer) -> None:
        score = trainer.score(validation)
        may_be_kept = self._from_first or number > (1.0 - LATE) * self.n_epochs
        if may_be_kept and score < self._lowest:
            self.epoch, self._lowest = number, score
            self.weights, self.validation = trainer.snapshot(), validation
