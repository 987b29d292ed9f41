"""DFTB+ kept running: its library in a process of its own, or the program behind its socket.

An engine computes the same as `run.run_once`, in less time. It serves one sequence of elements, of
one charge, at a time, and is used only after its first label has agreed with that of `run_once`. If
an engine is lost, for whatever reason, `run_once` computes the label and classifies a failure.
"""

import contextlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from ...config import Labeller
from ...electronic_state import state_of
from ...processes import start
from ...units import BOHR, HARTREE
from ..failures import LabelFailure
from .run import PROGRAM, read_stress, run_once, voigt, write_input

Label = tuple[float, NDArray[np.float64], NDArray[np.float64] | None]
"""Energy, forces, and the stress of a cell."""

ENERGY_TOLERANCE = 1e-5
"""eV; an engine whose first label differs by more than this from `run_once` is not used."""
FORCE_TOLERANCE = 1e-4
"""eV/Å; the same for every force component."""
STRESS_TOLERANCE = 1e-4
"""eV; the same for every component of the stress times the volume."""

_MALLOC = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), "1000000000")
# Otherwise glibc returns large arrays to the system each time: a tenth of a small label's time.
_START = 60.0  # s, limit for the start of an engine
_LOSSES = 3  # in a row, after which the next engine is taken
_HEADER = 12  # bytes of a message of i-PI
_MANY_STEPS = 1_000_000_000


class EngineLost(Exception):  # noqa: N818  (an event, not an error of the caller)
    """The engine did not start, or it ended; its label must be computed otherwise."""


class DftbPlus(Calculator):
    """DFTB+ by the fastest engine that works; every label as if from a process of its own.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Working folder, used by this calculator only: `call/` keeps the last run of `run_once`,
        `engine/` belongs to the engine.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (declared so by ASE)

    def __init__(self, *, labeller: Labeller, folder: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._labeller = labeller
        self._folder = folder
        self._engines = list(_engines(labeller.engine))
        self._engine: Engine | None = None
        self._losses = 0

    @property
    def engine(self) -> str:
        """Name of the engine in use; `process` if there is none."""
        return "process" if self._engine is None else type(self._engine).name

    def close(self) -> None:
        """End the engine; the next label starts a new one."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute one label; raises `LabelFailure` unless it is complete."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        frame = self.atoms
        assert frame is not None
        energy, forces, stress = self._fast(frame) or self._run_once(frame)
        self.results = {"energy": energy, "forces": forces}
        if stress is not None:
            self.results["stress"] = stress

    def _run_once(self, frame: Atoms) -> Label:
        folder = self._folder / "call"
        label = run_once(self._labeller, frame, folder)
        return *label, read_stress(folder) if frame.pbc.all() else None

    def _fast(self, frame: Atoms) -> Label | None:
        """Return the engine's label, or None if `run_once` has to compute it."""
        if self._engine is not None and not self._engine.fits(frame):
            self.close()
        try:
            if self._engine is None and self._engines:
                return self._start(frame)
            label = self._engine.label(frame, self._labeller.timeout) if self._engine else None
        except EngineLost:
            self.close()
            self._losses += 1
            if self._losses >= _LOSSES:
                self._next_engine()
            return None
        self._losses = 0
        return label

    def _start(self, frame: Atoms) -> Label:
        """Start an engine on a frame, and compare its first label with that of `run_once`."""
        folder = self._folder / "engine"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._engine = self._engines[0](self._labeller, frame, folder)
        label = self._engine.label(frame, self._labeller.timeout)
        known = self._run_once(frame)
        if _agree(label, known, frame):
            return label
        self.close()
        self._next_engine()
        return known

    def _next_engine(self) -> None:
        self._engines = self._engines[1:]
        self._losses = 0


class Engine:
    """A process that labels frames of one sequence of elements, over a socket.

    Parameters
    ----------
    frame : Atoms
        The first frame.
    process : Popen
        Not the leader of a process group: it ends when the group of the worker is killed.
    connection : socket
        To the process.
    """

    name = ""

    def __init__(
        self, frame: Atoms, process: subprocess.Popen[bytes], connection: socket.socket
    ) -> None:
        self._numbers = frame.numbers.copy()
        self._pbc = frame.pbc.copy()
        self._state = state_of(frame)
        self._connection = connection
        self.close: Callable[[], object] = weakref.finalize(self, _end, process, connection)
        """End the process; nothing happens when it has ended."""

    def fits(self, frame: Atoms) -> bool:
        """Whether this engine can label a frame."""
        return (
            np.array_equal(frame.numbers, self._numbers)
            and bool((frame.pbc == self._pbc).all())
            and state_of(frame) == self._state
        )

    def label(self, frame: Atoms, timeout: float) -> Label:
        """Label a frame that fits.

        Raises
        ------
        EngineLost
            If the process ended, because of this frame or for another reason.
        LabelFailure
            Of kind timed_out; the engine is closed.
        """
        self._connection.settimeout(timeout)
        try:
            energy, forces, stress = self._exchange(frame)
        except TimeoutError as error:
            self.close()
            raise LabelFailure("timed_out", f"DFTB+ did not answer in {timeout:g} s") from error
        except OSError as error:
            raise EngineLost(str(error)) from error
        if not np.isfinite([energy, *forces.flat, *(() if stress is None else stress)]).all():
            raise EngineLost("a result is not finite")
        return energy, forces, stress

    def _exchange(self, frame: Atoms) -> Label:
        raise NotImplementedError

    def _receive(self, size: int) -> bytes:
        parts = []
        while size > 0:
            parts.append(self._connection.recv(size))
            if not parts[-1]:
                raise ConnectionResetError("the process closed its connection")
            size -= len(parts[-1])
        return b"".join(parts)


class LibraryEngine(Engine):
    """libdftbplus.so in a process of its own: see `dftb_server`."""

    name = "library"

    def __init__(self, labeller: Labeller, frame: Atoms, folder: Path) -> None:
        library = find_library()
        assert library is not None
        write_input(labeller, frame, folder, driver="{}", results=False)
        server = Path(__file__).with_name("server.py")
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", str(server), str(library), str(theirs.fileno())]
            process = _start(command, folder, (theirs.fileno(),))
        super().__init__(frame, process, ours)
        ours.settimeout(_START)
        with _lost_on_error():
            self._receive(len(b"ready"))

    def _exchange(self, frame: Atoms) -> Label:
        question = np.vstack([frame.positions, *([frame.cell.array] if self._pbc.all() else [])])
        self._connection.sendall((question / BOHR).tobytes())
        n_forces, n_stress = 3 * len(frame), 9 * int(self._pbc.all())
        answer = np.frombuffer(self._receive(8 * (1 + n_forces + n_stress)))
        energy, gradients, stress = np.split(answer, [1, 1 + n_forces])
        return (
            float(energy[0]) * HARTREE,
            gradients.reshape(-1, 3) * (-HARTREE / BOHR),
            voigt(stress * -(HARTREE / BOHR**3)) if n_stress else None,
        )


class SocketEngine(Engine):
    """The program `dftb+` behind its i-PI socket.

    Each label starts from the charges of the label before and depends on it by less than the SCC
    tolerance, if the self-consistency has a single solution.
    """

    name = "socket"

    def __init__(self, labeller: Labeller, frame: Atoms, folder: Path) -> None:
        # The path of a Unix socket is limited to about 100 characters; a run folder may be deeper.
        place = tempfile.mkdtemp(prefix="alrare-")
        try:
            driver = (
                f'Socket {{\n  Prefix = "{place}/"\n  File = "s"\n  Protocol = i-PI {{}}\n'
                f"  MaxSteps = {_MANY_STEPS}\n  Verbosity = 0\n}}"
            )
            write_input(labeller, frame, folder, driver=driver, results=False)
            with socket.socket(socket.AF_UNIX) as listener, _lost_on_error():
                listener.bind(f"{place}/s")
                listener.listen(1)
                listener.settimeout(0.1)
                process = _start([PROGRAM], folder, ())
                connection = _accept(listener, process)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        super().__init__(frame, process, connection)

    def _exchange(self, frame: Atoms) -> Label:
        cell = (frame.cell.array if self._pbc.all() else 1000 * np.eye(3)) / BOHR
        n_atoms = len(frame)
        self._connection.sendall(
            b"POSDATA".ljust(_HEADER)
            + cell.T.tobytes()
            + np.linalg.inv(cell).T.tobytes()
            + struct.pack("=i", n_atoms)
            + (frame.positions / BOHR).tobytes()
            + b"GETFORCE".ljust(_HEADER)
        )
        header = self._receive(_HEADER)
        if header.strip() != b"FORCEREADY":
            raise ConnectionError(f"expected FORCEREADY, got {header!r}")
        energy, _ = struct.unpack("=di", self._receive(12))
        forces = np.frombuffer(self._receive(24 * n_atoms)).reshape(-1, 3)
        virial = np.frombuffer(self._receive(9 * 8))
        self._receive(4)  # the length of an empty string
        stress = virial * -HARTREE / frame.get_volume() if self._pbc.all() else None
        return (
            energy * HARTREE,
            forces * (HARTREE / BOHR),
            None if stress is None else voigt(stress),
        )


def _agree(one: Label, other: Label, frame: Atoms) -> bool:
    """Whether the labels of an engine and of `run_once` are the same."""
    if abs(one[0] - other[0]) > ENERGY_TOLERANCE or _apart(one[1], other[1]) > FORCE_TOLERANCE:
        return False
    if one[2] is None or other[2] is None:
        return True
    return _apart(one[2], other[2]) * float(frame.get_volume()) <= STRESS_TOLERANCE


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.abs(one - other).max())


def find_library() -> Path | None:
    """Return the shared library of the `dftb+` on PATH, or None."""
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    prefix = Path(program).resolve().parent.parent
    for folder in ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"):
        for suffix in ("so", "dylib"):
            found = prefix / folder / f"libdftbplus.{suffix}"
            if found.is_file():
                return found
    return None


def _engines(setting: str) -> Iterator[Callable[[Labeller, Atoms, Path], Engine]]:
    if setting == "library" and find_library() is None:
        raise LabelFailure(
            "rejected",
            "engine = 'library': no libdftbplus beside the `dftb+` on PATH; install one with it"
            " (conda-forge's has it), or set engine = 'auto' ([labeller])",
        )
    if setting in ("auto", "library") and find_library() is not None:
        yield LibraryEngine
    if setting in ("auto", "socket"):
        yield SocketEngine


def _start(
    command: Sequence[str], folder: Path, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    with (folder / "stderr").open("wb") as errors:
        try:
            return start(
                command,
                folder=folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                environment=_MALLOC,
                pass_fds=descriptors,
            )
        except OSError as error:
            raise EngineLost(str(error)) from error


def _accept(listener: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
    for _ in range(round(_START / 0.1)):
        try:
            return listener.accept()[0]
        except TimeoutError:
            if process.poll() is not None:
                raise EngineLost("the program ended before it connected") from None
    process.kill()
    process.wait()
    raise EngineLost("the program did not connect")


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.send_signal(signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _lost_on_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineLost(str(error)) from error
