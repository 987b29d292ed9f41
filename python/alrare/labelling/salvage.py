"""Which labels of a damaged store are still whole: each row carries a checksum of its content."""

import json
import sqlite3
import struct
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ..files import atomic_path
from .method import method_hash
from .schema import CHECKSUM, add_checksum, prepare

PAGE = 4096
"""Bytes of a page of the store, as SQLite makes it."""
_Value = bytes | str | float | int | None


def damage(database: sqlite3.Connection, name: str) -> str:
    """Return what is damaged in a label store, all of which is read; empty if it is whole.

    The tables of a new store are made, those of an earlier version brought up to date (`prepare`).

    Raises
    ------
    sqlite3.OperationalError
        If the store cannot be read for another reason, such as a lock.
    AlrareError
        If it is of a later version, or no label store.
    """
    try:
        prepare(database, name)
        (wrong,) = database.execute(
            f"SELECT COUNT(*) FROM labels WHERE checksum <> {CHECKSUM}"
        ).fetchone()
        for table in ("methods", "checks"):
            database.execute(f"SELECT * FROM {table}").fetchall()
    except sqlite3.DatabaseError as error:
        database.rollback()  # of what brings an earlier version up to date
        of_content = "Could not decode", "no such table", "no such column"
        if isinstance(error, sqlite3.OperationalError) and not str(error).startswith(of_content):
            raise
        return str(error)
    return f"{wrong} labels contradict their checksums" if wrong else ""


def salvage(path: Path, connection: sqlite3.Connection) -> None:
    """Keep the damaged file of a store under another name, and what is whole of it in the store.

    Gradient checks are left out: they carry no checksum, and are made again.

    Parameters
    ----------
    path : Path
        The store.
    connection : sqlite3.Connection
        An open connection to it. Other processes may have one too, so the store is written through
        it. Only where the first page is damaged, which ends theirs as well, is the file replaced.

    Raises
    ------
    sqlite3.DatabaseError
        If nothing of it is whole, or it cannot be locked; then the file stays as it is.
    """
    found = damage(connection, str(path))
    if not found:
        return  # another process has mended it
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as whole:
        add_checksum(whole)
        prepare(whole, str(path))
        try:
            version = connection.execute("PRAGMA data_version").fetchone()
            connection.execute("BEGIN IMMEDIATE")  # nobody writes meanwhile
            content = path.read_bytes()
            connection.execute("ROLLBACK")
            replaced = False
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            content = path.read_bytes()
            replaced = True
        saved = _copy_whole_rows(content, whole)
        if saved == 0:
            raise sqlite3.DatabaseError(found)
        kept = path.with_name(f"{path.stem}.damaged-{uuid.uuid4().hex[:8]}{path.suffix}")
        with atomic_path(kept) as partial:
            partial.write_bytes(content)
        if replaced:
            with atomic_path(path) as partial, closing(sqlite3.connect(partial)) as new:
                whole.backup(new)
        elif connection.execute("PRAGMA data_version").fetchone() == version:
            whole.backup(connection)
        else:
            return  # another process wrote in between: the store is judged anew
    print(
        f"alrare: {path}: the label store was damaged ({found}); {saved} labels are whole and stay"
        " in it, others are computed again when they are needed; the damaged file is kept as"
        f" {kept.name}",
        file=sys.stderr,
    )


def _copy_whole_rows(content: bytes, to: sqlite3.Connection) -> int:
    """Copy what is whole of a store's file to an empty store; return the number of labels."""
    to.execute("CREATE TEMP TABLE found AS SELECT * FROM labels")
    columns = len(to.execute("SELECT * FROM found").description)
    for row in _rows(content):
        if len(row) in (columns - 1, columns):  # without stress: written by version 4
            row += (None,) * (columns - len(row))
            to.execute(f"INSERT INTO found VALUES ({', '.join('?' * columns)})", row)
        elif len(row) == 2 and _is_method(*row):
            to.execute("INSERT OR IGNORE INTO methods VALUES (?, ?)", row)
    copied = to.execute(
        f"INSERT OR IGNORE INTO labels SELECT * FROM found WHERE checksum = {CHECKSUM}"
        " ORDER BY status <> 'ok'"  # an old page may hold the failure before the label
    )
    return copied.rowcount


def _rows(content: bytes) -> Iterator[tuple[_Value, ...]]:
    """Yield what may be rows of the tables, all WITHOUT ROWID, from every page by itself.

    SQLite itself reaches no page below a damaged one of a tree. Its file format:
    https://www.sqlite.org/fileformat2.html, sections 1.6 (pages) and 2.1 (records).
    """
    for start in range(PAGE, len(content), PAGE):
        kind = content[start]
        if kind not in (2, 10):  # an inner page or a leaf of such a table
            continue
        inner = kind == 2
        head = start + (12 if inner else 8)
        for cell in range(int.from_bytes(content[start + 3 : start + 5])):
            pointer = content[head + 2 * cell : head + 2 * cell + 2]
            with suppress(ValueError, IndexError, struct.error):
                at = start + int.from_bytes(pointer) + (4 if inner else 0)
                yield _values(_payload(content, at))


def _payload(content: bytes, at: int) -> bytes:
    """Return the record at a position, with what is on overflow pages."""
    size, at = _varint(content, at)
    largest, least = (PAGE - 12) * 64 // 255 - 23, (PAGE - 12) * 32 // 255 - 23
    local = size
    if size > largest:
        local = least + (size - least) % (PAGE - 4)
        local = local if local <= largest else least
    payload, at = content[at : at + local], at + local
    overflow = content[at : at + 4]
    while len(payload) < size:
        page = (int.from_bytes(overflow) - 1) * PAGE
        if not 0 < page < len(content):
            raise ValueError("no such page")
        overflow = content[page : page + 4]
        payload += content[page + 4 : page + min(PAGE, 4 + size - len(payload))]
    return payload


def _values(record: bytes) -> tuple[_Value, ...]:
    """Return the values of a record."""
    end, at = _varint(record, 0)
    values: list[_Value] = []
    data = end
    while at < end:
        kind, at = _varint(record, at)
        size = (kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]
        field, data = record[data : data + size], data + size
        if len(field) < size:
            raise ValueError("the record is shorter than it says")
        if kind >= 12:
            values.append(field.decode() if kind % 2 else field)
        elif kind == 7:
            values.append(struct.unpack(">d", field)[0])
        elif kind == 0:
            values.append(None)
        else:
            values.append(kind - 8 if kind >= 8 else int.from_bytes(field, signed=True))
    return tuple(values)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the position behind it."""
    value = 0
    for _ in range(8):
        value = value << 7 | content[at] & 0x7F
        at += 1
        if content[at - 1] < 0x80:
            return value, at
    return value << 8 | content[at], at + 1


def _is_method(method: object, description: object) -> bool:
    try:
        return method_hash(json.loads(str(description))) == method
    except ValueError:
        return False
