"""Runs by a model: LAMMPS with pair nnp_ensemble and fix al_select, one folder per seed.

A run uses a folder with a temporary name, which is renamed when the run has ended. A folder with
its final name is finished and never run again.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ase import Atoms

from ..config import Run, Select
from ..errors import AlrareError, BlownUpError, UnstableModelError
from ..execution.executor import Workers, executor_of, task_pool
from ..files import publish, read_json, write_json, write_text
from ..frames import frame_key
from ..model.model_file import model_hash
from ..progress import Progress, Stage
from ..selection.settings import CANDIDATES_FILE, fix_command
from .exploration import Exploration
from .kept_settings import differences, made_otherwise
from .lammps_input import DUMP_FILE
from .lammps_run import end_process, lammps_command, no_lammps, run_lammps
from .run_result import RunResult, SelectionCounts, counts_of
from .table import last_row

RESULT_FILE = "result.json"


def simulate(
    *,
    model: Path,
    structure: Atoms,
    elements: Sequence[str],
    exploration: Exploration,
    select: Select | None,
    timestep: float,
    forces: Literal["best", "mean"],
    folder: Path,
    run: Run,
    workers: Workers,
    progress: Progress,
    bias: str = "",
    seeds: Sequence[int] | None = None,
) -> list[RunResult]:
    """Run an exploration with the model, once for each seed, several runs at a time.

    Parameters
    ----------
    model : Path
        The file that `lammps_file` returns.
    structure : Atoms
        A molecule.
    elements : sequence of str
        Elements of the model, in its order.
    exploration : Exploration
    select : Select or None
        The selection criterion; None: nothing is selected.
    timestep : float, fs
        MD time step.
    forces : {"best", "mean"}
        Whose forces move the atoms.
    folder : Path
        Receives one folder ``pull_SEED`` per seed.
    run : Run
        LAMMPS program, MPI ranks per pull, and device of the ensemble.
    workers : Workers
        Where the runs are done.
    progress : Progress
        Receives one stage that counts the MD steps of all seeds.
    bias : str
        Value of the keyword `bias` of the pair style; empty: none.
    seeds : sequence of int, optional
        By default those of the exploration.

    Returns
    -------
    list of RunResult
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
    steps = exploration.steps
    seeds = exploration.seeds if seeds is None else tuple(seeds)
    total = None if steps is None else steps * len(seeds)
    runs = exploration.quantity.runs
    command = tuple(lammps_command(run.lmp, run.mpi_ranks, run.launcher))
    task = _Task(
        model=model, structure=structure, elements=elements, exploration=exploration, select=select,
        timestep=timestep, forces=forces, command=command, device=run.device, bias=bias,
    )  # fmt: skip
    folders = {seed: folder / f"{runs}_{seed}" for seed in seeds}
    executor = executor_of(workers)
    stage_name = f"{runs}s by the model ({folder.name})"
    if bias:
        stage_name = f"{runs}s with a bias ({folder.parent.name})"
    with progress.stage(stage_name, total) as stage:
        running = _Running(stage)
        if executor.is_here("run"):
            at_a_time = max(1, executor.size("run") // run.mpi_ranks)
            results = _run_here(task, folders, running, at_a_time)
        else:
            results = _run_elsewhere(task, folders, running, executor)
    for result in results:
        if not result.finished:
            progress.message(f"{result.folder}: ended early: {result.reason}")
    if all(result.table is None for result in results):
        raise UnstableModelError(
            f"{folder}: no {runs} made a single step: {results[0].reason}; the model is worthless"
            " even at rest: give it more initial data ([initial] steps) or more epochs ([train])"
        )
    return results


def _run_here(
    task: "_Task", folders: Mapping[int, Path], running: "_Running", at_a_time: int
) -> list[RunResult]:
    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            futures = [
                pool.submit(
                    _one_run, task, seed, folder, partial(running.show, seed), running.started
                )
                for seed, folder in folders.items()
            ]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future in done:
                    future.result()
        except BaseException:
            running.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _run_elsewhere(
    task: "_Task", folders: Mapping[int, Path], running: "_Running", workers: Workers
) -> list[RunResult]:
    """Let workers elsewhere do the runs, which leave their steps in files beside the folders."""
    for folder in folders.values():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _steps_file(folder).unlink(missing_ok=True)
    with task_pool(workers, "run") as submit:
        pending = {
            submit(_run_there, task, seed, folder)
            for seed, folder in folders.items()
            if not folder.exists()
        }
        while pending:
            ended, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            for seed, folder in folders.items():
                with suppress(OSError, ValueError):
                    running.show(seed, int(_steps_file(folder).read_text()))
    for folder in folders.values():
        _steps_file(folder).unlink(missing_ok=True)
    # As done here, which finds them finished.
    return [
        _one_run(task, seed, folder, partial(running.show, seed), running.started)
        for seed, folder in folders.items()
    ]


def _steps_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.steps")


def _run_there(task: "_Task", seed: int, folder: Path) -> None:
    """Do a run; in a worker elsewhere."""
    steps = _steps_file(folder)

    def show(done: int) -> None:
        steps.write_text(str(done))

    _one_run(task, seed, folder, show, lambda process: None)


@dataclass(frozen=True)
class _Task:
    model: Path
    structure: Atoms
    elements: Sequence[str]
    exploration: Exploration
    select: Select | None
    timestep: float
    forces: str
    command: tuple[str, ...]
    device: str
    bias: str

    def settings(self) -> dict[str, Any]:
        """Return everything but the seed that decides the result of a pull."""
        bias = {"bias": self.bias} if self.bias else {}
        return bias | {
            "model": model_hash(self.model),
            "start": frame_key(self.structure, ""),
            **self.exploration.settings(),
            "select": "" if self.select is None else fix_command(self.select),
            "timestep": self.timestep,
            "forces": self.forces,
        }


class _Running:
    """The pulls that are running: shows the sum of their steps, and can end them all."""

    def __init__(self, stage: Stage) -> None:
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


def _one_run(
    task: _Task,
    seed: int,
    folder: Path,
    show: Callable[[int], None],
    on_start: Callable[[subprocess.Popen[bytes]], None],
) -> RunResult:
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
                input_file=task.exploration.main,
                on_step=show,
                on_start=on_start,
            )
            _check_end(task, partial)
        except BlownUpError as error:
            reason = str(error).replace(str(partial), str(folder))
        result = {"seconds": round(time.monotonic() - begin, 3), "settings": settings}
        _finish(task, partial, folder, {"finished": not reason, "reason": reason, **result})
    if task.exploration.steps is not None:
        show(task.exploration.steps)
    return _read_result(task.exploration, seed, folder, settings)


def _write_inputs(task: _Task, seed: int, folder: Path) -> None:
    model = os.path.relpath(task.model, folder)
    by_force = task.select is not None and task.select.uncertainty == "force"
    keywords = " force_std yes" if by_force else ""
    keywords += f" bias {task.bias}" if task.bias else ""
    potential = f"""\
pair_style nnp_ensemble device {task.device} forces {task.forces}{keywords}
pair_coeff * * "{model}" {" ".join(task.elements)}
compute uq all pair nnp_ensemble
"""
    files = task.exploration.files(
        task.structure,
        task.elements,
        seed=seed,
        timestep=task.timestep,
        potential=potential,
        select=task.select,
        by_model=True,
    )
    for name, text in files.items():
        write_text(folder / name, text)


def _check_end(task: _Task, folder: Path) -> None:
    """Refuse a run that ended without an error, but too early."""
    did = task.exploration.unfinished(last_row(folder / task.exploration.quantity.table))
    if did:
        what = f"{task.command[0]} ended in {folder} with exit status 0 {did}"
        raise no_lammps(what, folder)


def _finish(task: _Task, partial: Path, folder: Path, content: dict[str, Any]) -> None:
    row = last_row(partial / task.exploration.quantity.table)
    selection = counts_of(row).to_json() if row is not None and "threshold" in row else None
    write_json(partial / RESULT_FILE, {**content, "began": row is not None, "selection": selection})
    publish(partial, folder)


def _other_settings(kept: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Name what differs between the settings of a finished run and those wanted."""
    hashed = {"model": "model", "start": "structure", "select": "selection"}
    other = [name for key, name in hashed.items() if kept[key] != wanted[key]]
    plain = [_flat(settings, hashed) for settings in (kept, wanted)]
    return other + differences(*plain)


def _flat(settings: dict[str, Any], hashed: Collection[str]) -> dict[str, Any]:
    """Return the settings that are shown, those of `pull` or `explore` beside the others."""
    shown = {key: value for key, value in settings.items() if key not in hashed}
    tables = [value for value in shown.values() if isinstance(value, dict)]
    flat = {key: value for key, value in shown.items() if not isinstance(value, dict)}
    return flat | {key: value for table in tables for key, value in table.items()}


def _read_result(
    exploration: Exploration, seed: int, folder: Path, settings: dict[str, Any]
) -> RunResult:
    table = folder / exploration.quantity.table
    if not (folder / RESULT_FILE).is_file() and table.is_file():
        raise made_otherwise(folder, ["potential (not by a model)"])
    content = read_json(folder / RESULT_FILE)
    try:
        if content["settings"] != settings:
            raise made_otherwise(folder, _other_settings(content["settings"], settings))
        return RunResult(
            seed=seed,
            folder=folder,
            table=table if content["began"] else None,
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


def _remove_unfinished(folder: Path) -> None:
    """Remove the temporary folders of earlier attempts at this pull."""
    for path in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(path, ignore_errors=True)
