"""The campaign: reference, then train, simulate, evaluate, select, label, again and again.

Nothing here computes. Each stage reads files and writes files; this module decides the order,
draws the random seeds, and finds out from the run folder what is done already.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from .augment import noisy_copies
from .candidates import choose
from .config import Config
from .dataset import Split, inherited_split, random_split
from .ensemble import load_ensemble
from .errors import AlrareError, ConfigError
from .evaluate import evaluate
from .frames import read_frames, write_frames
from .label import label, require_labels
from .label_store import LabelStore
from .labellers import method_of
from .lammps_input import WORK_FILE
from .progress import Progress, with_log
from .reference import Reference, run_reference
from .report import iteration_record, iteration_table, read_results, write_plots, write_results
from .simulate import PullResult, model_file, simulate_pulls
from .state import read_json, write_json, write_text
from .structure import load_structure
from .tasks import worker_count
from .thin import thinned_rows
from .train import train_ensemble
from .work import activation_energy, mean_of, read_work

_MAY_CHANGE = ("iterations", "run.", "labeller.timeout", "labeller.engine", "labeller.max_failed")
"""Keys of al.toml that a campaign under way may change: they alter no finished result."""


def run_campaign(config: Config, *, config_path: Path, runs: Path, progress: Progress) -> Path:
    """Run a campaign to its end, or go on with one that was interrupted.

    Parameters
    ----------
    config : Config
        From `config_path`.
    config_path : Path
        al.toml, copied into the run folder.
    runs : Path
        The campaign's folder is ``runs / config.name``.
    progress : Progress
        Where to report; the same goes to log.txt in the run folder.

    Returns
    -------
    Path
        The run folder: results.json, plots, models, labels.

    Raises
    ------
    AlrareError
        With one sentence to act on; what is finished stays and is not repeated.
    """
    with _open_campaign(config, config_path=config_path, runs=runs, progress=progress) as campaign:
        reference = campaign.reference()
        data = campaign.first_data(reference.data_keys)
        for iteration in range(config.iterations + 1):
            data = campaign.iterate(iteration, data, reference)
        campaign.progress.message(
            f"{campaign.folder}: finished; results.json, work_curves.png and errors.png are there;"
            f" `alrare report {campaign.folder}` makes one page of them"
        )
        return campaign.folder


def run_reference_alone(
    config: Config, *, config_path: Path, runs: Path, progress: Progress
) -> Path:
    """Make only the reference of a campaign; see `run_campaign`."""
    with _open_campaign(config, config_path=config_path, runs=runs, progress=progress) as campaign:
        campaign.reference()
        return campaign.folder


@dataclass(frozen=True)
class TrainingData:
    """What one iteration trains on: rows of the label store, and their roles in each member."""

    keys: tuple[str, ...]
    """Labels, in the order in which they joined."""
    splits: tuple[Split, ...]
    """One a member; rows count the keys from 0."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of dataset.json."""
        return {"keys": self.keys, "splits": [split.to_dict() for split in self.splits]}


@dataclass(frozen=True)
class _Campaign:
    config: Config
    folder: Path
    structure: Atoms
    elements: tuple[str, ...]
    progress: Progress

    @property
    def store_path(self) -> Path:
        return self.folder / "labels" / "labels.sqlite"

    @property
    def workers(self) -> int:
        return worker_count(self.config.run.workers)

    def rng(self, iteration: int, purpose: str) -> np.random.Generator:
        """Return the source of one stage's random numbers: the same whenever that stage runs."""
        return np.random.default_rng([self.config.seed, iteration, *purpose.encode()])

    def reference(self) -> Reference:
        config = self.config
        reference = run_reference(
            structure=self.structure,
            elements=self.elements,
            labeller=config.labeller,
            initial=config.initial,
            pull=config.pull,
            timestep=config.timestep,
            folder=self.folder / "reference",
            store_path=self.store_path,
            workers=self.workers,
            progress=self.progress,
        )
        if not read_results(self.folder)["reference"]:
            pulls = [activation_energy(read_work(p / WORK_FILE)) for p in reference.pulls.values()]
            energy = mean_of(pulls)
            content = {
                "activation_energy": energy.mean,
                "activation_energy_sem": energy.sem,
                "n_pulls": energy.n,
                "seeds": list(reference.pulls),
                "values": list(energy.values),
            }
            write_results(self.folder, reference=content, iterations=[])
            spread = "" if energy.sem is None else f" ± {energy.sem:.3f}"
            self.progress.message(
                f"activation energy of the labeller: {energy.mean:.3f}{spread} eV"
                f" ({energy.n} pulls)"
            )
        return reference

    def first_data(self, keys: tuple[str, ...]) -> TrainingData:
        """Return the initial data, thinned and split at random for each member."""
        if self.config.initial.thin != "none":
            with LabelStore(self.store_path) as store:
                frames = store.frames(keys)
            rows = thinned_rows(frames, rule=self.config.initial.thin)
            keys = tuple(keys[row] for row in rows)
            self.progress.message(f"initial data: {len(rows)} of {len(frames)} frames are kept")
        fraction, rng = self.config.train.train_fraction, self.rng(0, "split")
        members = range(self.config.model.members)
        splits = [random_split(len(keys), train_fraction=fraction, rng=rng) for _ in members]
        return TrainingData(keys, tuple(splits))

    def grown_data(
        self, data: TrainingData, new: list[str], best_member: int, iteration: int
    ) -> TrainingData:
        """Return the data of an iteration: the previous one's and its new labels (§2.3.6)."""
        train = self.config.train
        keys = (*data.keys, *(key for key in new if key not in set(data.keys)))
        rng = self.rng(iteration, "split")
        splits = []
        for _ in data.splits:
            if train.split == "random":
                split = random_split(len(keys), train_fraction=train.train_fraction, rng=rng)
            else:
                split = inherited_split(
                    data.splits[best_member],
                    len(keys),
                    train_fraction=train.train_fraction,
                    rng=rng,
                )
            splits.append(split)
        return TrainingData(keys, tuple(splits))

    def iterate(self, iteration: int, data: TrainingData, reference: Reference) -> TrainingData:
        """Do one iteration, and return the data of the next."""
        folder = self.folder / f"iter_{iteration:03d}"
        if not (folder / "dataset.json").is_file():
            write_json(folder / "dataset.json", data.to_json())
        with _timed(folder, "train"):
            model = self._train(iteration, data, folder)
        with _timed(folder, "simulate"):
            pulls = self._simulate(folder, reference)
        last = iteration == self.config.iterations
        if not last:
            with _timed(folder, "label"):
                keys, n_chosen = self._label(iteration, folder, pulls)
        else:
            keys, n_chosen = [], 0
        if not (folder / "metrics.json").is_file():
            with _timed(folder, "evaluate"):
                self._evaluate(folder, reference, pulls)
        self._report(iteration, folder, data, pulls, n_chosen)
        if last:
            return data
        best_member = load_ensemble(model).metadata.best_member
        return self.grown_data(data, keys, best_member, iteration + 1)

    def _train(self, iteration: int, data: TrainingData, folder: Path) -> Path:
        if (folder / "training.json").is_file():  # written last
            return folder / "ensemble.safetensors"
        with LabelStore(self.store_path) as store:
            frames = store.frames(data.keys)
        warm = self.config.train.start == "previous" and iteration > 0
        previous = self.folder / f"iter_{iteration - 1:03d}" / "ensemble.safetensors"
        return train_ensemble(
            frames,
            splits=data.splits,
            model=self.config.model,
            settings=self.config.train,
            seed=int(self.rng(iteration, "weights").integers(2**31)),
            folder=folder,
            cache=self.folder / "descriptors",
            method=method_of(self.config.labeller, self.elements).hash,
            workers=self.workers,
            progress=self.progress,
            start=previous if warm else None,
        )

    def _simulate(self, folder: Path, reference: Reference) -> list[PullResult]:
        config = self.config
        return simulate_pulls(
            model=model_file(folder, self.config.run.device),
            structure=reference.structure,
            elements=self.elements,
            pull=config.pull,
            select=config.select,
            timestep=config.timestep,
            driver=config.driver,
            folder=folder,
            lmp=config.run.lmp,
            ranks=config.run.mpi_ranks,
            workers=self.workers,
            device=config.run.device,
            progress=self.progress,
        )

    def _label(
        self, iteration: int, folder: Path, pulls: list[PullResult]
    ) -> tuple[list[str], int]:
        """Return the keys of the iteration's labels and the number of candidates chosen."""
        record = folder / "labels.json"
        if not record.is_file():
            frames = self._select(iteration, folder, pulls)
            n_chosen = sum("copy_of" not in frame.info for frame in frames)
            content: dict[str, Any] = {"chosen": n_chosen, "keys": [], "failed": []}
            if frames:
                done = label(
                    frames,
                    labeller=self.config.labeller,
                    store_path=self.store_path,
                    folder=self.folder / "labels",
                    workers=self.workers,
                    progress=self.progress,
                    origin=f"iteration {iteration}",
                )
                require_labels(
                    done,
                    max_failed=self.config.labeller.max_failed,
                    folder=self.folder / "labels",
                )
                content["keys"] = list(done.keys)
                content["failed"] = [[failed.kind, failed.reason] for failed in done.failed]
                if done.failed:
                    self.progress.message(
                        f"iteration {iteration}: {len(done.failed)} of {len(frames)} labels failed,"
                        f" the first: {done.failed[0].reason}"
                    )
            else:
                self.progress.message(
                    f"iteration {iteration}: no configuration was selected; the next iteration"
                    " trains on the same data"
                )
            write_json(record, content)
        content = read_json(record)
        return content["keys"], content["chosen"]

    def _select(self, iteration: int, folder: Path, pulls: list[PullResult]) -> list[Atoms]:
        """Return what is to be labelled, from disk when it was decided already."""
        chosen_path = folder / "selected.extxyz"
        if chosen_path.is_file():
            return read_frames(chosen_path)
        select, augment = self.config.select, self.config.augment
        chosen = choose(
            [pull.candidates for pull in pulls],
            maximum=select.max_per_iteration,
            strategy=select.strategy,
        )
        copies = noisy_copies(
            chosen,
            copies=augment.copies,
            amplitude=augment.amplitude,
            rng=self.rng(iteration, "noise"),
        )
        if chosen:
            write_frames(chosen_path, [*chosen, *copies])
            return read_frames(chosen_path)
        return []

    def _evaluate(self, folder: Path, reference: Reference, pulls: list[PullResult]) -> None:
        with self.progress.stage(f"evaluate ({folder.name})", total=None):
            evaluation = evaluate(
                model=folder / "ensemble.safetensors",
                driver=self.config.driver,
                unseen=[
                    read_frames(path / "trajectory.extxyz") for path in reference.pulls.values()
                ],
                curves={pull.seed: pull.work for pull in pulls if pull.work is not None},
                reference={seed: path / WORK_FILE for seed, path in reference.pulls.items()},
            )
        write_json(folder / "metrics.json", evaluation.to_json())

    def _report(
        self,
        iteration: int,
        folder: Path,
        data: TrainingData,
        pulls: list[PullResult],
        n_chosen: int,
    ) -> None:
        """Put the iteration into results.json, the plots and the table, unless it is there."""
        results = read_results(self.folder)
        if len(results["iterations"]) > iteration:
            return
        record = iteration_record(
            iteration=iteration,
            n_labels=len(data.keys),
            evaluation=read_json(folder / "metrics.json"),
            selection=[pull.selection.to_json() for pull in pulls],
            n_chosen=n_chosen,
            seconds=read_json(folder / "seconds.json"),
        )
        results["iterations"].append(record)
        write_results(self.folder, reference=results["reference"], iterations=results["iterations"])
        write_plots(self.folder)
        self.progress.message(iteration_table(results))


@contextmanager
def _open_campaign(
    config: Config, *, config_path: Path, runs: Path, progress: Progress
) -> Iterator[_Campaign]:
    structure = load_structure(config)
    elements = tuple(
        sorted(set(structure.get_chemical_symbols()), key=lambda symbol: atomic_numbers[symbol])
    )
    folder = (runs / config.name).resolve()
    _write_config(config, config_path, folder)
    with _locked(folder), with_log(progress, folder / "log.txt") as logged:
        yield _Campaign(config, folder, structure, elements, logged)


def _write_config(config: Config, config_path: Path, folder: Path) -> None:
    """Keep the configuration with the run; refuse one that does not belong to it."""
    resolved = folder / "config.resolved.json"
    content = json.loads(config.model_dump_json())
    if resolved.is_file():
        changed = _changed(read_json(resolved), content)
        if changed:
            raise ConfigError(
                f"{config_path}: {', '.join(changed)} changed since {folder} was begun, and its"
                " results depend on that; give the campaign a new name, or undo the change"
            )
    write_text(folder / "config.toml", config_path.read_text())
    write_json(resolved, content)


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = _flat(old), _flat(new)
    return [
        key
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name the values of nested tables by dotted keys: `train.epochs`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one driver at a time work in a run folder; the lock ends with the process."""
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlrareError(
                f"{folder}: another alrare is at work on this campaign; wait for it, or end it"
            ) from error
        yield


@contextmanager
def _timed(folder: Path, stage: str) -> Iterator[None]:
    """Record the wall time of a stage, once: a stage found done takes no time."""
    path = folder / "seconds.json"
    begin = time.monotonic()
    yield
    seconds = read_json(path) if path.is_file() else {}
    if stage not in seconds:
        seconds[stage] = round(time.monotonic() - begin, 2)
        write_json(path, seconds)
