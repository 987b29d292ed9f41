"""The training of one member as a task for a process: its input, and the files it writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .. import config
from ..errors import AlrareError
from ..files import atomic_path
from ..model.ensemble import Metadata, family_of, load_ensemble
from .curves import COLUMNS, EventWriter, open_events
from .dataset import Dataset, Split
from .families import Inputs
from .member import Epoch, Fit, fit_member
from .trainer import Errors, Validation


@dataclass(frozen=True)
class MemberTask:
    """Everything that the process of one member needs."""

    number: int
    """Of the member, from 0."""
    seed: int
    """Decides the initial weights and the order of the batches."""
    split: Split
    """Which configurations train this member."""
    inputs: Inputs
    """The configurations, in the order of `dataset`."""
    dataset: Dataset
    """The labels."""
    metadata: Metadata
    """Elements and networks of the model."""
    settings: config.Train
    """The `[train]` table."""
    folder: Path
    """Folder of the model."""
    start: Path | None
    """Earlier model whose weights the member starts from; None for random weights."""
    identity: str
    """Hash of everything that decides the weights."""
    is_second: bool = False
    """Whether a first attempt went astray."""

    @property
    def output(self) -> Path:
        """File of the finished member; its metadata entry holds `identity` and the metrics."""
        second = "_again" if self.is_second else ""
        return self.folder / f"member_{self.number}{second}.safetensors"

    def again(self) -> "MemberTask":
        """Return the task of a second attempt: other batches, and other random weights if any."""
        return replace(
            self, seed=self.seed + 500, identity=f"{self.identity}-again", is_second=True
        )

    @property
    def heartbeat(self) -> Path:
        """File with the errors of the last epoch, for the progress display."""
        return self.folder / f".member_{self.number}.epoch"

    def is_finished(self) -> bool:
        """Whether the output exists and was written by a task of the same identity."""
        try:
            with safe_open(self.output, framework="pt") as stream:
                return bool(stream.metadata()["identity"] == self.identity)
        except (OSError, SafetensorError, KeyError, TypeError):
            return False

    def result(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read the weights and the metrics of a finished member."""
        with safe_open(self.output, framework="pt") as stream:
            names: list[str] = list(stream.keys())
            weights = {name: stream.get_tensor(name) for name in names}
            return weights, json.loads(stream.metadata()["metrics"])


def run_task(task: MemberTask) -> None:
    """Fit one member and write its file; meant for a worker process."""
    torch.set_num_threads(1)
    events = None
    if task.settings.tensorboard:
        events = open_events(task.folder / "tensorboard" / task.output.stem)
    try:
        trainer = task.inputs.trainer(
            task.dataset,
            task.split,
            task.metadata,
            task.settings,
            task.seed,
            starting_weights(task.start, task.metadata, task.number),
        )
        fit = fit_member(
            trainer,
            split=task.split,
            settings=task.settings,
            seed=task.seed,
            report=lambda epoch: _report(task, epoch, events),
        )
    finally:
        if events is not None:
            events.close()
    entry = {"identity": task.identity, "metrics": json.dumps(_metrics(task, fit))}
    with atomic_path(task.output) as partial:
        partial.write_bytes(save(fit.weights, metadata=entry))


def starting_weights(
    start: Path | None, metadata: Metadata, number: int
) -> dict[str, Tensor] | None:
    """Return a member's weights of an earlier model, corrected for the change of the self energies.

    Parameters
    ----------
    start : Path or None
        ensemble.safetensors; None gives None.
    metadata : Metadata
        Of the model to be trained.
    number : int
        Of the member, from 0. If the earlier model has fewer members, they are used in turn.

    Raises
    ------
    AlrareError
        If the earlier model is of another family, or has other elements or networks.
    """
    if start is None:
        return None
    earlier = load_ensemble(start)
    before = earlier.metadata
    family = family_of(metadata)
    alike = {"family": metadata.family, "elements": metadata.elements, **family.shape_of(metadata)}
    theirs = {"family": before.family, "elements": before.elements, **family.shape_of(before)}
    for what, new in alike.items():
        old = theirs[what]
        if old != new:
            raise AlrareError(
                f"{start}: training cannot start from a model of other {what}: {old} there, {new}"
                " here; start from random weights"
            )
    row = number % before.members
    weights = {name: tensor[row].clone() for name, tensor in earlier.weights.items()}
    for k, constant in enumerate(family.constants(metadata, weights)):
        constant += before.self_energies[k] - metadata.self_energies[k]
    return weights


def _report(task: MemberTask, epoch: Epoch, events: EventWriter | None) -> None:
    values = dict(zip(COLUMNS, _point(epoch), strict=True))
    task.heartbeat.write_text(json.dumps({"epoch": epoch.number, **values}))
    if events is not None:
        for name, value in values.items():
            events.add_scalar(name, value, epoch.number)


def _point(epoch: Epoch) -> tuple[float, float, float, float]:
    """Return the values of `COLUMNS`."""
    rmse = epoch.validation_energy_mse**0.5
    return epoch.learning_rate, epoch.train_loss, rmse, epoch.validation_force_mae


def heartbeats(tasks: Sequence[MemberTask]) -> tuple[int, str]:
    """Return the number of epochs all tasks have done, and a text with their mean last errors."""
    last = []
    for task in tasks:
        try:
            last.append(json.loads(task.heartbeat.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    if not last:
        return 0, ""
    energy = sum(entry["validation_energy_rmse"] for entry in last) / len(last)
    force = sum(entry["validation_force_mae"] for entry in last) / len(last)
    of = f", mean of {len(last)} members" if len(last) > 1 else ""
    return (
        sum(entry["epoch"] for entry in last),
        f"validation: energy RMSE {1000 * energy:.1f} meV, force MAE {1000 * force:.0f} meV/Å{of}",
    )


def _validation(found: Validation) -> dict[str, float]:
    values = {
        "loss": found.loss,
        "energy_rmse": found.energy_rmse,
        "force_mae": found.force_mae,
    }
    return values if found.stress_mae is None else values | {"stress_mae": found.stress_mae}


def _metrics(task: MemberTask, fit: Fit) -> dict[str, object]:
    def named(errors: Errors) -> dict[str, float]:
        values = {"energy_mae": errors.energy, "force_mae": errors.force}
        return values if errors.stress is None else values | {"stress_mae": errors.stress}

    columns = zip(*(_point(epoch) for epoch in fit.curve), strict=True)
    return {
        "member": task.number,
        "seed": task.seed,
        "n_train": len(task.split.train),
        "n_validation": len(task.split.validation),
        "best_epoch": fit.best_epoch,
        "at_start": _validation(fit.at_start),
        "kept": _validation(fit.kept),
        "halvings": fit.halvings,
        "train": named(fit.train),
        "validation": named(fit.validation),
        "all": named(fit.everything),
        "cpu_seconds": fit.seconds,
        "curve": {name: list(values) for name, values in zip(COLUMNS, columns, strict=True)},
    }
