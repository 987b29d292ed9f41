"""The reference stage: relaxation, MD and pulls with the forces of the labeller.

It makes the relaxed structure, from which every pull starts; the MD at equilibrium, which is the
first training data; and one pull per seed, which gives the reference activation energy and serves
as test pulls that no model is trained on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ..config import InitialData, Labeller
from ..errors import AlrareError
from ..execution.executor import Workers, task_pool
from ..exploration.exploration import Exploration
from ..exploration.kept_settings import made_otherwise
from ..exploration.labeller_md import TRAJECTORY_FILE, relax
from ..exploration.labeller_runs import (
    STRUCTURE_OR_LABELLER,
    System,
    data_run,
    run_all,
    seed_run,
)
from ..frames import frame_key, label_of, read_frames, stress_of, write_frames
from ..labelling.batch import check_labeller
from ..labelling.method import Method, method_of
from ..labelling.store import LabelStore
from ..processes import result_of
from ..progress import Progress

ORIGIN = "initial"
"""Origin of the labels of the initial data in the store."""
RELAXED_FILE = "relaxed.extxyz"


@dataclass(frozen=True)
class Reference:
    """The results of the reference stage."""

    structure: Atoms
    """The relaxed structure, labelled: the start of every pull of labeller and models."""
    structure_key: str
    """Key of its label in the store."""
    data_keys: tuple[str, ...]
    """Keys of the initial data in the store, in order of time, each once."""
    runs: dict[int, Path]
    """Folder of each seed's run: its table and `trajectory.extxyz`; none if the labeller does not
    run them."""


def run_reference(
    *,
    structure: Atoms,
    elements: Sequence[str],
    labeller: Labeller,
    initial: InitialData,
    exploration: Exploration,
    timestep: float,
    folder: Path,
    store_path: Path,
    workers: Workers,
    progress: Progress,
    retry: bool = False,
    known: Sequence[Path] = (),
    runs: bool = True,
    lmp: str = "lmp",
) -> Reference:
    """Relax the structure, then make the initial data and the runs of the exploration in parallel.

    Runs that are finished in the folder are kept; an interrupted run continues where it was.

    Parameters
    ----------
    structure : Atoms
        The molecule.
    elements : sequence of str
        Element of each atom type, in the order of the model.
    labeller, initial
        Tables of the configuration.
    exploration : Exploration
        What drives the structure, once per seed.
    timestep : float
        MD time step, fs.
    folder : Path
        Receives `relaxed.extxyz`, `data/` and one `pull_SEED/` (`Quantity.runs`) per seed.
    store_path : Path
        The label store; the energies and forces of the MD are its first labels.
    workers : Workers
        Where the runs are done.
    progress : Progress
        Shows the progress.
    retry : bool
        Repeat a gradient check of the labeller that failed.
    known : sequence of Path
        The reference folders of other campaigns or systems; their results that were made with the
        same settings are copied instead of computed.
    runs : bool
        Whether the labeller runs the exploration; without it nothing tells the error of a model.
    lmp : str
        The LAMMPS program.

    Raises
    ------
    SimulationError
        If the labeller or LAMMPS fails.
    AlrareError
        If the folder holds results of other settings, or `known` is not a reference folder.
    """
    method = method_of(labeller, elements)
    for other in known:
        _adopt_structure(other, folder, frame_key(structure, method.hash))
    if not (folder / RELAXED_FILE).is_file():
        check_labeller(
            structure,
            labeller=labeller,
            folder=store_path.parent,
            store_path=store_path,
            workers=workers,
            retry=retry,
        )
    start = relaxed_structure(
        structure=structure,
        labeller=labeller,
        folder=folder,
        method=method.hash,
        workers=workers,
        progress=progress,
    )
    system = System(start, tuple(elements), labeller, timestep, method.hash, lmp)
    seeds = exploration.seeds if runs else ()
    of_seed = {seed: seed_run(folder, system, exploration, seed) for seed in seeds}
    data = [data_run(folder, system, initial)] if initial.steps else []
    every = [*of_seed.values(), *data]
    for other in known:
        for run in every:
            run.adopt(other / run.folder.name)
    run_all(every, workers=workers, progress=progress)
    frames = [frame for run in data for frame in read_frames(run.folder / TRAJECTORY_FILE)]
    structure_key, *keys = _store([start, *frames], store_path, method)
    data_keys = tuple(dict.fromkeys(keys))
    folders = {seed: run.folder for seed, run in of_seed.items()}
    return Reference(start, structure_key, data_keys, folders)


def _adopt_structure(known: Path, folder: Path, start: str) -> None:
    """Copy the relaxed structure of another reference if it started from the same structure."""
    require_reference(known)
    target = folder / RELAXED_FILE
    (frame,) = read_frames(known / RELAXED_FILE)
    if not target.is_file() and frame.info.get("start") == start:
        write_frames(target, [frame])


def require_reference(known: Path) -> None:
    """Raise AlrareError unless a folder holds the reference of a campaign."""
    if not (known / RELAXED_FILE).is_file():
        raise AlrareError(
            f"{known}: no reference of a campaign; expected the run folder of one whose reference"
            ' is finished (`reference` in al.toml), "none" for no pulls by the labeller, or no such'
            " key"
        )


def relaxed_structure(
    *,
    structure: Atoms,
    labeller: Labeller,
    folder: Path,
    method: str,
    workers: Workers,
    progress: Progress,
) -> Atoms:
    """Relax a structure with the labeller; return it, or read it if `relaxed.extxyz` exists."""
    target, start = folder / RELAXED_FILE, frame_key(structure, method)
    if not target.is_file():
        with progress.stage("relax", total=None), task_pool(workers, "run") as submit:
            task = submit(relax, structure, labeller, folder / f".relax.{start}")
            relaxed = result_of(task, "the structure's relaxation")
            relaxed.info["start"] = start
            write_frames(target, [relaxed])
    for scratch in folder.glob(".relax.*"):
        shutil.rmtree(scratch, ignore_errors=True)
    (frame,) = read_frames(target)
    if frame.info.get("start") != start:
        raise made_otherwise(target, [STRUCTURE_OR_LABELLER])
    return frame


def _store(frames: Sequence[Atoms], store_path: Path, method: Method) -> list[str]:
    """Store the labels that the frames carry, so that none is computed again; return the keys."""
    keys = [frame_key(frame, method.hash) for frame in frames]
    with LabelStore(store_path) as store, store.transaction():
        store.put_method(method.hash, method.description)
        for key, frame in zip(keys, frames, strict=True):
            energy, forces = label_of(frame)
            store.put_ok(
                key,
                frame,
                energy=energy,
                forces=forces,
                stress=stress_of(frame),
                origin=ORIGIN,
                method=method.hash,
            )
    return keys
