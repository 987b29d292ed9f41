"""A labeller in a process of its own, which may hang or die without loss.

The process is this module run as a program: it inherits nothing of the driver but its import
path, holds one thread and no torch, works in a scratch folder of its own, and leads a process
group, so that whatever program it started ends with it. Frames go in and labels come out over a
socket.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import Labeller
from ..errors import AlrareError
from ..processes import start
from .failures import LabelFailure

_START = 120.0  # s that importing and making the calculator may take


@dataclass(frozen=True)
class Label:
    """A finished label."""

    energy: float
    """eV."""
    forces: NDArray[np.float64]
    """(N, 3), eV/Å."""
    seconds: float
    """Wall time."""


class LabelWorker:
    """One labeller process, started when first needed and again after it was lost.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Scratch of this worker alone.
    """

    def __init__(self, labeller: Labeller, folder: Path) -> None:
        self._labeller = labeller
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._ended = False

    def evaluate(self, atoms: Atoms) -> Label:
        """Label one frame within the labeller's time limit.

        Raises
        ------
        LabelFailure
            Of kind timed_out when the time limit passed, crashed when the process died; either
            way the next call starts a new process. Otherwise as `evaluate_frame`.
        """
        begin = time.perf_counter()
        if self._connection is None:
            self._start()
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        answer = self._ask(frame, self._labeller.timeout)
        if isinstance(answer, LabelFailure):
            if answer.kind == "timed_out":  # the program ended, but perhaps not what it started
                self._lose()
            raise answer
        energy, forces = answer
        return Label(energy=energy, forces=forces, seconds=time.perf_counter() - begin)

    def end(self) -> None:
        """End the process and all that it started, for good; safe from any thread."""
        self._ended = True
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _lose(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _start(self) -> None:
        if self._ended:
            raise LabelFailure("crashed", "the labeller process was ended")
        self.folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with (self.folder / "worker.log").open("wb") as log, theirs:
            self._process = start(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                folder=self.folder,
                stdout=log,
                stderr=log,
                environment={"PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                leads_group=True,
            )
        self._connection = Connection(ours.detach())
        answer = self._ask(self._labeller, _START)
        if isinstance(answer, LabelFailure):
            self._lose()
            raise answer

    def _ask(self, question: Any, seconds: float) -> Any:
        assert self._connection is not None
        try:
            self._connection.send(question)
            if self._connection.poll(seconds):
                return self._connection.recv()
            failure = LabelFailure("timed_out", f"no answer in {seconds:g} s")
        except (EOFError, OSError):
            assert self._process is not None
            try:
                status = self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                status = -signal.SIGKILL
            failure = LabelFailure("crashed", f"the labeller process died ({_name(status)})")
        self._lose()
        raise failure


def keep_failed(worker_folder: Path, target: Path) -> None:
    """Copy the scratch of a failed label, its inputs and outputs, to a folder that stays.

    Raises
    ------
    AlrareError
        If the disk refuses.
    """
    try:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(worker_folder, target, ignore=shutil.ignore_patterns("engine"))
    except OSError as error:
        raise AlrareError(
            f"{target}: a failed label could not be kept ({error.strerror or error}); free space"
            " or fix the permissions, then run the same command again: nothing finished is lost"
        ) from error


def _name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _serve(connection: "Connection[Any, Any]") -> None:
    from .calculators import evaluate_frame, make_calculator

    labeller: Labeller = connection.recv()
    try:
        calculator = make_calculator(labeller, Path.cwd())
    except LabelFailure as failure:
        connection.send(failure)
        return
    connection.send(None)
    while True:
        frame: Atoms = connection.recv()
        calculator.reset()  # with its wave function: a label depends on nothing but its frame
        try:
            answer: Any = evaluate_frame(calculator, frame, min_distance=labeller.min_distance)
        except LabelFailure as failure:
            answer = failure
        connection.send(answer)


if __name__ == "__main__":
    with suppress(EOFError, ConnectionError):  # the driver is done with this worker
        _serve(Connection(int(sys.argv[1])))
