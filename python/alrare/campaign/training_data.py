"""The training data of each iteration: the initial data, and the new labels added to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frames import label_of
from ..labelling.store import LabelStore
from ..selection.augment import noisy_copies
from ..training.dataset import Split, inherited_split, random_split
from ..training.thin import thinned_rows
from .context import Campaign, System
from .given_labels import given_labels
from .reference import Reference

REST_NOISE = 0.03
"""Å; the copies of `[initial] at_rest` have uniform noise of ± this on every coordinate."""
STRONGEST_BOND = 11.1
"""eV: the dissociation energy of CO. `max_energy = "auto"` is never below it."""


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


def first_data(campaign: Campaign, references: Mapping[str, Reference]) -> TrainingData:
    """Return the initial data, split for each member: labels at rest, MD frames, given labels.

    Parameters
    ----------
    campaign : Campaign
    references : mapping from str to Reference
        By the name of the system.
    """
    at_rest: list[str] = []
    others: list[str] = []
    for system in campaign.systems:
        reference = references[system.name]
        if campaign.config.initial.at_rest:
            at_rest.append(reference.structure_key)
            others += _copies_at_rest(campaign, system, reference)
        others += _of_md(campaign, system, reference)
    others += given_labels(campaign)
    keys = tuple(dict.fromkeys([*at_rest, *others]))
    rng = campaign.rng(0, "split")
    members = range(campaign.config.model.members)
    return TrainingData(keys, tuple(_random_split(campaign, len(keys), rng) for _ in members))


def _of_md(campaign: Campaign, system: System, reference: Reference) -> list[str]:
    """Return the keys of the MD frames that are kept."""
    keys, rule = list(reference.data_keys), campaign.config.initial.thin
    if rule == "none" or not keys:
        return keys
    with LabelStore(campaign.store_path) as store:
        frames = store.frames(keys)
    rows = thinned_rows(frames, rule=rule)
    of_system = f" of {system.name}" if system.subfolder else ""
    campaign.progress.message(
        f"initial data{of_system}: {len(rows)} of {len(frames)} frames are kept"
    )
    return [keys[row] for row in rows]


def _copies_at_rest(campaign: Campaign, system: System, reference: Reference) -> list[str]:
    """Label noisy copies of the relaxed structure; return the keys."""
    copies = noisy_copies(
        [reference.structure],
        copies=campaign.config.initial.at_rest,
        amplitude=REST_NOISE,
        rng=campaign.rng(0, f"at rest{system.twin or system.subfolder}"),
    )
    return campaign.label(system, copies, "at rest")


def grown_data(
    campaign: Campaign,
    data: TrainingData,
    new: Mapping[str, Sequence[str]],
    best_member: int,
    iteration: int,
    lowest: Mapping[str, float],
    reached: Mapping[str, float],
) -> TrainingData:
    """Return the data of the next iteration: those of this one and its new labels (paper, §2.3.6).

    Parameters
    ----------
    campaign : Campaign
    data : TrainingData
        Data of this iteration.
    new : mapping from str to sequence of str
        Keys of the labels made in this iteration, by the name of the system.
    best_member : int
        Best member of this iteration's ensemble; all members inherit its split.
    iteration : int
        Number of the next iteration.
    lowest : mapping from str to float
        Energy of each relaxed structure, eV; `[select] max_energy` is relative to it.
    reached : mapping from str to float
        Energy that the model's pulls of each system have reached so far until their events, eV
        above their start.
    """
    fit: list[str] = []
    left_out = 0
    max_force = _max_force(campaign, [*data.keys, *(key for keys in new.values() for key in keys)])
    for system in campaign.systems:
        limit = campaign.config.select.max_energy
        max_energy = max(STRONGEST_BOND, 2.0 * reached[system.name]) if limit == "auto" else limit
        labels = _labels(campaign, new[system.name])
        fitting = [
            key
            for key, (energy, force) in labels.items()
            if energy - lowest[system.name] <= max_energy and force <= max_force
        ]
        fit += fitting
        left_out += len(labels) - len(fitting)
        if len(fitting) < len(labels):
            of_system = f", {system.name}" if system.subfolder else ""
            campaign.progress.message(
                f"iteration {iteration}{of_system}: {len(labels) - len(fitting)} of {len(labels)}"
                f" new labels are not trained on: above max_energy = {max_energy:.3g} eV or"
                f" max_force = {max_force:.3g} eV/Å ([select]), as in a pull that blew up"
            )
    known = set(data.keys)
    keys = (*data.keys, *(key for key in dict.fromkeys(fit) if key not in known))
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
    # the relaxed structures, which come first, train every member
    different = sum(not system.twin for system in campaign.systems)
    fixed = different if campaign.config.initial.at_rest else 0
    return random_split(
        n, train_fraction=campaign.config.train.train_fraction, rng=rng, fixed=fixed
    )


def _max_force(campaign: Campaign, keys: Sequence[str]) -> float:
    """Return the largest force, eV/Å, of labels that are trained on."""
    limit = campaign.config.select.max_force
    if limit != "auto":
        return limit
    forces = [force for _, force in _labels(campaign, keys).values()]
    return 3.0 * float(np.quantile(forces, 0.75))


def _labels(campaign: Campaign, keys: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the energy, eV, and the largest force on an atom, eV/Å, of labels."""
    with LabelStore(campaign.store_path) as store:
        labels = [label_of(frame) for frame in store.frames(keys)]
    return {
        key: (energy, float(np.linalg.norm(forces, axis=1).max(initial=0.0)))
        for key, (energy, forces) in zip(keys, labels, strict=True)
    }
