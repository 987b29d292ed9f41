"""DFTB+ as a library in a process of its own, which forks once per label.

A program that uses the standard library only: `python -I -S server.py LIBRARY FD`, in a folder with
dftb_in.hsd and geo.gen. It reads input and parameters once, then forks for each label. The fork
starts from the state right after the input was read, so that a label depends on its frame only, as
with one process per label. An error inside the library ends the fork, not this program.

The socket FD receives coordinates and, for a cell, its vectors (Bohr, float64), and returns the
Mermin free energy, the gradients (Hartree, Bohr) and, for a cell, its stress tensor (atomic units,
though dftbplus.h says Pascal). The first message is b"ready"; if a fork is lost, the program ends
and closes the connection.
"""

import ctypes
import os
import socket
import sys
from pathlib import Path

_CLOSED = 77  # exit status of a fork that found the other end gone
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


class _Handle(ctypes.Structure):
    """`DftbPlus` and `DftbPlusInput` of dftbplus.h: one pointer each."""

    _fields_ = (("pointer", ctypes.c_void_p),)


def main(library_path: str, descriptor: int) -> int:
    """Serve labels until the other end closes."""
    connection = socket.socket(fileno=descriptor)
    library = ctypes.CDLL(library_path)
    dftb, tree = _Handle(), _Handle()
    n_atoms, kind = Path("geo.gen").read_text(encoding="utf-8").split()[:2]
    library.dftbp_init(ctypes.byref(dftb), b"library.out")
    library.dftbp_get_input_from_file(ctypes.byref(dftb), b"dftb_in.hsd", ctypes.byref(tree))
    library.dftbp_process_input(ctypes.byref(dftb), ctypes.byref(tree))
    _silence(Path("library.out"))
    connection.sendall(b"ready")
    server, libc = os.getpid(), ctypes.CDLL(None)
    while True:
        child = os.fork()
        if child == 0:
            _die_with(server, libc)
            _label(library, dftb, connection, int(n_atoms), kind == "S")
        _, status = os.waitpid(child, 0)
        if status != 0:
            return 0 if os.waitstatus_to_exitcode(status) == _CLOSED else 1


def _label(
    library: ctypes.CDLL, dftb: _Handle, connection: socket.socket, n_atoms: int, periodic: bool
) -> None:
    coordinates = (ctypes.c_double * (3 * n_atoms))()
    vectors = (ctypes.c_double * 9)()
    for array in (coordinates, vectors) if periodic else (coordinates,):
        if connection.recv_into(array, 0, socket.MSG_WAITALL) != ctypes.sizeof(array):
            os._exit(_CLOSED)
    if periodic:
        library.dftbp_set_coords_and_lattice_vecs(ctypes.byref(dftb), coordinates, vectors)
    else:
        library.dftbp_set_coords(ctypes.byref(dftb), coordinates)
    answer = (ctypes.c_double * (1 + 3 * n_atoms + 9 * periodic))()
    gradients = ctypes.byref(answer, ctypes.sizeof(ctypes.c_double))
    library.dftbp_get_energy(ctypes.byref(dftb), answer)
    library.dftbp_get_gradients(ctypes.byref(dftb), gradients)
    if periodic:
        stress = ctypes.byref(answer, (1 + 3 * n_atoms) * ctypes.sizeof(ctypes.c_double))
        library.dftbp_get_stress_tensor(ctypes.byref(dftb), stress)
    connection.sendall(answer)
    os._exit(0)


def _silence(path: Path) -> None:
    # Otherwise every fork adds to the library's output file, which grows without limit.
    here, null = path.stat(), os.open(os.devnull, os.O_WRONLY)
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            there = os.fstat(int(entry.name))
        except OSError:
            continue
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            os.dup2(null, int(entry.name))


def _die_with(parent: int, libc: ctypes.CDLL) -> None:
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_CLOSED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
