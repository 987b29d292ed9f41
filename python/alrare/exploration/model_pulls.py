"""Pulls by a model: LAMMPS with pair nnp_ensemble and fix al_select, one folder per seed.

A pull uses a folder with a temporary name, which is renamed when the pull has ended. A folder with
its final name is finished and never run again.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ase import Atoms

from ..config import Pull, Run, Select
from ..errors import AlrareError, BlownUpError, UnstableModelError
from ..files import publish, read_json, write_json, write_text
from ..frames import frame_key
from ..model.model_file import model_hash
from ..processes import worker_count
from ..progress import Progress, Stage
from ..selection.settings import CANDIDATES_FILE, fix_columns, fix_command
from .kept_settings import differences, made_otherwise
from .lammps_input import (
    DATA_FILE,
    DUMP_FILE,
    INPUT_FILE,
    WORK_FILE,
    pull_input,
    write_data_file,
)
from .lammps_run import end_process, lammps_command, no_lammps, run_lammps

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class SelectionCounts:
    """The counts of fix al_select at the last step of a pull."""

    threshold: float | None = None
    """eV, or eV/Å with `uncertainty = "force"`; None if `screening_steps` was not reached."""
    selected: int = 0
    """Number of candidates written."""
    above: int = 0
    """Number of configurations above the threshold."""
    too_similar: int = 0
    """Number of those that were within a gap of a selected configuration."""
    unphysical: int = 0
    """Number of configurations refused as unphysical, which are never labelled."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class PullResult:
    """One pull by the model."""

    seed: int
    """Seed of the velocities and the noise."""
    folder: Path
    """Folder of in.smd and all files that LAMMPS wrote."""
    work: Path | None
    """The work curve; None if the structure blew up before the pull began."""
    trajectory: Path
    """Dump of the configurations (`read_trajectory`); missing if `work` is None."""
    candidates: Path
    """Extended XYZ; missing or empty if there are no candidates."""
    selection: SelectionCounts
    """Counts of the fix."""
    finished: bool
    """Whether the pull did all its steps."""
    reason: str
    """Why it ended early; empty if finished."""
    seconds: float
    """Wall time."""


def model_file(folder: Path, device: str) -> Path:
    """Return the model file in a folder that LAMMPS opens for a device.

    It is `ensemble.pt`, the TorchScript export, for CUDA devices, and otherwise
    `ensemble.safetensors`, which the native engine evaluates on the CPU.
    """
    return folder / ("ensemble.pt" if device.startswith("cuda") else "ensemble.safetensors")


def simulate_pulls(
    *,
    model: Path,
    structure: Atoms,
    elements: Sequence[str],
    pull: Pull,
    select: Select | None,
    timestep: float,
    forces: Literal["best", "mean"],
    folder: Path,
    run: Run,
    progress: Progress,
) -> list[PullResult]:
    """Pull the structure with the model, once for each seed, several at a time.

    Parameters
    ----------
    model : Path
        The file that `model_file` returns.
    structure : Atoms
        A molecule.
    elements : sequence of str
        Elements of the model, in its order.
    pull, select : config tables
        Spring, thermostat and seeds; and the selection criterion. If `select` is None, nothing is
        selected.
    timestep : float, fs
        MD time step.
    forces : {"best", "mean"}
        Whose forces move the atoms.
    folder : Path
        Receives one folder ``pull_SEED`` per seed.
    run : Run
        LAMMPS program, MPI ranks per pull, number of processes, and device of the ensemble.
    progress : Progress
        Receives one stage that counts the MD steps of all seeds.

    Returns
    -------
    list of PullResult
        In the order of the seeds. A pull whose structure blew up has ``finished`` False and the
        files that it had written until then.

    Raises
    ------
    SimulationError
        If LAMMPS cannot be started, or fails for another reason than a structure that blew up;
        finished pulls are kept.
    UnstableModelError
        If no pull made a single step.
    AlrareError
        If the folder holds a pull of another model or other settings, or the disk refuses.
    """
    per_pull = pull.relax_steps + pull.steps
    command = tuple(lammps_command(run.lmp, run.mpi_ranks))
    task = _Task(
        model=model, structure=structure, elements=elements, pull=pull, select=select,
        timestep=timestep, forces=forces, command=command, device=run.device,
    )  # fmt: skip
    with progress.stage(f"pulls by the model ({folder.name})", per_pull * len(pull.seeds)) as stage:
        running = _Running(stage, per_pull)
        with ThreadPoolExecutor(max(1, worker_count(run.workers) // run.mpi_ranks)) as pool:
            try:
                futures = [
                    pool.submit(_one_pull, task, seed, folder / f"pull_{seed}", running)
                    for seed in pull.seeds
                ]
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in futures:
                    if future in done:
                        future.result()
            except BaseException:
                running.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            results = [future.result() for future in futures]
    for result in results:
        if not result.finished:
            progress.message(f"{result.folder}: ended early: {result.reason}")
    if all(result.work is None for result in results):
        raise UnstableModelError(
            f"{folder}: no pull made a single step: {results[0].reason}; the model is worthless"
            " even at rest: give it more initial data ([initial] steps) or more epochs ([train])"
        )
    return results


@dataclass(frozen=True)
class _Task:
    model: Path
    structure: Atoms
    elements: Sequence[str]
    pull: Pull
    select: Select | None
    timestep: float
    forces: str
    command: tuple[str, ...]
    device: str

    def settings(self) -> dict[str, Any]:
        """Return everything but the seed that decides the result of a pull."""
        return {
            "model": model_hash(self.model),
            "start": frame_key(self.structure, ""),
            "pull": self.pull.model_dump(mode="json", exclude={"seeds", "plus_steps"}),
            "select": self.watch(),
            "timestep": self.timestep,
            "forces": self.forces,
        }

    def watch(self) -> str:
        """Return the `fix al_select` command; empty without selection."""
        return "" if self.select is None else fix_command(self.select)


class _Running:
    """The pulls that are running: shows the sum of their steps, and can end them all."""

    def __init__(self, stage: Stage, per_pull: int) -> None:
        self.per_pull = per_pull
        self._stage = stage
        self._lock = threading.Lock()
        self._steps: dict[int, int] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def show(self, seed: int, done: int) -> None:
        with self._lock:
            self._steps[seed] = done
            self._stage.update(sum(self._steps.values()))

    def started(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.append(process)
            stopped = self._stopped
        if stopped:
            end_process(process)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            processes = list(self._processes)
        for process in processes:
            end_process(process)


def _one_pull(task: _Task, seed: int, folder: Path, running: _Running) -> PullResult:
    settings = task.settings()
    if not folder.exists():
        _remove_unfinished(folder)
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        _write_inputs(task, seed, partial)
        begin = time.monotonic()
        reason = ""
        try:
            run_lammps(
                task.command,
                folder=partial,
                on_step=lambda done: running.show(seed, done),
                on_start=running.started,
            )
            _check_end(task, partial)
        except BlownUpError as error:
            reason = str(error).replace(str(partial), str(folder))
        result = {"seconds": round(time.monotonic() - begin, 3), "settings": settings}
        _finish(partial, folder, {"finished": not reason, "reason": reason, **result})
    running.show(seed, running.per_pull)
    return _read_result(seed, folder, settings)


def _write_inputs(task: _Task, seed: int, folder: Path) -> None:
    write_data_file(folder / DATA_FILE, task.structure, task.elements)
    model = os.path.relpath(task.model, folder)
    by_force = task.select is not None and task.select.uncertainty == "force"
    force_std = " force_std yes" if by_force else ""
    potential = f"""\
pair_style nnp_ensemble device {task.device} forces {task.forces}{force_std}
pair_coeff * * "{model}" {" ".join(task.elements)}
compute uq all pair nnp_ensemble
"""
    text = pull_input(
        potential=potential,
        pull=task.pull,
        seed=seed,
        timestep=task.timestep,
        watch=task.watch(),
        columns=fix_columns(task.select),
        dump_elements=task.elements,
    )
    write_text(folder / INPUT_FILE, text)


def _check_end(task: _Task, folder: Path) -> None:
    """Refuse a run that ended without an error, but not at its last step."""
    row = _last_row(folder / WORK_FILE)
    step = -1 if row is None else int(row["step"])
    if step < task.pull.steps:
        did = "no pull" if row is None else f"{step} of {task.pull.steps} steps of the pull"
        what = f"{task.command[0]} ended in {folder} with exit status 0 after {did}"
        raise no_lammps(what, folder)


def _finish(partial: Path, folder: Path, content: dict[str, Any]) -> None:
    row = _last_row(partial / WORK_FILE)
    selection = _counts(row).to_json() if row is not None and "threshold" in row else None
    write_json(partial / RESULT_FILE, {**content, "began": row is not None, "selection": selection})
    publish(partial, folder)


def _other_settings(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Name what differs between the settings of a finished pull and those wanted."""
    hashed = {"model": "model", "start": "structure", "select": "selection"}
    other = [name for key, name in hashed.items() if kept[key] != wanted[key]]
    plain = [
        {key: value for key, value in settings.items() if key not in (*hashed, "pull")}
        for settings in (kept | kept["pull"], wanted | wanted["pull"])
    ]
    return other + differences(*plain)


def _read_result(seed: int, folder: Path, settings: dict[str, Any]) -> PullResult:
    if not (folder / RESULT_FILE).is_file() and (folder / WORK_FILE).is_file():
        raise made_otherwise(folder, ["potential (not by a model)"])
    content = read_json(folder / RESULT_FILE)
    try:
        if content["settings"] != settings:
            raise made_otherwise(folder, _other_settings(content["settings"], settings))
        return PullResult(
            seed=seed,
            folder=folder,
            work=folder / WORK_FILE if content["began"] else None,
            trajectory=folder / DUMP_FILE,
            candidates=folder / CANDIDATES_FILE,
            selection=SelectionCounts(**(content["selection"] or {})),
            finished=content["finished"],
            reason=content["reason"],
            seconds=content["seconds"],
        )
    except (KeyError, TypeError) as error:
        raise AlrareError(
            f"{folder / RESULT_FILE}: expected the result of a pull by alrare, got another file"
            f" ({error}); remove {folder} to pull again"
        ) from error


def _counts(row: dict[str, float]) -> SelectionCounts:
    return SelectionCounts(
        threshold=row["threshold"] if row["threshold"] > 0.0 else None,
        selected=int(row["selected"]),
        above=int(row["above"]),
        too_similar=int(row["too_similar"]),
        unphysical=int(row["unphysical"]),
    )


def _last_row(path: Path) -> dict[str, float] | None:
    """Return the last complete row of a work file by column name; None if it has no rows."""
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    names = [word.partition("/")[0] for word in header.removeprefix("#").split()]
    for line in reversed(lines):
        if line.endswith("\n") and len(line.split()) == len(names):
            return dict(zip(names, map(float, line.split()), strict=True))
    return None


def _remove_unfinished(folder: Path) -> None:
    """Remove the temporary folders of earlier attempts at this pull."""
    for path in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(path, ignore_errors=True)
