"""A server that labels the configurations of a LAMMPS run, for `pair_style labeller`."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ase import Atoms

from ..config import Labeller
from ..electronic_state import configuration
from ..errors import AlrareError, SimulationError
from ..files import PathLike
from ..labelling.worker import Label, LabelWorker
from .label_protocol import Begin, Configuration, Peer, ProtocolError

SOCKET_VARIABLE = "labeller"
"""Variable of an input that holds the path of the socket: `lmp -var labeller PATH`."""


def labeller_potential(elements: tuple[str, ...]) -> str:
    """Return the commands that let a label server compute the forces of an input.

    Parameters
    ----------
    elements : tuple of str
        Element of each atom type.
    """
    return f"pair_style labeller ${{{SOCKET_VARIABLE}}}\npair_coeff * * {' '.join(elements)}"


class LabelServer:
    """Serves labels over a Unix socket, to one LAMMPS after the other; use it in a `with` block.

    Parameters
    ----------
    structure : Atoms
        The atoms, in the order of their IDs: elements, pbc, charge and multiplicity. LAMMPS must
        have the same.
    label : callable
        Labels a configuration at a timestep of LAMMPS. It is called in a thread of the server, one
        call at a time. If it raises an exception, LAMMPS ends with its message as an error.
    has_ended : callable, optional
        Asked after each label: whether the run is to end after that step.
    sockets : Path, optional
        Folder in which the socket gets a folder of its own, as from `short_folder`, which is the
        default.
    """

    def __init__(
        self,
        structure: Atoms,
        label: Callable[[Atoms, int], Label],
        *,
        has_ended: Callable[[], bool] = lambda: False,
        sockets: Path | None = None,
    ) -> None:
        self._structure = configuration(structure)
        self._has_ended = has_ended
        self._sockets = sockets or short_folder()
        self._label = label
        self._listener = socket.socket(socket.AF_UNIX)
        self._connection: socket.socket | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="label server")
        self.failure: BaseException | None = None
        """What ended the run, if not LAMMPS itself."""
        self.socket = Path()
        """The path of the socket."""

    def __enter__(self) -> "LabelServer":
        self.socket = Path(tempfile.mkdtemp(prefix="alrare-", dir=self._sockets)) / "labels"
        self._listener.bind(str(self.socket))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        for end in (self._listener, self._connection):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._listener.close()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _serve(self) -> None:
        while not self._closed:
            try:
                self._connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._connection:
                self._answer(Peer(self._connection))

    def _answer(self, peer: Peer) -> None:
        """Answer the requests of one LAMMPS until it or a failure ends them."""
        try:
            while (request := peer.receive()) is not None:
                if isinstance(request, Begin):
                    self._check(request)
                    peer.begin()
                else:
                    label = self._label(self._frame(request), request.step)
                    peer.answer(label.energy, label.forces, label.stress, last=self._has_ended())
        except OSError:  # LAMMPS has ended
            return
        except BaseException as error:
            if not self._closed:
                self.failure = error
            known = isinstance(error, AlrareError | ProtocolError)
            with suppress(OSError):
                peer.refuse(str(error) if known else f"{type(error).__name__}: {error}")

    def _check(self, request: Begin) -> None:
        """Refuse atoms that are not those of the structure."""
        here = tuple(self._structure.get_chemical_symbols())
        for number, (ours, theirs) in enumerate(zip(here, request.symbols, strict=False), start=1):
            if ours != theirs:
                raise SimulationError(
                    f"atom {number}: expected {ours}, as in the structure, got {theirs}; are the"
                    " elements of pair_coeff in the order of the atom types?"
                )
        if len(here) != len(request.symbols):
            raise SimulationError(
                f"expected the {len(here)} atoms of the structure, got {len(request.symbols)}"
            )
        if request.pbc != tuple(self._structure.pbc.tolist()):
            raise SimulationError(
                f"expected the periodic directions of the structure, {_named(self._structure.pbc)},"
                f" got {_named(request.pbc)}; see the command `boundary`"
            )

    def _frame(self, request: Configuration) -> Atoms:
        frame: Atoms = self._structure.copy()
        if len(request.positions) != len(frame):
            raise ProtocolError(f"expected {len(frame)} atoms, got {len(request.positions)}")
        frame.positions = request.positions
        if frame.pbc.any():
            frame.cell = request.cell
        return frame


@contextmanager
def serve_labels(structure: Atoms, *, labeller: Labeller, folder: PathLike) -> Iterator[Path]:
    """Let `pair_style labeller` of a LAMMPS input of one's own take its labels from a labeller.

    ``with serve_labels(...) as socket:`` serves as long as the block runs: start `lmp` in it.

    Parameters
    ----------
    structure : Atoms
        The atoms of the input, in the order of their IDs: elements, pbc, charge and multiplicity.
    labeller : Labeller
        The electronic-structure method, as in `[labeller]` of al.toml.
    folder : Path or str
        Folder of the labeller's files; it is emptied by every label.

    Yields
    ------
    Path
        The socket, for `pair_style labeller SOCKET`.
    """
    worker = LabelWorker(labeller, Path(folder).absolute())
    with LabelServer(structure, lambda frame, _: worker.evaluate_again(frame)) as server:
        try:
            yield server.socket
        finally:
            worker.end()


def _named(pbc: Iterable[bool]) -> str:
    return "".join(axis for axis, flag in zip("xyz", pbc, strict=True) if flag) or "none"


def short_folder() -> Path:
    """Return the folder of temporary files, or /tmp if that has a long path.

    The path of a Unix socket has at most 107 characters; a run folder may be deeper.
    """
    place = tempfile.gettempdir()
    return Path(place if len(place) < 70 else "/tmp")
