"""MD with the forces of the labeller: LAMMPS with `pair_style labeller` and a label server.

LAMMPS is the program of its own that a model's runs use. The labeller runs in another process,
which may hang or die without harm. All energies and forces are written to a journal, from which an
interrupted run is resumed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from ..config import Labeller
from ..electronic_state import configuration
from ..errors import AlrareError, SimulationError
from ..files import write_text
from ..frames import labelled, write_frames
from ..labelling.failures import FINAL, LabelFailure, advice
from ..labelling.worker import Label, LabelWorker
from .event import find_event
from .exploration import Exploration
from .journal import Journal
from .label_server import SOCKET_VARIABLE, LabelServer
from .lammps_input import DATA_FILE, DUMP_FILE, INPUT_FILE, write_data_file
from .lammps_run import lammps_command, no_lammps, run_lammps
from .observables import read_trajectory

TRAJECTORY_FILE = "trajectory.extxyz"
JOURNAL_FILE = "labels.journal"
"""File with the labeller's energies and forces so far: the checkpoint of an unfinished run."""
PROGRESS_FILE = "progress"
"""File with the number of steps done, for the main process; read it with `steps_done`."""
WORKER_FOLDER = "labeller"
"""Folder of the labeller's process."""

_REPORT_EVERY = 0.3  # s
_DECIDED_EVERY = 50  # MD steps
_FORCE_TOLERANCE = 0.01  # eV/Å, of the relaxed structure
_RELAX_STEPS = 1000


@dataclass(frozen=True)
class LabellerMD:
    """An MD run with the forces of the labeller."""

    text: str
    """LAMMPS input with the `labeller_potential`; frames after its last `reset_timestep` count."""
    structure: Atoms
    """The initial configuration."""
    elements: tuple[str, ...]
    """Element of each atom type."""
    labeller: Labeller
    """The `[labeller]` table."""
    stride: int
    """Every stride-th step is kept, the first at step `stride`."""
    pulled: tuple[int, int] | None
    """Atoms, from 1, whose distance is written to each frame; None for no distance."""
    folder: Path
    """An existing folder, which receives all files."""
    lmp: str = "lmp"
    """The LAMMPS program."""
    sockets: Path | None = None
    """As of `LabelServer`."""
    input_file: str = INPUT_FILE
    """File name of the input."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files beside the input, by name; by default the structure is `molecule.data`."""
    exploration: Exploration | None = None
    """What says when the run need not go on; None: the input alone does."""
    watched: bool = False
    """Whether only steps count that the input dumps too, to `trajectory.lammpstrj`."""


def run_md(task: LabellerMD) -> None:
    """Run an input to its end; write the labelled frames to `trajectory.extxyz`.

    A run that was interrupted or has ended early in the same folder is resumed and gives the same
    result.

    Raises
    ------
    SimulationError
        If a step could not be labelled, or LAMMPS fails.
    """
    for name, text in task.files.items():
        write_text(task.folder / name, text)
    if not task.files:
        write_data_file(task.folder / DATA_FILE, task.structure, task.elements)
    write_text(task.folder / task.input_file, task.text)
    if task.exploration is not None:  # that of an attempt before would be looked at
        (task.folder / task.exploration.quantity.table).unlink(missing_ok=True)
    worker = LabelWorker(task.labeller, task.folder / WORKER_FOLDER)
    periodic = bool(task.structure.pbc.any())
    with (
        Journal(task.folder / JOURNAL_FILE, len(task.structure), periodic=periodic) as journal,
        (task.folder / PROGRESS_FILE).open("w") as report,
    ):
        labels = _Labels(task, worker, journal, report)
        with LabelServer(
            task.structure, labels.label, has_ended=lambda: labels.ended, sockets=task.sockets
        ) as server:
            try:
                _run_lammps(task, server, labels)
            finally:
                worker.end()
    write_frames(task.folder / TRAJECTORY_FILE, _watched(task, labels.frames))


def _watched(task: LabellerMD, frames: Sequence[Atoms]) -> list[Atoms]:
    """Return the frames of the steps from which on the input was watched."""
    if not task.watched:
        return list(frames)
    dump = task.folder / DUMP_FILE
    steps = {frame.info["step"] for frame in read_trajectory(dump)}
    dump.unlink()
    return [frame for frame in frames if frame.info["step"] in steps]


def _run_lammps(task: LabellerMD, server: LabelServer, labels: "_Labels") -> None:
    program = lammps_command(task.lmp, 1)
    try:
        run_lammps(
            [*program, "-var", SOCKET_VARIABLE, str(server.socket)],
            folder=task.folder,
            input_file=task.input_file,
        )
    except SimulationError:
        if server.failure is None:
            raise
    failure = server.failure
    if isinstance(failure, AlrareError):
        raise SimulationError(
            f"the labeller failed after {max(labels.steps, 0)} steps: {failure};"
            f" {_advice(failure, task.labeller)}"
        ) from failure
    if failure is not None:
        raise failure
    if labels.steps < 0:
        raise no_lammps(f"{program[0]} asked for no label in {task.folder}", task.folder)


def _advice(failure: AlrareError, labeller: Labeller) -> str:
    if not isinstance(failure, LabelFailure):
        return "run the same command again to go on"
    if failure.kind in FINAL:
        return f"{advice(failure.kind, labeller.program)}; or use another seed"
    return advice(failure.kind, labeller.program)


def relax(structure: Atoms, labeller: Labeller, folder: Path) -> Atoms:
    """Relax a structure with the labeller until all forces are below 0.01 eV/Å; return it labelled.

    A search that was interrupted in the same folder takes its labels from there as far as they go.

    Parameters
    ----------
    structure : Atoms
    labeller : Labeller
    folder : Path
        Made if missing; that of an interrupted search must have the same structure and labeller.

    Raises
    ------
    SimulationError
        If the labeller fails or the search does not converge.
    """
    folder.mkdir(parents=True, exist_ok=True)
    worker = LabelWorker(labeller, folder / WORKER_FOLDER)
    atoms = configuration(structure)
    periodic = bool(structure.pbc.any())
    try:
        with (
            Journal(folder / JOURNAL_FILE, len(structure), periodic=periodic) as journal,
            BFGS(atoms, logfile=None) as search,
        ):
            atoms.calc = _Remote(worker, journal)
            converged = search.run(fmax=_FORCE_TOLERANCE, steps=_RELAX_STEPS)
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            stress = atoms.calc.results.get("stress")
    except LabelFailure as error:
        raise SimulationError(
            f"structure: the labeller could not relax it: {error};"
            f" {advice(error.kind, labeller.program)}"
        ) from error
    finally:
        worker.end()
    if not converged:
        raise SimulationError(
            f"structure: not relaxed in {_RELAX_STEPS} steps; give one closer to a minimum"
        )
    return labelled(atoms, energy, forces, stress)


class _Remote(Calculator):
    """The labeller's process as an ASE calculator, for ASE's optimizers."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (declared so by ASE)

    def __init__(self, worker: LabelWorker, journal: Journal) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._worker, self._journal = worker, journal

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        label = _label(self.atoms, self._journal, self._worker)
        self.results = {"energy": label.energy, "forces": label.forces}
        if label.stress is not None:
            self.results["stress"] = label.stress


def _label(frame: Atoms, journal: Journal, worker: LabelWorker) -> Label:
    """Return the label of the next step: from the journal, or else from the labeller."""
    known = journal.replay(frame)
    if known is not None:
        return Label(known.energy, known.forces, seconds=0.0, stress=known.stress)
    label = worker.evaluate_again(frame)
    journal.append(frame, label.energy, label.forces, label.stress)
    return label


def steps_done(folder: Path) -> int:
    """Return the number of steps that the run in a folder has done, 0 before it starts."""
    try:
        return int((folder / PROGRESS_FILE).read_text())
    except (OSError, ValueError):
        return 0


class _Labels:
    """Where the label server of a run has its labels from: the journal, then the labeller."""

    def __init__(
        self, task: LabellerMD, worker: LabelWorker, journal: Journal, report: TextIO
    ) -> None:
        self._task = task
        self._worker = worker
        self._journal = journal
        self._report = report
        self._reported = 0.0
        self._last: int | None = None  # timestep of the label before
        self.steps = -1
        """Number of MD steps of all runs of the input; -1 before the first label."""
        self.frames: list[Atoms] = []
        """Labelled frames of the steps that are kept."""
        self._event_step: int | None = None
        self.ended = False
        """Whether the run need not go on."""

    def label(self, frame: Atoms, step: int) -> Label:
        """Return the label of a configuration; keep its frame if it is one of those."""
        label = _label(frame, self._journal, self._worker)
        self._count(step)
        if step > 0 and step % self._task.stride == 0:
            self._keep(frame, step, label)
            self._watch(step)
        self._tell()
        return label

    def _count(self, step: int) -> None:
        """Count a step; a run begins with a label of the step where the run before ended."""
        if self._last is None or step < self._last or step == 0:  # reset_timestep
            self.frames.clear()
            self._event_step = None
        self.steps += self._last is None or step > self._last
        self._last = step

    def _keep(self, frame: Atoms, step: int, label: Label) -> None:
        frame.info["step"] = step
        if self._task.pulled is not None:
            first, second = self._task.pulled
            distance = np.linalg.norm(frame.positions[second - 1] - frame.positions[first - 1])
            frame.info["distance"] = float(distance)
        if self.frames and self.frames[-1].info["step"] == step:  # the next run begins with it
            self.frames.pop()
        self.frames.append(labelled(frame, label.energy, label.forces, label.stress))

    def _watch(self, step: int) -> None:
        """Look whether what the run observes is decided."""
        exploration = self._task.exploration
        if exploration is None:
            return
        table = self._task.folder / exploration.quantity.table
        if self._event_step is None:
            if find_event([self.frames[0], self.frames[-1]], exploration.atoms) is not None:
                self._event_step = step
        elif step % _DECIDED_EVERY == 0 and table.is_file():
            self.ended = exploration.is_decided(table, self._event_step)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._reported > _REPORT_EVERY:
            self._reported = now
            self._report.seek(0)
            self._report.write(f"{max(self.steps, 0):<12d}")
            self._report.flush()
