"""The labeller's energies and forces in an MD run, written step by step, so that it can be resumed.

LAMMPS is deterministic: with the same forces it repeats a run to the last bit, including
velocities, random numbers and the work of `fix smd`. So an interrupted run starts again from its
first step, takes its forces from the journal as far as that goes, and reaches the point of the
interruption within a second or two. No label is computed twice, and the work curve is the same as
without the interruption.
"""

import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..errors import AlrareError

_MAGIC_MOLECULE, _MAGIC_CELL = b"ALRAREJ1", b"ALRAREJ2"


class Record(NamedTuple):
    """What the labeller said of one step."""

    energy: float
    """eV."""
    forces: NDArray[np.float64]
    """(N, 3), eV/Å."""
    stress: NDArray[np.float64] | None
    """(6,), eV/Å³, as `frames.labelled` takes it; None if there was none."""


class Journal:
    """Energies and forces of the successive steps of one run; use it in a `with` block.

    Parameters
    ----------
    path : Path
        Created if missing. An incomplete or damaged record is dropped, with all records after it.
    n_atoms : int
        Number of atoms of every step.
    periodic : bool
        Whether steps have a cell, which then counts like the positions, and may have a stress.

    Raises
    ------
    AlrareError
        From every method, if the disk refuses.
    """

    def __init__(self, path: Path, n_atoms: int, *, periodic: bool = False) -> None:
        self._path = path
        self._periodic = periodic
        numbers = [("energy", "<f8"), ("forces", "<f8", (n_atoms, 3))]
        stress = [("stress", "<f8", (6,))] if periodic else []
        self._record = np.dtype([("check", "<u4"), ("step", "<u4"), *numbers, *stress])
        magic = _MAGIC_CELL if periodic else _MAGIC_MOLECULE
        self._head = magic + n_atoms.to_bytes(8, "little")
        self._old = self._read()
        self._next = 0
        try:
            self._stream = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._stream.seek(0)
            self._stream.write(self._head)
            self._cut(len(self._old))
        except OSError as error:
            raise self._refused(error) from error

    def __len__(self) -> int:
        return len(self._old)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def replay(self, frame: Atoms) -> Record | None:
        """Return the record of the next step.

        None means that the journal has ended. If the frame differs from the journal's next step
        (because another LAMMPS is used, for instance), the rest of the journal is dropped.
        """
        if self._next >= len(self._old):
            return None
        record = self._old[self._next]
        if int(record["step"]) != self._digest(frame):
            self._old = self._old[: self._next]
            self._cut(self._next)
            return None
        self._next += 1
        stress = np.array(record["stress"]) if self._periodic else None
        if stress is not None and np.isnan(stress).any():
            stress = None
        return Record(float(record["energy"]), np.array(record["forces"]), stress)

    def append(
        self,
        frame: Atoms,
        energy: float,
        forces: NDArray[np.float64],
        stress: NDArray[np.float64] | None = None,
    ) -> None:
        """Add what the labeller said of the next step; see `Record`."""
        record = np.zeros((), dtype=self._record)
        record["step"] = self._digest(frame)
        record["energy"] = energy
        record["forces"] = forces
        if self._periodic:
            record["stress"] = np.nan if stress is None else stress
        record["check"] = zlib.crc32(record.tobytes()[4:])
        try:
            self._stream.write(record.tobytes())
        except OSError as error:
            raise self._refused(error) from error

    def _read(self) -> NDArray[np.void]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise self._refused(error) from error
        if not content.startswith(self._head):
            return np.zeros(0, dtype=self._record)
        body = content[len(self._head) :]
        records = np.frombuffer(body, dtype=self._record, count=len(body) // self._record.itemsize)
        for index, record in enumerate(records):
            if int(record["check"]) != zlib.crc32(record.tobytes()[4:]):
                return records[:index]
        return records

    def _digest(self, frame: Atoms) -> int:
        positions = zlib.crc32(np.ascontiguousarray(frame.positions).tobytes())
        return zlib.crc32(frame.cell.array.tobytes(), positions) if self._periodic else positions

    def _cut(self, n_records: int) -> None:
        size = len(self._head) + n_records * self._record.itemsize
        self._stream.truncate(size)
        self._stream.seek(0, os.SEEK_END)

    def _refused(self, error: OSError) -> AlrareError:
        return AlrareError(
            f"{self._path}: could not be read or written ({error.strerror or error}); free space or"
            " fix the permissions, then run the same command again: nothing finished is lost"
        )
