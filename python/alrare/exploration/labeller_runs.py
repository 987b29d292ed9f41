"""Runs with the forces of the labeller, one folder each: pulls, and the MD of the initial data.

A run uses a folder with a temporary name, which is renamed when the run has ended. A folder with
its final name is finished and never run again; an interrupted run is resumed.
"""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms

from ..config import InitialData, Labeller, Pull
from ..execution.executor import Workers, executor_of, task_pool
from ..files import publish, read_json, write_json
from ..frames import frame_key, read_frames
from ..labelling.batch import check_labeller
from ..labelling.method import method_of
from ..labelling.store import STORE_FILE
from ..processes import result_of
from ..progress import Progress
from .event import find_event
from .exploration import Exploration, SpringPull
from .input_contract import POTENTIAL_FILE, WATCH_FILE
from .input_run import STRUCTURE_FILE
from .kept_settings import differences, made_otherwise, settings_of_input, without_potential
from .label_server import labeller_potential, short_folder
from .labeller_md import (
    JOURNAL_FILE,
    PROGRESS_FILE,
    TRAJECTORY_FILE,
    WORKER_FOLDER,
    LabellerMD,
    run_md,
    steps_done,
)
from .lammps_input import DATA_FILE, INPUT_FILE, TRAJECTORY_STRIDE, data_text, md_input
from .table import read_table

STRUCTURE_OR_LABELLER = (
    "structure or labeller (an edited calculator that declares no `__version__` is another one)"
)
_SETTINGS_FILE = "settings.json"
_NOT_COMPARED = (DATA_FILE, STRUCTURE_FILE, POTENTIAL_FILE)
"""Files of a run that say nothing more than structure and labeller."""


def run_pulls(
    *,
    structure: Atoms,
    elements: Sequence[str],
    labeller: Labeller,
    pull: Pull,
    timestep: float,
    folder: Path,
    workers: Workers,
    progress: Progress,
    lmp: str = "lmp",
) -> dict[int, Path]:
    """Pull a structure with the labeller, once per seed, without relaxing it first.

    The arguments are those of `run_reference`; `lmp` is the LAMMPS program.

    Returns
    -------
    dict
        Folder of the pull by seed.
    """
    return run_seeds(
        SpringPull(pull, timestep), structure=structure, elements=elements, labeller=labeller,
        timestep=timestep, folder=folder, workers=workers, progress=progress, lmp=lmp,
    )  # fmt: skip


def run_seeds(
    exploration: Exploration,
    *,
    structure: Atoms,
    elements: Sequence[str],
    labeller: Labeller,
    timestep: float,
    folder: Path,
    workers: Workers,
    progress: Progress,
    lmp: str = "lmp",
) -> dict[int, Path]:
    """Run an exploration with the labeller, once per seed, from a structure as it is.

    The arguments and the result are those of `run_pulls`.
    """
    method = method_of(labeller, elements).hash
    system = System(structure, tuple(elements), labeller, timestep, method, lmp)
    runs = {seed: seed_run(folder, system, exploration, seed) for seed in exploration.seeds}
    if not all(run.is_finished() for run in runs.values()):
        labels = folder / "labels"
        check_labeller(
            structure, labeller=labeller, folder=labels, store_path=labels / STORE_FILE,
            workers=workers,
        )  # fmt: skip
    run_all(list(runs.values()), workers=workers, progress=progress)
    return {seed: run.folder for seed, run in runs.items()}


@dataclass(frozen=True)
class Run:
    """A run that is finished or has to be done."""

    name: str
    """For messages."""
    folder: Path
    """Folder of the finished run."""
    settings: dict[str, Any]
    """Everything that decides the result; kept in the folder."""
    steps: int | None
    """MD steps of the whole run; None if only LAMMPS knows."""
    md: LabellerMD
    """The run itself, in its temporary folder."""

    def is_finished(self) -> bool:
        """Whether the folder with its final name exists.

        Raises
        ------
        AlrareError
            If it was made with other settings.
        """
        if not self.folder.is_dir():
            return False
        kept = self.folder / _SETTINGS_FILE
        if not kept.is_file():
            raise made_otherwise(self.folder, ["potential (not by the labeller)"])
        other = self._other_settings(read_json(kept))
        if other:
            raise made_otherwise(self.folder, other)
        return not (self._has_ended_early() and self._is_too_short())

    def _has_ended_early(self) -> bool:
        """Whether a finished run ended before its input did."""
        exploration = self.md.exploration
        if exploration is None:
            return False
        table = read_table(self.folder / exploration.quantity.table)
        return bool(exploration.unfinished({key: float(one[-1]) for key, one in table.items()}))

    def _is_too_short(self) -> bool:
        """Whether a finished run ended before what is observed today is decided."""
        exploration = self.md.exploration
        assert exploration is not None
        frames = read_frames(self.folder / TRAJECTORY_FILE)
        event = find_event(frames, exploration.atoms)
        table = self.folder / exploration.quantity.table
        return event is None or not exploration.is_decided(
            table, int(frames[event.index].info["step"])
        )

    def _other_settings(self, kept: dict[str, Any]) -> list[str]:
        """Name what differs from the settings that a finished run has kept."""
        if self._is_same(kept):
            return []
        old, new = (settings_of_input(str(one.get("input"))) for one in (kept, self.settings))
        other = differences(old, new)
        if kept.get("start") != self.settings["start"]:
            other.append(STRUCTURE_OR_LABELLER)
        return other or ["LAMMPS input"]

    def _is_same(self, kept: dict[str, Any]) -> bool:
        """Whether settings give the result of this run, also if another version made them."""
        one, other = (
            settings | {"input": without_potential(str(settings.get("input")))}
            for settings in (kept, self.settings)
        )
        return one == other

    def prepare(self) -> None:
        """Create the temporary folder; keep that of an interrupted run with the same settings.

        So does a finished run that was too short.
        """
        if self.folder.is_dir():
            shutil.rmtree(self.md.folder, ignore_errors=True)
            self.folder.rename(self.md.folder)
        settings = self.md.folder / _SETTINGS_FILE
        if not settings.is_file() or not self._is_same(read_json(settings)):
            shutil.rmtree(self.md.folder, ignore_errors=True)
        write_json(settings, self.settings)

    def adopt(self, finished: Path) -> None:
        """Copy a finished run with the same settings from elsewhere, if this run is not done."""
        settings = finished / _SETTINGS_FILE
        if self.folder.is_dir() or not settings.is_file():
            return
        if not self._is_same(read_json(settings)) or self._is_ahead_of(finished):
            return
        shutil.rmtree(self.md.folder, ignore_errors=True)
        shutil.copytree(finished, self.md.folder)
        self.publish()

    def _is_ahead_of(self, finished: Path) -> bool:
        """Whether an interrupted run has more labels than a finished one that ended early."""
        theirs = finished / JOURNAL_FILE
        if not theirs.is_file():
            return False
        begun, ours = self.md.folder / _SETTINGS_FILE, self.md.folder / JOURNAL_FILE
        same = begun.is_file() and self._is_same(read_json(begun))
        return same and ours.is_file() and ours.stat().st_size >= theirs.stat().st_size

    def publish(self) -> None:
        """Rename the folder to its final name, and remove what only an unfinished run needs.

        In this order, since a run that is interrupted here needs its journal.
        """
        publish(self.md.folder, self.folder)
        self.tidy()

    def tidy(self) -> None:
        """Remove what a finished run needs no more; one that has ended early may have to go on."""
        shutil.rmtree(self.folder / WORKER_FOLDER, ignore_errors=True)
        (self.folder / PROGRESS_FILE).unlink(missing_ok=True)
        journal = self.folder / JOURNAL_FILE
        if journal.is_file() and not self._has_ended_early():
            journal.unlink()


@dataclass(frozen=True)
class System:
    """What all runs of one reference share."""

    structure: Atoms
    """The initial configuration."""
    elements: tuple[str, ...]
    """Element of each atom type."""
    labeller: Labeller
    """The `[labeller]` table."""
    timestep: float
    """MD time step, fs."""
    method: str
    """Hash of the labeller's method."""
    lmp: str = "lmp"
    """The LAMMPS program."""

    def run(
        self,
        name: str,
        folder: Path,
        files: Mapping[str, str],
        *,
        main: str,
        steps: int | None,
        stride: int,
        pulled: tuple[int, int] | None = None,
        exploration: Exploration | None = None,
    ) -> Run:
        """Return a run of this system.

        Parameters
        ----------
        name : str
            For messages.
        folder : Path
            Folder of the finished run.
        files : mapping from str to str
            All files of the run by name.
        main : str
            The file name of the input.
        steps : int or None
            MD steps of the whole input, as far as they are known.
        stride : int
            Every stride-th step is kept as a frame.
        pulled : (int, int), optional
            Two atoms, from 1, whose distance is written to each frame.
        exploration : Exploration, optional
            What says when the run need not go on.
        """
        start = frame_key(self.structure, self.method)
        watched = WATCH_FILE in files
        decides = [name for name in files if name not in _NOT_COMPARED]
        text = "\n".join(files[name] for name in decides)
        md = LabellerMD(
            text=files[main],
            input_file=main,
            files=files,
            watched=watched,
            structure=self.structure,
            elements=self.elements,
            labeller=self.labeller,
            stride=stride,
            pulled=pulled,
            exploration=exploration,
            folder=folder.with_name(f".{folder.name}.partial"),
            lmp=self.lmp,
        )
        return Run(name, folder, {"start": start, "stride": stride, "input": text}, steps, md)


def seed_run(folder: Path, system: System, exploration: Exploration, seed: int) -> Run:
    """Return the run of an exploration with one seed, in ``folder/pull_SEED`` (`Quantity.runs`)."""
    files = exploration.files(
        system.structure,
        system.elements,
        seed=seed,
        timestep=system.timestep,
        potential=labeller_potential(system.elements),
        select=None,
        by_model=False,
    )
    kind = exploration.quantity.runs
    pulled = exploration.pull.atoms if isinstance(exploration, SpringPull) else None
    return system.run(
        f"{kind}, seed {seed}",
        folder / f"{kind}_{seed}",
        files,
        main=exploration.main,
        steps=exploration.steps,
        stride=TRAJECTORY_STRIDE,
        pulled=pulled,
        exploration=exploration,
    )


def data_run(folder: Path, system: System, initial: InitialData) -> Run:
    """Return the MD run of the initial data, in ``folder/data``."""
    text = md_input(
        potential=labeller_potential(system.elements),
        temperature=initial.temperature,
        damping_time=initial.damping_time,
        seed=initial.seed,
        timestep=system.timestep,
        equilibration_steps=initial.equilibration_steps,
        steps=initial.steps,
        pbc=system.structure.pbc,
    )
    files = {DATA_FILE: data_text(system.structure, system.elements), INPUT_FILE: text}
    name = f"MD at {initial.temperature:g} K"
    steps = initial.equilibration_steps + initial.steps
    return system.run(
        name, folder / "data", files, main=INPUT_FILE, steps=steps, stride=initial.stride
    )


def run_all(runs: Sequence[Run], *, workers: Workers, progress: Progress) -> None:
    """Do the runs that are not finished, several at a time.

    Parameters
    ----------
    runs : sequence of Run
    workers : Workers
        Where they are done.
    progress : Progress
        Receives one stage that counts the MD steps of all runs.

    Raises
    ------
    SimulationError
        If the labeller or LAMMPS fails; finished runs are kept.
    AlrareError
        If a folder holds a run of other settings.
    """
    open_runs = []
    for run in runs:
        if run.is_finished():
            run.tidy()
        else:
            open_runs.append(run)
    if not open_runs:
        return
    known = [run.steps for run in open_runs if run.steps is not None]
    total = sum(known) if len(known) == len(open_runs) else None
    with (
        progress.stage("reference", total=total) as stage,
        # here, since the processes of the pool are killed when the command is interrupted
        TemporaryDirectory(prefix="alrare-", dir=short_folder()) as sockets,
        task_pool(workers, "run") as submit,
    ):
        tasks: dict[Future[None], Run] = {}
        for run in open_runs:
            run.prepare()
            here = Path(sockets) if executor_of(workers).is_here("run") else None
            tasks[submit(run_md, replace(run.md, sockets=here))] = run
        finished, done_before = 0, dict.fromkeys((run.folder for run in open_runs), 0)
        while tasks:
            done, _ = wait(tasks, timeout=0.5, return_when=FIRST_EXCEPTION)
            for task in done:
                run = tasks.pop(task)
                result_of(task, f"reference {run.name}")
                run.publish()
                finished += done_before.pop(run.folder) if run.steps is None else run.steps
            for run in tasks.values():
                steps = steps_done(run.md.folder)
                done_before[run.folder] = steps if run.steps is None else min(steps, run.steps)
            under_way = sum(done_before[run.folder] for run in tasks.values())
            stage.update(finished + under_way)
