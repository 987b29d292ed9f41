"""Train an ensemble: members in parallel processes; a finished member is kept on disk."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from .. import __version__, config
from ..errors import AlrareError, ModelError
from ..execution.executor import Workers
from ..files import PathLike, file_hash, locked, read_json, write_json
from ..frames import check_labels, common_method, require_frames
from ..model.ensemble import Ensemble, Metadata, load_ensemble, stack_members
from ..model.model_file import model_hash
from ..model.torchscript import export_torchscript
from ..model.trained_states import states_of
from ..progress import Progress, SilentProgress
from .curves import write_csv, write_figure
from .dataset import (
    Dataset,
    Split,
    dataset_hash,
    distinct_frames,
    make_dataset,
    random_split,
    split_off_isolated_atoms,
)
from .families import TRAININGS, Inputs, Training
from .member_task import MemberTask, starting_weights
from .members import train_members, worth_of_start
from .plausibility import check_plausible, magnitudes
from .stress import check_stress, on_stress, stress_result

TRAINING_VERSION = 8
"""Bump this when a change of the code alters the weights that equal settings give."""
_MODEL_FILES = ("ensemble.safetensors", "ensemble.pt")
_WITHOUT_EFFECT = {"split", "train_fraction", "tensorboard", "start", "device"}
"""Settings that change the weights only through the splits and starting weights, or by rounding."""


def train(
    frames: Sequence[Atoms],
    *,
    folder: PathLike,
    model: config.Model | None = None,
    settings: config.Train | None = None,
    seed: int = 1,
    workers: int = 0,
    progress: Progress | None = None,
    start: PathLike | None = None,
    any_units: bool = False,
) -> Path:
    """Train an ensemble on labelled configurations, each member with a random split of its own.

    This is `alrare train`. Called again after an interruption, it keeps the finished members.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled by one method. Repeated configurations are used once; frames of a single atom are
        not trained on but give the isolated-atom energies.
    folder : Path or str
        The model is written here; see `train_ensemble`.
    model, settings : config.Model, config.Train, optional
        Tables of al.toml; by default with their default values.
    seed : int
        Decides the splits and the initial weights.
    workers : int
        Members trained at a time; 0 means one per core.
    progress : Progress, optional
        By default nothing is shown.
    start : Path or str, optional
        ensemble.safetensors of an earlier model, of any method, whose weights the members start
        from.
    any_units : bool
        Do not refuse labels that look as if they were not in eV and Å (`check_plausible`).

    Returns
    -------
    Path
        `ensemble.safetensors`.

    Raises
    ------
    AlrareError
        If a frame has no usable label; if the labels cannot be in eV and Å, are of several methods
        or contradict each other; if the earlier model is of another family, or has other elements
        or networks.
    """
    require_frames(frames, "train")
    model = model or config.Model()
    settings = settings or config.Train.of_family(model.family)
    progress = progress or SilentProgress()
    check_labels(frames)
    many, isolated = split_off_isolated_atoms(frames)
    distinct = distinct_frames(many)
    if isolated:
        named = ", ".join(f"{element} {energy:.6g}" for element, energy in isolated.items())
        progress.message(f"energies of isolated atoms, eV: {named}")
    if distinct:
        check = magnitudes(distinct) if any_units else check_plausible(distinct, isolated=isolated)
        progress.message(f"{len(distinct)} configurations: {check.sentence()}")
        if settings.stress_weight > 0.0 and not any_units:
            check_stress(distinct)
    if len(distinct) < len(many):
        progress.message(
            f"{len(many) - len(distinct)} of {len(many)} frames repeat a configuration; each counts"
            " once"
        )
    rng, fraction = np.random.default_rng(seed), settings.train_fraction
    return train_ensemble(
        distinct,
        splits=[
            random_split(len(distinct), train_fraction=fraction, rng=rng)
            for _ in range(model.members)
        ],
        model=model,
        settings=settings,
        seed=seed,
        folder=Path(folder),
        method=common_method(frames),
        workers=workers,
        progress=progress,
        isolated=isolated or None,
        start=None if start is None else Path(start),
    )


def train_ensemble(
    frames: Sequence[Atoms],
    *,
    model: config.Model,
    settings: config.Train,
    splits: Sequence[Split],
    seed: int,
    folder: Path,
    method: str,
    workers: Workers,
    progress: Progress,
    cache: Path | None = None,
    isolated: Mapping[str, float] | None = None,
    start: Path | None = None,
) -> Path:
    """Train the members and write the ensemble.

    Members that are finished in the folder with the same data, split, seed and settings are not
    trained again. The same arguments give the same weights on the same machine.

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
        Receives the members, `ensemble.safetensors`, `ensemble.pt`, `curves.csv`, `curves.png` and,
        last, `training.json`.
    method : str
        Hash of the labels' method, for the metadata.
    workers : Workers
        Where members are trained.
    progress : Progress
    cache : Path, optional
        Folder of the descriptor cache of ANI, which several trainings may share; by default
        ``folder/descriptors``.
    isolated : mapping from element to eV, optional
        Energies of isolated atoms by the same method, for the self energies.
    start : Path, optional
        ensemble.safetensors of an earlier model whose weights the members start from; by default
        they start from random weights.

    Returns
    -------
    Path
        `ensemble.safetensors`.

    Raises
    ------
    AlrareError
        If a frame has no usable label, the splits do not fit the frames, the earlier model does not
        fit this one, or another process trains in the folder.
    """
    dataset = make_dataset(frames, isolated=isolated)
    if settings.stress_weight == 0.0:
        dataset = dataset.without_stress()
    _check_splits(splits, len(frames), model.members)
    _check_family(model, settings)
    training = TRAININGS[model.family]
    metadata = Metadata(
        elements=dataset.elements,
        self_energies=tuple(float(e) for e in dataset.self_energies),
        members=model.members,
        method=method,
        seeds=tuple(1000 * seed + m for m in range(model.members)),
        **training.shape(model, dataset.elements),
    )
    starting_weights(start, metadata, 0)  # refuses a model that does not fit, before any work
    with locked(folder):
        cache = folder / "descriptors" if cache is None else cache
        inputs = training.prepare(frames, metadata, cache, progress)
        metadata = replace(
            metadata,
            dataset=dataset_hash(inputs.keys, dataset),
            training=_provenance(frames, settings, splits, seed, isolated, start),
        )
        _tell_of_another(folder, metadata, progress)
        for text in on_stress(dataset, frames, settings.stress_weight):
            progress.message(text)
        tasks = _tasks(dataset, inputs, metadata, settings, splits, training, folder, start)
        chosen = train_members(tasks, settings, workers, progress)
        if dataset.has_stress:
            progress.message(stress_result(dataset, [task.result()[1] for task in chosen]))
        if start is not None:
            progress.message(worth_of_start(tasks, load_ensemble(start).metadata.method))
        return _assemble(chosen, metadata)


def _check_family(model: config.Model, settings: config.Train) -> None:
    if model.family != settings.family:
        raise AlrareError(
            f'settings: expected those of the family "{model.family}", as of the model, got those'
            f' of "{settings.family}"; make them by config.Train.of_family("{model.family}", ...)'
        )


def _provenance(
    frames: Sequence[Atoms],
    settings: config.Train,
    splits: Sequence[Split],
    seed: int,
    isolated: Mapping[str, float] | None,
    start: Path | None,
) -> dict[str, Any]:
    """Return everything but the data that is needed to train the same model again."""
    return {
        "version": TRAINING_VERSION,
        "settings": settings.model_dump(exclude={"tensorboard"}),
        "seed": seed,
        "n_frames": len(splits[0]),
        "states": states_of(frames),
        "validation_rows": [row_mask(split.validation) for split in splits],
        "isolated": dict(isolated or {}),
        "start": model_hash(start) if start else "",
        "torch": str(torch.__version__),
        "alrare": __version__,
    }


def _tell_of_another(folder: Path, metadata: Metadata, progress: Progress) -> None:
    """Say if the folder holds a finished model of other data or settings, which is replaced."""
    path = folder / _MODEL_FILES[0]
    try:
        old = load_ensemble(path).metadata
    except ModelError:  # there is none, or it is damaged and made anew
        return
    kept, wanted = (
        asdict(one) | {f"training.{key}": value for key, value in one.training.items()}
        for one in (old, metadata)
    )
    without = (  # what the result decides, and what is in the entries of training
        *("training", "best_member", "seeds"),
        *("training.torch", "training.alrare", "training.version"),
    )
    other = [key for key in wanted if key not in without and kept.get(key) != wanted[key]]
    if other:
        progress.message(f"{path}: was trained with other {', '.join(other)}, and is replaced")


def row_mask(rows: Sequence[int]) -> str:
    """Write a set of row numbers as a hexadecimal number: bit k stands for row k."""
    return f"{sum(1 << row for row in rows):x}"


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


def _tasks(
    dataset: Dataset,
    inputs: Inputs,
    metadata: Metadata,
    settings: config.Train,
    splits: Sequence[Split],
    training: Training,
    folder: Path,
    start: Path | None,
) -> list[MemberTask]:
    tasks = []
    without_effect = _WITHOUT_EFFECT if dataset.has_stress else _WITHOUT_EFFECT | {"stress_weight"}
    for number, (split, seed) in enumerate(zip(splits, metadata.seeds, strict=True)):
        description = {
            "version": TRAINING_VERSION,
            "data": metadata.dataset,
            "split": split.to_dict(),
            "seed": seed,
            "settings": settings.model_dump(exclude=without_effect),
            **training.identity(metadata),
            "start": metadata.training["start"],
        }
        identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        tasks.append(
            MemberTask(
                number=number,
                seed=seed,
                split=split,
                inputs=inputs,
                dataset=dataset,
                metadata=metadata,
                settings=settings,
                folder=folder,
                start=start,
                identity=identity,
            )
        )
    return tasks


def _assemble(tasks: list[MemberTask], metadata: Metadata) -> Path:
    folder = tasks[0].folder
    weights, metrics = zip(*(task.result() for task in tasks), strict=True)
    best = int(np.argmin([entry["all"]["force_mae"] for entry in metrics]))
    seeds = tuple(task.seed for task in tasks)
    metadata = replace(metadata, best_member=best, seeds=seeds)
    ensemble = Ensemble(metadata, stack_members(weights))
    ensemble.save(folder / "ensemble.safetensors")
    export_torchscript(ensemble, folder / "ensemble.pt")
    curves = [entry["curve"] for entry in metrics]
    write_csv(folder / "curves.csv", curves)
    write_figure(folder / "curves.png", curves, [entry["best_epoch"] for entry in metrics])
    content = {"best_member": best, "training": metadata.training, "members": metrics}
    content["files"] = {name: file_hash(folder / name) for name in _MODEL_FILES}
    write_json(folder / "training.json", content)
    return folder / "ensemble.safetensors"


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a finished training whose model files are as they were written.

    If it is not, `train_ensemble` makes them again from the members, which are files of their own.
    """
    if not (folder / "training.json").is_file():  # written last
        return False
    hashes = read_json(folder / "training.json").get("files", dict.fromkeys(_MODEL_FILES))
    return all(
        (folder / name).is_file() and known in (None, model_hash(folder / name))
        for name, known in hashes.items()
    )
