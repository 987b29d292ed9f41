"""The training data of each iteration: the initial data, and the new labels added to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frames import label_of
from ..labelling.store import LabelStore
from ..selection.augment import noisy_copies
from ..training.dataset import Split, inherited_split, random_split
from ..training.thin import thinned_rows
from .context import Campaign
from .reference import Reference

REST_NOISE = 0.03
"""Å; the copies of `[initial] at_rest` have uniform noise of ± this on every coordinate."""


@dataclass(frozen=True)
class TrainingData:
    """The labels that an iteration trains on, and their roles in each member."""

    keys: tuple[str, ...]
    """Keys of the labels, in the order in which they were added."""
    splits: tuple[Split, ...]
    """One split per member; its rows are positions in `keys`, from 0."""
    left_out: int = 0
    """Number of labels so far that are not trained on (`[select] max_energy`, `max_force`)."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of dataset.json."""
        return {"keys": self.keys, "splits": [split.to_dict() for split in self.splits]}


def first_data(campaign: Campaign, reference: Reference) -> TrainingData:
    """Return the initial data: MD frames (thinned) and labels at rest, split for each member."""
    initial, keys = campaign.config.initial, reference.data_keys
    if initial.thin != "none":
        with LabelStore(campaign.store_path) as store:
            frames = store.frames(keys)
        rows = thinned_rows(frames, rule=initial.thin)
        keys = tuple(keys[row] for row in rows)
        campaign.progress.message(f"initial data: {len(rows)} of {len(frames)} frames are kept")
    if initial.at_rest:
        copies = noisy_copies(
            [reference.structure],
            copies=initial.at_rest,
            amplitude=REST_NOISE,
            rng=campaign.rng(0, "at rest"),
        )
        keys = (reference.structure_key, *campaign.label(copies, "at rest"), *keys)
    rng = campaign.rng(0, "split")
    members = range(campaign.config.model.members)
    return TrainingData(keys, tuple(_random_split(campaign, len(keys), rng) for _ in members))


def grown_data(
    campaign: Campaign,
    data: TrainingData,
    new: Sequence[str],
    best_member: int,
    iteration: int,
    lowest: float,
) -> TrainingData:
    """Return the data of the next iteration: those of this one and its new labels (paper, §2.3.6).

    Parameters
    ----------
    campaign : Campaign
    data : TrainingData
        Data of this iteration.
    new : sequence of str
        Keys of the labels made in this iteration.
    best_member : int
        Best member of this iteration's ensemble; all members inherit its split.
    iteration : int
        Number of the next iteration.
    lowest : float
        Energy of the relaxed structure, eV; `[select] max_energy` is relative to it.
    """
    fit, left_out = _fit_to_train(campaign, new, iteration, lowest)
    keys = (*data.keys, *(key for key in fit if key not in set(data.keys)))
    train, rng = campaign.config.train, campaign.rng(iteration, "split")
    splits = []
    for _ in data.splits:
        if train.split == "random":
            split = _random_split(campaign, len(keys), rng)
        else:
            old, fraction = data.splits[best_member], train.train_fraction
            split = inherited_split(old, len(keys), train_fraction=fraction, rng=rng)
        splits.append(split)
    return TrainingData(keys, tuple(splits), data.left_out + left_out)


def _random_split(campaign: Campaign, n: int, rng: np.random.Generator) -> Split:
    fixed = min(campaign.config.initial.at_rest, 1)  # the relaxed structure trains every member
    return random_split(
        n, train_fraction=campaign.config.train.train_fraction, rng=rng, fixed=fixed
    )


def _fit_to_train(
    campaign: Campaign, new: Sequence[str], iteration: int, lowest: float
) -> tuple[list[str], int]:
    """Return the keys of labels within `max_energy` and `max_force`, and the number of others."""
    select = campaign.config.select
    with LabelStore(campaign.store_path) as store:
        labels = {key: label_of(frame) for key, frame in zip(new, store.frames(new), strict=True)}
    fit = [
        key
        for key, (energy, forces) in labels.items()
        if energy - lowest <= select.max_energy
        and np.linalg.norm(forces, axis=1).max(initial=0.0) <= select.max_force
    ]
    if len(fit) < len(labels):
        campaign.progress.message(
            f"iteration {iteration}: {len(labels) - len(fit)} of {len(labels)} new labels are"
            f" not trained on: above max_energy = {select.max_energy:g} eV or max_force ="
            f" {select.max_force:g} eV/Å ([select]), as in a pull that blew up"
        )
    return fit, len(labels) - len(fit)
