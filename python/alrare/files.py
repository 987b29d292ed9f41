"""How results reach the disk: whole or not at all.

Every stage writes to a temporary name beside its target, syncs, and renames. A stage is done when
its output is there, so a campaign killed at any instant resumes from what is on the disk.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import AlrareError, disk_error


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : Path
        File to make. Its folder is created when missing.

    Yields
    ------
    Path
        Write here; same folder and same suffix as `target`.

    Raises
    ------
    AlrareError
        If the disk refuses the write (full, read-only, no permission).
    """
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise disk_error(target, error) from error
    finally:
        with suppress(OSError):  # an error above is the one to tell
            partial.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target`, whole or not at all."""
    with atomic_path(target) as partial:
        partial.write_text(text)


def write_json(target: Path, content: Any) -> None:
    """Write `content` as indented JSON to `target`, whole or not at all."""
    write_text(target, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(source: Path) -> Any:
    """Read a JSON file that alrare wrote."""
    try:
        return json.loads(source.read_text())
    except (OSError, ValueError) as error:
        raise AlrareError(
            f"{source}: expected a JSON file written by alrare, got: {error}"
        ) from error


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def publish(partial: Path, folder: Path) -> None:
    """Make a finished folder appear under its name, whole or not at all.

    Parameters
    ----------
    partial : Path
        The folder under its temporary name, beside the final one.
    folder : Path
        Its final name; not there yet.

    Raises
    ------
    AlrareError
        If the disk refuses.
    """
    try:
        for path in [*partial.iterdir(), partial]:
            _sync(path)
        partial.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise disk_error(folder, error) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
