"""The campaign: reference, then train, simulate, evaluate, select, label, again and again.

Nothing here computes. Each stage reads files and writes files; this module decides the order,
draws the random seeds, and finds out from the run folder what is done already.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from .convergence import changes, is_settled
from .dataset import Split, inherited_split, random_split
from .ensemble import load_ensemble
from .evaluate import evaluate
from .frames import frame_key, read_frames, write_frames
from .label import label, require_labels
from .label_store import LabelStore
from .labeller_md import TRAJECTORY_FILE
from .labellers import method_of
from .lammps_input import WORK_FILE
from .observables import Observables, observe, read_path
from .path_check import PathErrors, path_errors, path_frames
from .progress import Progress, with_log
from .reference import Reference, run_reference
from .report import (
    convergence_line,
    iteration_record,
    iteration_table,
    read_results,
    write_plots,
    write_results,
)
from .run_folder import locked, timed, write_config
from .simulate import PullResult, model_file, simulate_pulls
from .state import read_json, write_json
from .structure import load_structure
from .tasks import worker_count
from .thin import thinned_rows
from .train import train_ensemble
from .work import activation_energy, mean_of, read_work


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
        history: list[dict[int, float]] = []
        for iteration in range(config.iterations + 1):
            step = campaign.iterate(iteration, data, reference, history)
            data, history = step.data, [*history, step.activation_energies]
            if step.converged:
                break
        campaign.progress.message(
            f"{campaign.folder}: finished, {_outcome(step.converged, config)}; results.json,"
            " work_curves.png and errors.png are there;"
            f" `alrare report {campaign.folder}` makes one page of them"
        )
        return campaign.folder


def _outcome(converged: bool, config: Config) -> str:
    if converged:
        return "converged"
    if config.stop.iterations == 0:
        return f"{config.iterations} iterations done"
    return (
        f"NOT converged in {config.iterations} iterations (`iterations` may be raised in al.toml;"
        " the same command then goes on)"
    )


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
class _Step:
    """What one iteration leaves to the next."""

    data: TrainingData
    activation_energies: dict[int, float]
    """Of the model's pulls, by seed, eV."""
    converged: bool


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
            known=None if config.reference is None else config.reference / "reference",
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

    def iterate(
        self,
        iteration: int,
        data: TrainingData,
        reference: Reference,
        history: Sequence[Mapping[int, float]],
    ) -> _Step:
        """Do one iteration, and return the data of the next."""
        folder = self.folder / f"iter_{iteration:03d}"
        last = iteration == self.config.iterations
        if not (folder / "dataset.json").is_file():
            write_json(folder / "dataset.json", data.to_json())
        with timed(folder, "train"):
            model = self._train(iteration, data, folder)
        with timed(folder, "simulate"):
            pulls = self._simulate(folder, reference)
        with timed(folder, "observe"):
            paths = {pull.seed: read_path(pull.path) for pull in pulls if pull.work is not None}
            seen = _observe({p.seed: p.work for p in pulls if p.work is not None}, paths)
        energies = {seed: pull.activation_energy for seed, pull in seen.items()}
        stop = self.config.stop
        settled = all(pull.finished for pull in pulls) and is_settled(
            [*history, energies], tolerance=stop.tolerance, iterations=stop.iterations
        )
        check, checked = None, list[str]()
        if stop.iterations and (settled or last):
            with timed(folder, "check"):
                check, checked = self._check_path(iteration, folder, model, paths, seen)
        converged = (
            settled
            and check is not None
            and check.is_below(energy=stop.energy_error, force=stop.force_error)
        )
        chosen, copies = list[str](), list[str]()
        if not (last or converged):
            with timed(folder, "label"):
                chosen, copies = self._label(iteration, folder, pulls, seen)
        if not (folder / "metrics.json").is_file():
            with timed(folder, "evaluate"):
                self._evaluate(folder, model, reference, seen, chosen)
        change = (changes([*history, energies]) or [None])[-1]
        convergence = {
            "change": None if change is None else change.to_json(),
            "settled": settled,
            "path_check": None if check is None else check.to_json(),
            "converged": converged,
        }
        self._report(iteration, folder, data, pulls, len(chosen), convergence)
        if last or converged:
            return _Step(data, energies, converged)
        best_member = load_ensemble(model).metadata.best_member
        new = [*chosen, *copies, *checked]
        return _Step(self.grown_data(data, new, best_member, iteration + 1), energies, converged)

    def _check_path(
        self,
        iteration: int,
        folder: Path,
        model: Path,
        paths: Mapping[int, Sequence[Atoms]],
        seen: Mapping[int, Observables],
    ) -> tuple[PathErrors, list[str]]:
        """Label frames of the model's own path around the break; return errors and label keys."""
        stop, record = self.config.stop, folder / "path_check.json"
        if not record.is_file():
            frames = path_frames(
                [paths[seed] for seed in sorted(paths)],
                [seen[seed].peak_step for seed in sorted(paths)],
                n_frames=stop.frames,
                before=stop.before,
                after=stop.after,
            )
            keys = self._label_frames(frames, f"path check {iteration}")
            with LabelStore(self.store_path) as store:
                labels = store.frames(keys)
            method = method_of(self.config.labeller, self.elements).hash
            pulls = {frame_key(frame, method): frame.info["pull"] for frame in frames}
            for key, frame in zip(keys, labels, strict=True):
                frame.info["pull"] = pulls[key]
            errors = path_errors(model, labels, driver=self.config.driver)
            write_json(record, {"keys": keys, **errors.to_json()})
        content = read_json(record)
        keys = content.pop("keys")
        return PathErrors(**content), keys

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
        self,
        iteration: int,
        folder: Path,
        pulls: Sequence[PullResult],
        seen: Mapping[int, Observables],
    ) -> tuple[list[str], list[str]]:
        """Return the keys of the iteration's new labels: of what was chosen, of noisy copies."""
        record = folder / "labels.json"
        if not record.is_file():
            frames = self._select(iteration, folder, pulls, seen)
            keys = self._label_frames(frames, f"iteration {iteration}")
            if not frames:
                self.progress.message(
                    f"iteration {iteration}: no configuration was selected; the next iteration"
                    " trains on the same data"
                )
            method = method_of(self.config.labeller, self.elements).hash
            of_copies = {frame_key(f, method) for f in frames if "copy_of" in f.info}
            content = {
                "chosen": [key for key in keys if key not in of_copies],
                "copies": [key for key in keys if key in of_copies],
            }
            write_json(record, content)
        content = read_json(record)
        return content["chosen"], content["copies"]

    def _label_frames(self, frames: Sequence[Atoms], origin: str) -> list[str]:
        """Label what an iteration asks for; return the keys of the good labels."""
        if not frames:
            return []
        folder = self.folder / "labels"
        done = label(
            frames,
            labeller=self.config.labeller,
            store_path=self.store_path,
            folder=folder,
            workers=self.workers,
            progress=self.progress,
            origin=origin,
        )
        require_labels(done, max_failed=self.config.labeller.max_failed, folder=folder)
        if done.failed:
            self.progress.message(
                f"{origin}: {len(done.failed)} of {len(frames)} labels failed, the first:"
                f" {done.failed[0].reason}"
            )
        return list(done.keys)

    def _select(
        self,
        iteration: int,
        folder: Path,
        pulls: Sequence[PullResult],
        seen: Mapping[int, Observables],
    ) -> list[Atoms]:
        """Return what is to be labelled, from disk when it was decided already."""
        chosen_path = folder / "selected.extxyz"
        if chosen_path.is_file():
            return read_frames(chosen_path)
        select, augment = self.config.select, self.config.augment
        chosen = choose(
            [pull.candidates for pull in pulls],
            last_steps=[_last_step(seen.get(pull.seed), select.after_break) for pull in pulls],
            maximum=select.max_per_iteration,
            strategy=select.strategy,
        )
        wanted = augment.iterations is None or iteration < augment.iterations
        copies = noisy_copies(
            chosen,
            copies=augment.copies if wanted else 0,
            amplitude=augment.amplitude,
            rng=self.rng(iteration, "noise"),
        )
        if chosen:
            write_frames(chosen_path, [*chosen, *copies])
            return read_frames(chosen_path)
        return []

    def _evaluate(
        self,
        folder: Path,
        model: Path,
        reference: Reference,
        seen: Mapping[int, Observables],
        chosen: Sequence[str],
    ) -> None:
        with self.progress.stage(f"evaluate ({folder.name})", total=None):
            unseen = {
                seed: read_frames(path / TRAJECTORY_FILE) for seed, path in reference.pulls.items()
            }
            with LabelStore(self.store_path) as store:
                new = store.frames(chosen)
            evaluation = evaluate(
                model=model,
                driver=self.config.driver,
                unseen=list(unseen.values()),
                new=new,
                pulls=seen,
                reference=_observe(
                    {seed: path / WORK_FILE for seed, path in reference.pulls.items()}, unseen
                ),
            )
        write_json(folder / "metrics.json", evaluation.to_json())

    def _report(
        self,
        iteration: int,
        folder: Path,
        data: TrainingData,
        pulls: Sequence[PullResult],
        n_chosen: int,
        convergence: Mapping[str, Any],
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
            convergence=convergence,
            seconds=read_json(folder / "seconds.json"),
        )
        results["iterations"].append(record)
        write_results(self.folder, reference=results["reference"], iterations=results["iterations"])
        write_plots(self.folder)
        self.progress.message(f"{iteration_table(results)}\n\n{convergence_line(results)}")


def _observe(
    curves: Mapping[int, Path], paths: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observables]:
    return {seed: observe(read_work(path), paths[seed]) for seed, path in sorted(curves.items())}


def _last_step(pull: Observables | None, after_break: int | None) -> int | None:
    """Return the last MD step of a pull whose configurations are worth a label."""
    if pull is None or pull.break_step is None or after_break is None:
        return None
    return pull.break_step + after_break


@contextmanager
def _open_campaign(
    config: Config, *, config_path: Path, runs: Path, progress: Progress
) -> Iterator[_Campaign]:
    structure = load_structure(config)
    elements = tuple(
        sorted(set(structure.get_chemical_symbols()), key=lambda symbol: atomic_numbers[symbol])
    )
    folder = (runs / config.name).resolve()
    write_config(config, config_path, folder)
    with locked(folder), with_log(progress, folder / "log.txt") as logged:
        yield _Campaign(config, folder, structure, elements, logged)
