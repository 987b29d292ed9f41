"""A labeller in a process of its own, which may hang or die without harm to the main process.

The process is this module run as a program. It inherits only the import path, uses one thread and
no torch, works in a folder of its own, and leads a process group, so that every program it started
ends with it, also if it is killed or the main process is. Frames and labels are sent over a socket.

The folder is emptied before each label, so that a program that ends without output has no older
output that could be taken for it.
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
from ..electronic_state import configuration
from ..errors import AlrareError
from ..files import write_text
from ..frames import write_frames
from ..processes import end_group_with_this_process, start
from .failures import ATTEMPTS, LabelFailure
from .scratch import empty

_START = 120.0  # s, limit for importing and making the calculator
_LOG = "worker.log"


@dataclass(frozen=True)
class Label:
    """A finished label."""

    energy: float
    """eV."""
    forces: NDArray[np.float64]
    """(N, 3), eV/Å."""
    seconds: float
    """Wall time."""
    stress: NDArray[np.float64] | None = None
    """(6,), eV/Å³, as `frames.labelled` takes it; None of a molecule, or if the labeller gives
    none."""


class LabelWorker:
    """One labeller process, started when first needed, and again after it died.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Working folder, used by this worker only.
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
            Of kind timed_out after the time limit, or crashed if the process died; the next call
            then starts a new process. Other kinds as in `evaluate_frame`.
        """
        begin = time.perf_counter()
        if self._process is not None and self._process.poll() is not None:
            self._lose()  # killed while it had nothing to do: not this frame's fault
        if self._connection is None:
            self._start()
        answer = self._ask(configuration(atoms), self._labeller.timeout)
        if isinstance(answer, LabelFailure):
            if answer.kind == "timed_out":  # programs that it started may still run
                self._lose()
            raise answer
        energy, forces, stress = answer
        seconds = time.perf_counter() - begin
        return Label(energy=energy, forces=forces, seconds=seconds, stress=stress)

    def evaluate_again(self, atoms: Atoms) -> Label:
        """Label one frame as `evaluate` does; try again after failures that may pass."""
        attempt = 1
        while True:
            try:
                return self.evaluate(atoms)
            except LabelFailure as failure:
                if attempt >= ATTEMPTS.get(failure.kind, 0):
                    raise
                attempt += 1

    def end(self) -> None:
        """End the process and everything it started, permanently; may be called from any thread."""
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
        with (self.folder / _LOG).open("wb") as log, theirs:
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
            said = _last_line(self.folder / _LOG)
            failure = LabelFailure("crashed", f"the labeller process died ({_name(status)}){said}")
        self._lose()
        raise failure


def keep_failed(worker_folder: Path, target: Path, *, frame: Atoms, reason: str) -> None:
    """Copy the inputs and outputs of a failed label to a folder that is kept.

    Parameters
    ----------
    worker_folder : Path
        The worker's folder.
    target : Path
        Replaced as a whole, since another process may keep the same label at the same time.
    frame : Atoms
        Written to `frame.extxyz`.
    reason : str
        Written to `reason.txt`.

    Raises
    ------
    AlrareError
        If the disk refuses.
    """
    partial = target.with_name(f".{target.name}.{worker_folder.parent.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(worker_folder, partial, ignore=shutil.ignore_patterns("engine"))
        write_frames(partial / "frame.extxyz", [frame])
        write_text(partial / "reason.txt", f"{reason}\n")
        shutil.rmtree(target, ignore_errors=True)
        with suppress(FileExistsError):
            partial.rename(target)
    except OSError as error:
        raise AlrareError(
            f"{target}: a failed label could not be kept ({error.strerror or error}); free space"
            " or fix the permissions, then run the same command again: nothing finished is lost"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _last_line(log: Path) -> str:
    """Return what a process printed last before it died, for a message; empty if nothing."""
    try:
        lines = log.read_bytes()[-2000:].decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return f"; it printed last: {said[-1]}" if said else ""


def _serve(connection: "Connection[Any, Any]") -> None:
    from .calculators import check_folder, evaluate_frame, evaluate_stress, make_calculator, reset
    from .charge_and_spin import set_state

    labeller: Labeller = connection.recv()
    folder = Path.cwd()
    try:
        calculator = make_calculator(labeller, folder)
        check_folder(calculator, folder)
    except LabelFailure as failure:
        connection.send(failure)
        return
    connection.send(None)
    made = {path for path in folder.rglob("*") if path.is_file()}
    while True:
        frame: Atoms = connection.recv()
        os.chdir(folder)  # the calculator may have gone elsewhere
        if labeller.program == "ase":  # DFTB+ does so itself, and its engine must keep its files
            empty(folder, keep=made)
        _empty_log()
        reset(calculator)
        try:
            if labeller.program == "ase":
                set_state(calculator, labeller.arguments, frame)
            label = evaluate_frame(calculator, frame, min_distance=labeller.min_distance)
            answer: Any = *label, evaluate_stress(calculator, frame)
        except LabelFailure as failure:
            answer = failure
        connection.send(answer)


def _empty_log() -> None:
    """Let the log hold the output of the next label only; it would grow without limit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.ftruncate(sys.stdout.fileno(), 0)
    os.lseek(sys.stdout.fileno(), 0, os.SEEK_SET)


if __name__ == "__main__":
    end_group_with_this_process()
    with suppress(EOFError, ConnectionError):  # the main process has closed the connection
        _serve(Connection(int(sys.argv[1])))
