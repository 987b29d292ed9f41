"""The label store: one SQLite row per label, keyed by content, committed as soon as it exists."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..electronic_state import state_info, state_of
from ..errors import AlrareError
from ..frames import labelled
from .failures import Kind
from .salvage import damage, salvage
from .schema import CHECKSUM, add_checksum

STORE_FILE = "labels.sqlite"
"""File name of the store in a folder of labels."""


@dataclass(frozen=True)
class Row:
    """State of one label."""

    status: str
    """`ok`, or the kind of failure."""
    reason: str
    """Reason of the failure; empty if ok."""
    attempts: int
    """Number of attempts so far."""


class LabelStore:
    """Labels of a campaign on disk; use it in a `with` block, from one thread.

    The block reads the whole store first. If it is damaged, the labels that are still whole are
    kept, the damaged file is copied beside it, and a line on standard error says so.

    Parameters
    ----------
    path : Path
        SQLite file; it and its folder are created if missing.

    Raises
    ------
    AlrareError
        From every method, if the file is no label store, is damaged or in use, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> "LabelStore":
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while damage(self._open(), str(self._path)):
                salvage(self._path, self._open())
            assert self._connection is not None
            self._connection.execute("PRAGMA synchronous = FULL")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        self.__exit__(None, None, None)
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        self._connection = connection
        add_checksum(connection)
        return connection

    def get(self, key: str) -> Row | None:
        """Return the state of a label; None if it was never tried."""
        with self._explained() as database:
            found = database.execute(
                "SELECT status, reason, attempts FROM labels WHERE key = ?", (key,)
            ).fetchone()
        return Row(*found) if found else None

    def put_ok(
        self,
        key: str,
        atoms: Atoms,
        *,
        energy: float,
        forces: NDArray[np.float64],
        stress: NDArray[np.float64] | None = None,
        seconds: float = 0.0,
        origin: str = "",
        method: str = "",
    ) -> None:
        """Commit a label; a good label that is stored already is not changed.

        Parameters
        ----------
        key : str
            `frame_key` of the atoms and the method.
        atoms : Atoms
            N atoms.
        energy : float
            eV.
        forces : (N, 3) array
            eV/Å.
        stress : (6,) array, optional
            eV/Å³, as `frames.labelled` takes it.
        seconds : float
            Wall time of the computation.
        origin : str
            Purpose of the label, such as the name of a stage.
        method : str
            Hash of the labeller's method; see `put_method`.
        """
        label = (float(energy), _bytes(forces), None if stress is None else _bytes(stress))
        self._put(key, "ok", "", atoms, seconds, origin, method, label)

    def put_failed(
        self,
        key: str,
        atoms: Atoms,
        *,
        kind: Kind,
        reason: str,
        seconds: float = 0.0,
        origin: str = "",
        method: str = "",
    ) -> None:
        """Commit a failed attempt; see `put_ok`."""
        self._put(key, kind, reason, atoms, seconds, origin, method, (None, None, None))

    def put_method(self, method: str, description: Mapping[str, Any]) -> None:
        """Commit what a method's hash stands for (`labelling.method.Method`)."""
        with self._explained() as database:
            database.execute(
                "INSERT OR IGNORE INTO methods VALUES (?, ?)",
                (method, json.dumps(description, sort_keys=True)),
            )

    def methods(self) -> dict[str, dict[str, Any]]:
        """Return the description of each method, by its hash."""
        with self._explained() as database:
            rows = database.execute("SELECT method, description FROM methods").fetchall()
        return {method: json.loads(description) for method, description in rows}

    def put_check(
        self,
        method: str,
        contradiction: str,
        by_energy: Sequence[float],
        by_forces: Sequence[float],
    ) -> None:
        """Commit the result of a method's gradient check (`labelling.gradient`); eV."""
        with self._explained() as database:
            database.execute(
                "INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)",
                (method, contradiction, json.dumps(list(by_energy)), json.dumps(list(by_forces))),
            )

    def check(self, method: str) -> str | None:
        """Return what the gradient check of a method said; None if it was not made."""
        with self._explained() as database:
            found = database.execute(
                "SELECT contradiction FROM checks WHERE method = ?", (method,)
            ).fetchone()
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes made inside the block together, or none of them after an error."""
        with self._explained() as database:
            database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with self._explained() as database:
                if database.in_transaction:  # a full disk ends it
                    database.execute("ROLLBACK")
            raise
        with self._explained() as database:
            database.execute("COMMIT")

    def frames(self, keys: Iterable[str]) -> list[Atoms]:
        """Return labelled frames in the order of their keys.

        `info["label"]` is the key, `info["origin"]` the origin of the label, `info["method"]` the
        hash of the method.

        Raises
        ------
        AlrareError
            If a key has no good label.
        """
        return [self._frame(key) for key in keys]

    def keys(self, origin: str | None = None, *, method: str | None = None) -> list[str]:
        """Return the sorted keys of all good labels, or of those of one origin or method."""
        with self._explained() as database:
            rows = database.execute(
                "SELECT key FROM labels WHERE status = 'ok' AND (?1 IS NULL OR origin = ?1)"
                " AND (?2 IS NULL OR method = ?2) ORDER BY key",
                (origin, method),
            ).fetchall()
        return [key for (key,) in rows]

    def counts(self) -> dict[str, int]:
        """Return the number of labels by status: `{"ok": 2150, "not_converged": 3}`."""
        counts: dict[str, int] = {}
        for statuses in self.counts_by_method().values():
            for status, number in statuses.items():
                counts[status] = counts.get(status, 0) + number
        return dict(sorted(counts.items()))

    def counts_by_method(self) -> dict[str, dict[str, int]]:
        """Return the number of labels by the hash of their method, and by status."""
        with self._explained() as database:
            rows = database.execute(
                "SELECT method, status, COUNT(*) FROM labels GROUP BY method, status"
                " ORDER BY method, status"
            ).fetchall()
        counts: dict[str, dict[str, int]] = {}
        for method, status, number in rows:
            counts.setdefault(method, {})[status] = number
        return counts

    def _put(
        self,
        key: str,
        status: str,
        reason: str,
        atoms: Atoms,
        seconds: float,
        origin: str,
        method: str,
        label: tuple[float | None, bytes | None, bytes | None],
    ) -> None:
        *values, stress = label
        structure = (
            np.asarray(atoms.numbers, dtype=np.int64).tobytes(),
            _bytes(atoms.positions),
            _bytes(atoms.cell.array),
            sum(int(flag) << axis for axis, flag in enumerate(atoms.pbc)),
        )
        state = state_of(atoms)
        with self._explained() as database, _together(database):
            changed = database.execute(
                "INSERT INTO labels VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)"
                " ON CONFLICT(key) DO UPDATE SET status = excluded.status,"
                " reason = excluded.reason, attempts = attempts + 1, seconds = excluded.seconds,"
                " energy = excluded.energy, forces = excluded.forces, stress = excluded.stress"
                " WHERE labels.status <> 'ok'",
                (
                    *(key, status, reason, origin, seconds, *structure),
                    *(*values, method, *state, stress),
                ),
            )
            if changed.rowcount:
                database.execute(f"UPDATE labels SET checksum = {CHECKSUM} WHERE key = ?", (key,))

    def _frame(self, key: str) -> Atoms:
        with self._explained() as database:
            row = database.execute(
                "SELECT numbers, positions, cell, pbc, energy, forces, origin, method, charge,"
                " multiplicity, stress FROM labels WHERE key = ? AND status = 'ok'",
                (key,),
            ).fetchone()
        if row is None:
            raise AlrareError(f"{self._path}: expected a good label {key[:16]}…, found none")
        numbers, positions, cell, pbc, energy, forces, origin, method, charge, spin, stress = row
        atoms = Atoms(
            np.frombuffer(numbers, dtype=np.int64),
            np.frombuffer(positions, dtype=np.float64).reshape(-1, 3),
            cell=np.frombuffer(cell, dtype=np.float64).reshape(3, 3),
            pbc=[bool(pbc >> axis & 1) for axis in range(3)],
            info={"label": key, "origin": origin} | ({"method": method} if method else {}),
        )
        atoms.info |= state_info(atoms, state_of(atoms, charge=charge, multiplicity=spin or None))
        return labelled(
            atoms,
            energy,
            np.frombuffer(forces, dtype=np.float64).reshape(-1, 3),
            None if stress is None else np.frombuffer(stress, dtype=np.float64),
        )

    @contextmanager
    def _explained(self) -> Iterator[sqlite3.Connection]:
        try:
            # The connection is None only while it is opened, where the yielded value is not used.
            yield self._connection  # type: ignore[misc]
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            ):
                raise AlrareError(
                    f"{self._path}: the label store is damaged ({error}); put a copy in its place,"
                    " or move it away, then run the same command again: labels of the reference are"
                    " taken from its trajectories, all others are computed anew"
                ) from error
            raise AlrareError(
                f"{self._path}: the label store could not be read or written ({error}); free space,"
                " fix the permissions, or end the other alrare that holds it, then run the same"
                " command again: no finished label is lost"
            ) from error


def _bytes(values: NDArray[np.float64]) -> bytes:
    return np.ascontiguousarray(values, dtype=np.float64).tobytes()


@contextmanager
def _together(database: sqlite3.Connection) -> Iterator[None]:
    """Commit the changes of the block together, also inside a transaction."""
    database.execute("SAVEPOINT together")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # a full disk ends it
            database.execute("ROLLBACK TO together")
            database.execute("RELEASE together")
        raise
    database.execute("RELEASE together")
