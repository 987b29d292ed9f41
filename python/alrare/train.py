"""Train an ensemble: members in parallel processes, each finished one kept."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import config
from .dataset import Dataset, Split, dataset_hash, make_dataset
from .descriptors import DescriptorCache
from .ensemble import Ensemble, Metadata, stack_members
from .errors import AlrareError
from .member import Errors, Fit, fit_member
from .progress import Progress
from .state import atomic_path, write_json
from .tasks import worker_pool
from .torchscript import export_torchscript

TRAINING_VERSION = 1
"""Raised when the same settings would give other weights."""
_POLL = 0.5


@dataclass(frozen=True)
class _Task:
    """All that a member's process needs."""

    number: int
    seed: int
    split: Split
    keys: tuple[str, ...]
    dataset: Dataset
    metadata: Metadata
    settings: config.Train
    cache: Path
    folder: Path
    identity: str

    @property
    def output(self) -> Path:
        """The finished member; its metadata entry holds `identity` and the results."""
        return self.folder / f"member_{self.number}.safetensors"

    @property
    def heartbeat(self) -> Path:
        """Epoch and validation error, for the progress display."""
        return self.folder / f".member_{self.number}.epoch"


def train_ensemble(
    frames: Sequence[Atoms],
    *,
    model: config.Model,
    settings: config.Train,
    splits: Sequence[Split],
    seed: int,
    folder: Path,
    method: str,
    workers: int,
    progress: Progress,
    cache: Path | None = None,
) -> Path:
    """Train the members and write the ensemble; call again after a kill to go on.

    Members whose file is there, made from the same data, split, seed and settings, are kept. The
    same arguments give the same weights on the same machine.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled configurations of any sizes; at least 2.
    model : config.Model
    settings : config.Train
    splits : sequence of Split
        One per member, over the rows of `frames`.
    seed : int
        Member m is trained with seed ``1000 * seed + m``.
    folder : Path
        Gets `ensemble.safetensors`, `ensemble.pt`, `training.json` and the members.
    method : str
        Hash of the labels' method, for the metadata.
    workers : int
        Members at a time; 0 means one for each core.
    progress : Progress
    cache : Path, optional
        Folder of the descriptor cache; share it between iterations. ``folder/descriptors`` unless
        given.

    Returns
    -------
    Path
        `ensemble.safetensors`.

    Raises
    ------
    AlrareError
        If a frame has no usable label, or the splits do not fit the frames.
    """
    dataset = make_dataset(frames)
    _check_splits(splits, len(frames), model.members)
    metadata = Metadata(
        elements=dataset.elements,
        hidden={e: tuple(model.hidden.get(e, model.hidden_default)) for e in dataset.elements},
        self_energies=tuple(float(e) for e in dataset.self_energies),
        members=model.members,
        method=method,
        seeds=tuple(1000 * seed + m for m in range(model.members)),
    )
    cache = folder / "descriptors" if cache is None else cache
    keys = _fill_cache(cache, frames, metadata, progress)
    tasks = _tasks(dataset, keys, metadata, settings, splits, cache, folder)
    _train_members([task for task in tasks if not _finished(task)], settings, workers, progress)
    return _assemble(tasks, metadata, dataset_hash(keys, dataset))


def _check_splits(splits: Sequence[Split], n_frames: int, members: int) -> None:
    if len(splits) != members:
        raise AlrareError(f"expected one split for each of {members} members, got {len(splits)}")
    for number, split in enumerate(splits):
        if sorted((*split.train, *split.validation)) != list(range(n_frames)):
            raise AlrareError(
                f"split of member {number}: expected every one of {n_frames} configurations once,"
                f" got {len(split.train)} training and {len(split.validation)} validation rows"
            )
        if not split.train or not split.validation:
            raise AlrareError(
                f"split of member {number}: needs training and validation configurations, got"
                f" {len(split.train)} and {len(split.validation)}"
            )


def _fill_cache(
    folder: Path, frames: Sequence[Atoms], metadata: Metadata, progress: Progress
) -> tuple[str, ...]:
    cache = DescriptorCache(folder, constants=metadata.aev, elements=metadata.elements)
    keys = cache.keys(frames)
    missing = sum(1 for key in set(keys) if key not in cache)
    if missing:
        with progress.stage("descriptors", total=missing) as stage:
            cache.add(frames, report=stage.advance)
    return tuple(keys)


def _tasks(
    dataset: Dataset,
    keys: tuple[str, ...],
    metadata: Metadata,
    settings: config.Train,
    splits: Sequence[Split],
    cache: Path,
    folder: Path,
) -> list[_Task]:
    tasks = []
    for number, (split, seed) in enumerate(zip(splits, metadata.seeds, strict=True)):
        description = {
            "version": TRAINING_VERSION,
            "data": dataset_hash(keys, dataset),
            "split": split.to_dict(),
            "seed": seed,
            "hidden": metadata.hidden,
            "aev": metadata.aev.to_dict(),
            "settings": settings.model_dump(exclude={"split", "train_fraction"}),
        }
        identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        tasks.append(
            _Task(number, seed, split, keys, dataset, metadata, settings, cache, folder, identity)
        )
    return tasks


def _finished(task: _Task) -> bool:
    try:
        with safe_open(task.output, framework="pt") as stream:
            return bool(stream.metadata()["identity"] == task.identity)
    except (OSError, SafetensorError, KeyError, TypeError):
        return False


def _train_members(
    tasks: list[_Task], settings: config.Train, workers: int, progress: Progress
) -> None:
    if not tasks:
        return
    for task in tasks:
        task.heartbeat.unlink(missing_ok=True)
    total = len(tasks) * settings.epochs
    with progress.stage("training", total=total) as stage, worker_pool(workers) as pool:
        futures: list[Future[None]] = [pool.submit(_run, task) for task in tasks]
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
            stage.update(*_heartbeats(tasks))
            for future in futures:
                if future.done():
                    _result(future)
    for task in tasks:
        task.heartbeat.unlink(missing_ok=True)


def _result(future: Future[None]) -> None:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise AlrareError(
            "a training process was killed from outside (out of memory?); run the same command"
            " again, with fewer workers if it repeats ([run] workers): finished members are kept"
        ) from error


def _heartbeats(tasks: list[_Task]) -> tuple[int, str]:
    done, errors = 0, []
    for task in tasks:
        try:
            epoch, error = task.heartbeat.read_text().split()
        except (OSError, ValueError):
            continue
        done += int(epoch)
        errors.append(f"{1000 * float(error):.1f}")
    return done, f"validation RMSE {' '.join(errors)} meV" if errors else ""


def _run(task: _Task) -> None:
    """Fit one member in a process of its own and write its file."""
    torch.set_num_threads(1)
    cache = DescriptorCache(
        task.cache, constants=task.metadata.aev, elements=task.metadata.elements
    )
    fit = fit_member(
        cache=cache,
        keys=task.keys,
        dataset=task.dataset,
        split=task.split,
        metadata=task.metadata,
        settings=task.settings,
        seed=task.seed,
        report=lambda epoch, error: _beat(task.heartbeat, epoch, error),
    )
    with atomic_path(task.output) as partial:
        save_file(
            fit.weights,
            partial,
            metadata={"identity": task.identity, "metrics": json.dumps(_metrics(task, fit))},
        )


def _beat(path: Path, epoch: int, error: float) -> None:
    path.write_text(f"{epoch} {error}")


def _metrics(task: _Task, fit: Fit) -> dict[str, object]:
    def named(errors: Errors) -> dict[str, float]:
        return {"energy_mae": errors.energy, "force_mae": errors.force}

    return {
        "member": task.number,
        "seed": task.seed,
        "n_train": len(task.split.train),
        "n_validation": len(task.split.validation),
        "best_epoch": fit.best_epoch,
        "train": named(fit.train),
        "validation": named(fit.validation),
        "all": named(fit.everything),
        "cpu_seconds": fit.seconds,
        "curve": {
            "train_loss": [loss for loss, _ in fit.curve],
            "validation_energy_mse": [error for _, error in fit.curve],
        },
    }


def _assemble(tasks: list[_Task], metadata: Metadata, data: str) -> Path:
    weights, metrics = [], []
    for task in tasks:
        with safe_open(task.output, framework="pt") as stream:
            names: list[str] = list(stream.keys())
            weights.append({name: stream.get_tensor(name) for name in names})
            metrics.append(json.loads(stream.metadata()["metrics"]))
    best = int(np.argmin([entry["all"]["force_mae"] for entry in metrics]))
    final = replace(metadata, best_member=best, dataset=data)
    ensemble = Ensemble(final, stack_members(weights))
    folder = tasks[0].folder
    ensemble.save(folder / "ensemble.safetensors")
    export_torchscript(ensemble, folder / "ensemble.pt")
    write_json(folder / "training.json", {"best_member": best, "members": metrics})
    return folder / "ensemble.safetensors"
