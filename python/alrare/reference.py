"""The reference stage: what the labeller alone says.

It makes three things: the structure relaxed by the labeller, where every pull starts; the first
training data, MD at equilibrium; and pulls that the labeller drives, one a seed, for the
reference activation energy and as test data that no model trains on.
"""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from .config import InitialData, Labeller, Pull
from .errors import AlrareError, SimulationError
from .frames import frame_key, label_of, read_frames, write_frames
from .label_store import LabelStore
from .labeller_md import (
    JOURNAL_FILE,
    POTENTIAL,
    PROGRESS_FILE,
    TRAJECTORY_FILE,
    LabellerMD,
    relax,
    run_md,
    steps_done,
)
from .labellers import Method, method_of
from .lammps_input import PATH_STRIDE, md_input, pull_input
from .progress import Progress
from .state import read_json, write_json
from .tasks import worker_pool

ORIGIN = "initial"
"""Origin of the initial data's labels in the store."""
RELAXED_FILE = "relaxed.extxyz"
_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Reference:
    """Everything that the labeller alone says; all of it on disk."""

    structure: Atoms
    """The relaxed structure, labelled: the start of every pull, the model's too."""
    structure_key: str
    """Its label in the store."""
    data_keys: tuple[str, ...]
    """Labels of the initial data in the store, in time order, each once."""
    pulls: dict[int, Path]
    """Folder of each seed's pull: `work.dat` and `trajectory.extxyz`."""


def run_reference(
    *,
    structure: Atoms,
    elements: Sequence[str],
    labeller: Labeller,
    initial: InitialData,
    pull: Pull,
    timestep: float,
    folder: Path,
    store_path: Path,
    workers: int,
    progress: Progress,
    known: Path | None = None,
) -> Reference:
    """Relax, then make the initial data and the pulls, as many at a time as there are workers.

    What is finished in the folder is kept; what is not goes on where it was.

    Parameters
    ----------
    structure : Atoms
        The molecule.
    elements : sequence of str
        Atom types, in the order of the model's.
    labeller, initial, pull
        Tables of the configuration.
    timestep : float
        fs.
    folder : Path
        `relaxed.extxyz`, `data/`, `pull_1/` ... are made in it.
    store_path : Path
        The label store; the energies and forces of the MD are its first labels.
    workers : int
        Runs at a time; 0 means one for each core.
    progress : Progress
        Where to report.
    known : Path, optional
        The reference folder of another campaign: whatever of it was made with the same settings
        is copied, the rest is made.

    Raises
    ------
    SimulationError
        If the labeller or LAMMPS fails.
    AlrareError
        If the folder holds results of other settings, or `known` holds none at all.
    """
    method = method_of(labeller, elements)
    if known is not None:
        _adopt_structure(known, folder, frame_key(structure, method.hash))
    start = relaxed_structure(
        structure=structure,
        labeller=labeller,
        folder=folder,
        method=method.hash,
        progress=progress,
    )
    system = _System(start, tuple(elements), labeller, timestep, method.hash)
    pulls = {seed: _pull_run(folder, system, pull, seed) for seed in pull.seeds}
    data = _data_run(folder, system, initial)
    if known is not None:
        for run in (*pulls.values(), data):
            run.adopt(known / run.folder.name)
    _run_all([*pulls.values(), data], workers=workers, progress=progress)
    frames = read_frames(data.folder / TRAJECTORY_FILE)
    structure_key, *keys = _store([start, *frames], store_path, method)
    data_keys = tuple(dict.fromkeys(keys))
    folders = {seed: run.folder for seed, run in pulls.items()}
    return Reference(start, structure_key, data_keys, folders)


def run_pulls(
    *,
    structure: Atoms,
    elements: Sequence[str],
    labeller: Labeller,
    pull: Pull,
    timestep: float,
    folder: Path,
    workers: int,
    progress: Progress,
) -> dict[int, Path]:
    """Pull a structure as it is with the labeller, once a seed; see `run_reference`.

    Returns
    -------
    dict
        Folder of each seed's pull.
    """
    method = method_of(labeller, elements).hash
    system = _System(structure, tuple(elements), labeller, timestep, method)
    runs = {seed: _pull_run(folder, system, pull, seed) for seed in pull.seeds}
    _run_all(list(runs.values()), workers=workers, progress=progress)
    return {seed: run.folder for seed, run in runs.items()}


def _adopt_structure(known: Path, folder: Path, start: str) -> None:
    """Copy the relaxed structure of another reference if it relaxed the same one."""
    source, target = known / RELAXED_FILE, folder / RELAXED_FILE
    if not source.is_file():
        raise AlrareError(
            f"{known}: no reference of a campaign; expected the run folder of one whose reference"
            " is finished (`reference` in al.toml), or no such key"
        )
    (frame,) = read_frames(source)
    if not target.is_file() and frame.info.get("start") == start:
        write_frames(target, [frame])


def relaxed_structure(
    *, structure: Atoms, labeller: Labeller, folder: Path, method: str, progress: Progress
) -> Atoms:
    """Return the structure relaxed by the labeller; made once, then read from the folder."""
    target = folder / RELAXED_FILE
    if not target.is_file():
        with progress.stage("relax", total=None), worker_pool(1) as pool:
            scratch = folder / ".relax"
            task = pool.submit(relax, structure, labeller, scratch)
            relaxed = _result(task, "the structure's relaxation")
            relaxed.info["start"] = frame_key(structure, method)
            write_frames(target, [relaxed])
            shutil.rmtree(scratch, ignore_errors=True)
    (frame,) = read_frames(target)
    if frame.info.get("start") != frame_key(structure, method):
        raise _other_settings(target)
    return frame


@dataclass(frozen=True)
class _Run:
    """A run that is either finished in its folder or to be made."""

    name: str
    folder: Path
    settings: dict[str, Any]
    steps: int
    md: LabellerMD

    def is_finished(self) -> bool:
        if not self.folder.is_dir():
            return False
        if read_json(self.folder / _SETTINGS_FILE) != self.settings:
            raise _other_settings(self.folder)
        return True

    def prepare(self) -> None:
        """Make the folder to work in, or leave the one of the same run that was cut."""
        settings = self.md.folder / _SETTINGS_FILE
        if not settings.is_file() or read_json(settings) != self.settings:
            shutil.rmtree(self.md.folder, ignore_errors=True)
            write_json(settings, self.settings)

    def adopt(self, finished: Path) -> None:
        """Copy a finished run of the same settings from elsewhere, unless it is here already."""
        settings = finished / _SETTINGS_FILE
        if self.folder.is_dir() or not settings.is_file() or read_json(settings) != self.settings:
            return
        shutil.rmtree(self.md.folder, ignore_errors=True)
        shutil.copytree(finished, self.md.folder)
        self.publish()

    def publish(self) -> None:
        """Make the finished run appear under its name, whole."""
        shutil.rmtree(self.md.folder / "labeller", ignore_errors=True)
        (self.md.folder / PROGRESS_FILE).unlink(missing_ok=True)
        (self.md.folder / JOURNAL_FILE).unlink(missing_ok=True)
        for entry in [*self.md.folder.iterdir(), self.md.folder]:
            _sync(entry)
        self.md.folder.rename(self.folder)
        _sync(self.folder.parent)


@dataclass(frozen=True)
class _System:
    """What every run of one reference shares."""

    structure: Atoms
    elements: tuple[str, ...]
    labeller: Labeller
    timestep: float
    method: str

    def run(
        self, name: str, folder: Path, text: str, steps: int, stride: int, pull: Pull | None
    ) -> _Run:
        start = frame_key(self.structure, self.method)
        md = LabellerMD(
            text=text,
            structure=self.structure,
            elements=self.elements,
            labeller=self.labeller,
            stride=stride,
            pulled=pull.atoms if pull else None,
            folder=folder.with_name(f".{folder.name}.partial"),
        )
        return _Run(name, folder, {"start": start, "stride": stride, "input": text}, steps, md)


def _pull_run(folder: Path, system: _System, pull: Pull, seed: int) -> _Run:
    text = pull_input(
        potential=POTENTIAL,
        pull=pull,
        seed=seed,
        timestep=system.timestep,
        periodic=bool(system.structure.pbc.any()),
    )
    steps = pull.relax_steps + pull.steps
    return system.run(f"pull, seed {seed}", folder / f"pull_{seed}", text, steps, PATH_STRIDE, pull)


def _data_run(folder: Path, system: _System, initial: InitialData) -> _Run:
    text = md_input(
        potential=POTENTIAL,
        temperature=initial.temperature,
        damping=initial.damping,
        seed=initial.seed,
        timestep=system.timestep,
        equilibration_steps=initial.equilibration_steps,
        steps=initial.steps,
        periodic=bool(system.structure.pbc.any()),
    )
    name = f"MD at {initial.temperature:g} K"
    steps = initial.equilibration_steps + initial.steps
    return system.run(name, folder / "data", text, steps, initial.stride, None)


def _run_all(runs: Sequence[_Run], *, workers: int, progress: Progress) -> None:
    open_runs = [run for run in runs if not run.is_finished()]
    if not open_runs:
        return
    total = sum(run.steps for run in open_runs)
    with progress.stage("reference", total=total) as stage, worker_pool(workers) as pool:
        tasks: dict[Future[None], _Run] = {}
        for run in open_runs:
            run.prepare()
            tasks[pool.submit(run_md, run.md)] = run
        finished = 0
        while tasks:
            done, _ = wait(tasks, timeout=0.5, return_when=FIRST_EXCEPTION)
            for task in done:
                run = tasks.pop(task)
                _result(task, f"reference {run.name}")
                run.publish()
                finished += run.steps
            under_way = sum(min(steps_done(run.md.folder), run.steps) for run in tasks.values())
            stage.update(finished + under_way)


def _result(task: Future[Any], what: str) -> Any:
    try:
        return task.result()
    except BrokenProcessPool as error:
        raise SimulationError(
            f"{what}: its process ended (killed, or out of memory); run the same command again to"
            " go on"
        ) from error


def _store(frames: Sequence[Atoms], store_path: Path, method: Method) -> list[str]:
    """Put the frames' own energies and forces into the store: none is computed again."""
    keys = [frame_key(frame, method.hash) for frame in frames]
    with LabelStore(store_path) as store, store.transaction():
        store.put_method(method.hash, method.description)
        for key, frame in zip(keys, frames, strict=True):
            energy, forces = label_of(frame)
            store.put_ok(
                key, frame, energy=energy, forces=forces, origin=ORIGIN, method=method.hash
            )
    return keys


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _other_settings(path: Path) -> AlrareError:
    return AlrareError(
        f"{path}: was made with another structure, labeller or settings than al.toml now has; give"
        " the campaign a new name, or remove this folder's `reference` to make it again"
    )
