"""The tables of a label store, and how those of earlier versions become them."""

import hashlib
import sqlite3
import struct

from ..errors import AlrareError

_APPLICATION = 0x414C5241  # "ALRA"
_VERSION = 5
_METHODS = """
CREATE TABLE methods (
  method TEXT PRIMARY KEY,     -- hash
  description TEXT NOT NULL    -- JSON: program, version, input, parameter checksums
) WITHOUT ROWID
"""
_CHECKS = """
CREATE TABLE checks (
  method TEXT PRIMARY KEY,     -- hash, see methods
  contradiction TEXT NOT NULL, -- between its forces and its energy; empty: none
  by_energy TEXT NOT NULL,     -- JSON: changes of the energy between configurations, eV
  by_forces TEXT NOT NULL      -- JSON: the same changes as the forces give them, eV
) WITHOUT ROWID
"""
_SCHEMA = """
CREATE TABLE labels (
  key TEXT PRIMARY KEY,        -- frame_key: species, positions, cell, pbc, method
  status TEXT NOT NULL,        -- ok, or the kind of failure
  reason TEXT NOT NULL,        -- why it failed
  attempts INTEGER NOT NULL,
  origin TEXT NOT NULL,        -- what asked for it: initial, iteration 3, ...
  seconds REAL NOT NULL,       -- wall time of the last attempt
  numbers BLOB NOT NULL,       -- int64 (N)
  positions BLOB NOT NULL,     -- float64 (N, 3), angstrom
  cell BLOB NOT NULL,          -- float64 (3, 3), angstrom
  pbc INTEGER NOT NULL,        -- bits 0, 1, 2
  energy REAL,                 -- eV
  forces BLOB,                 -- float64 (N, 3), eV/angstrom
  method TEXT NOT NULL,        -- hash, see methods; empty: before version 2
  charge INTEGER NOT NULL DEFAULT 0,       -- elementary charges
  multiplicity INTEGER NOT NULL DEFAULT 0, -- 2S + 1; 0: the lowest
  checksum TEXT NOT NULL DEFAULT '',       -- of the rest but attempts and seconds: CHECKSUM
  stress BLOB                  -- float64 (6), eV/angstrom^3, xx yy zz yz xz xy; none of a molecule
) WITHOUT ROWID
"""
# Texts as bytes, since what damage leaves of them need not be UTF-8; the energy as it is, since
# SQLite would cut it to 15 digits.
_PROVEN = (
    *("key", "status", "reason", "origin", "numbers", "positions", "cell", "pbc", "forces"),
    *("method", "charge", "multiplicity"),
)
_VALUES = (
    "CASE typeof(energy) WHEN 'real' THEN energy END,"
    f" {', '.join(f'CAST({name} AS BLOB)' for name in _PROVEN)}"
)
CHECKSUM = (
    f"CASE WHEN stress IS NULL THEN checksum({_VALUES})"
    f" ELSE checksum({_VALUES}, CAST(stress AS BLOB)) END"
)
"""SQL expression for the checksum of a row of `labels`; see `add_checksum`. A label without stress
has that of version 4, whose rows so need not be written again."""


def add_checksum(database: sqlite3.Connection) -> None:
    """Give a connection the SQL function `checksum`: sha256 in hexadecimal of its arguments."""

    def checksum(*values: float | bytes | None) -> str:
        digest = hashlib.sha256()
        for value in values:
            part = struct.pack("<d", value) if isinstance(value, float) else value
            digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
        return digest.hexdigest()

    database.create_function("checksum", -1, checksum, deterministic=True)


def prepare(database: sqlite3.Connection, name: str) -> None:
    """Make the tables of a new store, or bring those of an earlier version up to date.

    Parameters
    ----------
    database : sqlite3.Connection
        With `add_checksum`, in autocommit mode.
    name : str
        How errors call it.

    Raises
    ------
    AlrareError
        If it is of a later version, or no label store.
    """
    database.execute("BEGIN IMMEDIATE")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if application == 0 and tables == 0:
        database.execute(_SCHEMA)
        database.execute(_METHODS)
        database.execute(_CHECKS)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION and version == 1:
        database.execute("ALTER TABLE labels ADD COLUMN method TEXT NOT NULL DEFAULT ''")
        database.execute(_METHODS)
        version = 2
    if application == _APPLICATION and version == 2:
        for column in ("charge", "multiplicity"):
            database.execute(f"ALTER TABLE labels ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
        database.execute(_CHECKS)
        version = 3
    if application == _APPLICATION and version == 3:
        database.execute("ALTER TABLE labels ADD COLUMN checksum TEXT NOT NULL DEFAULT ''")
    if application == _APPLICATION and version in (3, 4):
        database.execute("ALTER TABLE labels ADD COLUMN stress BLOB")
        if version == 3:
            database.execute(f"UPDATE labels SET checksum = {CHECKSUM}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
        version = _VERSION
    database.execute("COMMIT")
    if application != _APPLICATION or version != _VERSION:
        raise AlrareError(
            f"{name}: expected a label store of version {_VERSION}, got"
            f" {'version ' + str(version) if application == _APPLICATION else 'a foreign file'}"
        )
