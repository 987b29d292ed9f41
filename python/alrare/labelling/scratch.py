"""Working folders of labellers: one per process and worker, empty before each label."""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import disk_error

_LOCK = ".lock"
_HOST = socket.gethostname()


@contextmanager
def own_scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder in `folder` that belongs to the block, and remove it at the end.

    Several processes may do so in the same folder at the same time. What processes that were killed
    have left is removed, which their lock shows: it ends with its process.

    Raises
    ------
    AlrareError
        If the disk refuses.
    """
    try:
        own, lock = _new_folder(folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)
        with suppress(OSError):  # others are at work in it
            folder.rmdir()


def empty(folder: Path, *, keep: Collection[Path] = ()) -> None:
    """Remove all files of a folder and its subfolders but those in `keep`; folders stay.

    A program that was started once and serves all labels may be at work in one of the folders.
    """
    for path in folder.rglob("*"):
        if path not in keep and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)


def _new_folder(folder: Path) -> tuple[Path, int]:
    """Make a folder, and its lock, while nobody else looks for abandoned ones."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), _locked(folder):  # another process removed the empty one
            _remove_abandoned(folder)
            own = Path(tempfile.mkdtemp(prefix=f"{_HOST}-{os.getpid()}-", dir=folder))
            return own, _lock(own / _LOCK)


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f"{_HOST}-*"):  # a lock need not be seen by another machine
        with suppress(BlockingIOError, NotADirectoryError):
            lock = _lock(path / _LOCK)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
