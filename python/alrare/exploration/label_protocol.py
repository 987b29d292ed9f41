"""What `pair_style labeller` and a label server say to each other over a Unix stream socket.

The server's side of `src/pair_labeller/label_protocol.h`, which describes every byte. Numbers are
in the byte order of the machine; units are eV and Å.
"""

import socket
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAGIC = b"ALRLABL2"
"""First bytes of every request; the last is the version of the protocol."""
_BEGIN, _LABEL = 1, 2
_OK, _FAILED, _LAST = 0, 1, 2
_REQUEST = struct.Struct("=8siiii")
_LABEL_HEAD = struct.Struct("=q72s")
_ANSWER = struct.Struct("=ii")
_SYMBOL = 4  # bytes of an element's symbol
_MOST_ATOMS = 33_000_000


class ProtocolError(Exception):
    """The other side said something that is no request."""


@dataclass(frozen=True)
class Begin:
    """The first request of a connection: which atoms there are."""

    symbols: tuple[str, ...]
    """(N) elements, in the order of the atom IDs."""
    pbc: tuple[bool, bool, bool]
    """Which directions are periodic."""


@dataclass(frozen=True)
class Configuration:
    """A request for a label."""

    step: int
    """LAMMPS's timestep."""
    positions: NDArray[np.float64]
    """(N, 3), Å; not wrapped into the cell."""
    cell: NDArray[np.float64]
    """(3, 3), Å; rows are vectors. It means nothing where no direction is periodic."""


class Peer:
    """The LAMMPS at the other end of a connection.

    Every method raises ConnectionError or OSError if it is gone.

    Parameters
    ----------
    connection : socket
        As from `accept`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> Begin | Configuration | None:
        """Wait for a request; None when the other side has closed the connection.

        Raises
        ------
        ProtocolError
            If it is none.
        """
        try:
            head = self._read(_REQUEST.size)
        except ConnectionError:
            return None
        magic, kind, n_atoms, periodic, _ = _REQUEST.unpack(head)
        if magic != MAGIC or kind not in (_BEGIN, _LABEL) or not 0 < n_atoms <= _MOST_ATOMS:
            raise ProtocolError(
                f"expected a request of the label protocol {MAGIC.decode()}, got"
                f" {magic.decode(errors='replace')!r}, kind {kind}, {n_atoms} atoms; pair_style"
                " labeller and the label server must be of one alrare"
            )
        if kind == _BEGIN:
            text = self._read(_SYMBOL * n_atoms).decode("ascii", errors="replace")
            symbols = (text[at : at + _SYMBOL].rstrip("\0") for at in range(0, len(text), _SYMBOL))
            x, y, z = (bool(periodic >> axis & 1) for axis in range(3))
            return Begin(tuple(symbols), (x, y, z))
        step, cell = _LABEL_HEAD.unpack(self._read(_LABEL_HEAD.size))
        positions = np.frombuffer(self._read(24 * n_atoms)).reshape(-1, 3)
        return Configuration(step, positions, np.frombuffer(cell).reshape(3, 3))

    def begin(self) -> None:
        """Answer a `Begin`: labels may follow."""
        self._send(_OK, b"")

    def answer(
        self,
        energy: float,
        forces: NDArray[np.float64],
        stress: NDArray[np.float64] | None,
        *,
        last: bool = False,
    ) -> None:
        """Answer a `Configuration`.

        Parameters
        ----------
        energy : float
            eV.
        forces : (N, 3) array
            eV/Å.
        stress : (6,) array or None
            eV/Å³, as `frames.labelled` takes it.
        last : bool
            Ask LAMMPS to end the run after this step.
        """
        parts = [np.array([energy]), np.ravel(forces), *([] if stress is None else [stress])]
        self._send(_LAST if last else _OK, np.concatenate(parts).astype(np.float64).tobytes())

    def refuse(self, why: str) -> None:
        """Answer any request with the reason why there will be no more."""
        self._send(_FAILED, why.encode())

    def _send(self, status: int, body: bytes) -> None:
        self._connection.sendall(_ANSWER.pack(status, len(body)) + body)

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            got = self._connection.recv_into(left)
            if got == 0:
                raise ConnectionError("the connection was closed")
            left = left[got:]
        return bytes(data)
