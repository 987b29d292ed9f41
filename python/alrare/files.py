"""Writing results so that a file or folder is complete or absent.

Every stage writes under a temporary name beside the target, syncs, and renames. A stage is done if
its output exists, so a campaign that was killed at any instant resumes from the files on disk.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import AlrareError, disk_error

PathLike = str | os.PathLike[str]
"""How a caller may name a file or folder."""


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
        If the target is a folder, or the disk refuses the write (full, read-only, no permission).
    """
    if target.is_dir():
        raise disk_error(target, IsADirectoryError(errno.EISDIR, "it is a folder"))
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
    """Write `text` to `target`, which is then complete or, after an error, unchanged."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write `content` as indented JSON to `target`; see `write_text`."""
    write_text(target, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(source: Path) -> Any:
    """Read a JSON file that alrare wrote.

    Raises
    ------
    AlrareError
        If it is missing or damaged.
    """
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise AlrareError(f"{source}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise AlrareError(
            f"{source}: damaged: expected JSON, got: {error}; remove this file, then run the"
            " command that writes it again (in a campaign's folder `alrare run al.toml`), which"
            " makes it anew from the other files"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let only one process at a time work in a folder, which is made if it is missing.

    The lock ends with the process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as error:
        raise disk_error(folder, error) from error
    with (folder / ".lock").open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlrareError(
                f"{folder}: another alrare is at work in this folder; wait for it, or end it"
            ) from error
        yield


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def publish(partial: Path, folder: Path) -> None:
    """Rename a finished folder to its final name, after syncing its files.

    Parameters
    ----------
    partial : Path
        The folder under its temporary name, beside the final one.
    folder : Path
        The final name, which must not exist.

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
