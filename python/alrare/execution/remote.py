"""Calls that are made by workers elsewhere: as if by this process, and again if one is lost."""

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import AlrareError, ProcessLostError
from ..processes import ONE_THREAD

ATTEMPTS = 4
"""A call whose worker is lost this many times is given up."""


_OF_LAUNCHERS = ("PMI_", "PMI2_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "HYDRA_", "PRTE_")
"""Environment variables by which a launcher tells a process that it is a rank of a job."""


GPUS_OF_JOB = "ALRARE_GPUS_OF_JOB"
"""Environment variable with the GPUs that a job was given, of which a worker takes one."""


def take_gpu() -> None:
    """Let CUDA_VISIBLE_DEVICES name one of the GPUs of the job, by the number of this worker.

    Raises
    ------
    AlrareError
        If the job has fewer.
    """
    given = [one for one in os.environ.pop(GPUS_OF_JOB, "").split(",") if one.strip()]
    mine = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not given or not mine.isdecimal():
        return
    if int(mine) >= len(given):
        raise AlrareError(
            f"gpus_per_node: expected no more than the job has, CUDA_VISIBLE_DEVICES ="
            f" {','.join(given)} ([cluster])"
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = given[int(mine)]


@cache
def fingerprint() -> str:
    """Return a hash of the Python files of this package, as they are when it is first asked for."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def forget_launcher() -> None:
    """Let no program that this process starts take itself for a rank of the job it is in."""
    for name in [name for name in os.environ if name.startswith(_OF_LAUNCHERS)]:
        del os.environ[name]


@dataclass(frozen=True)
class Call:
    """A call with what it needs of the process that asks for it; workers share its file system."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    folder: str
    """Current folder, to which paths are relative."""
    path: tuple[str, ...]
    """Import path."""
    package: str
    """`fingerprint` of the package that asks."""

    @classmethod
    def of(cls, function: Callable[..., Any], args: tuple[Any, ...]) -> "Call":
        """Return a call as of this process."""
        path = tuple(entry or "." for entry in sys.path)
        return cls(function, args, str(Path.cwd()), path, fingerprint())


def perform(call: Call) -> Any:
    """Make a call; in a worker."""
    os.chdir(call.folder)
    os.environ.update(ONE_THREAD)
    forget_launcher()
    if call.package != fingerprint():
        raise AlrareError(
            f"the worker's alrare, {Path(__file__).parents[1]}, is another one than its driver's:"
            " it was changed meanwhile, or this machine has its own; run the same command again"
            " with one and the same everywhere: what had finished is kept"
        )
    take_gpu()
    sys.path += [entry for entry in call.path if entry not in sys.path]
    return call.function(*call.args)


class Repeated:
    """Submits calls, and submits one again whose worker was lost.

    Parameters
    ----------
    submit : callable
        Queues `perform(call)`, and returns its future.
    explain : callable
        Returns the exception to raise for that of a future; None if the worker was lost, which says
        nothing of the call.
    advice : str
        What to do if a call loses all its workers.
    """

    def __init__(
        self,
        submit: Callable[[Call], Future[Any]],
        explain: Callable[[BaseException], BaseException | None],
        advice: str,
    ) -> None:
        self._submit, self._explain, self._advice = submit, explain, advice
        self._lock = threading.Lock()
        self.waiting = 0
        """Number of calls that have no result yet."""
        self.done = 0
        """Number of those that have one."""
        self.losses = 0
        """Number of workers lost during calls."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue a call; see `Executor.submit`."""
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        with self._lock:
            self.waiting += 1
        self._attempt(Call.of(function, args), outer, 1)
        return outer

    def _attempt(self, call: Call, outer: Future[Any], attempt: int) -> None:
        try:
            inner = self._submit(call)
        except Exception as error:
            self._end(outer, error=self._explain(error) or error)
            return
        inner.add_done_callback(lambda done: self._ended(call, outer, attempt, done))

    def _ended(self, call: Call, outer: Future[Any], attempt: int, inner: Future[Any]) -> None:
        error = inner.exception()
        meant = None if error is None else self._explain(error)
        if error is None:
            self._end(outer, result=inner.result())
        elif meant is not None:
            self._end(outer, error=meant)
        elif attempt < ATTEMPTS:
            with self._lock:
                self.losses += 1
            self._attempt(call, outer, attempt + 1)
        else:
            what = f"{attempt} workers were lost one after another ({error}); {self._advice}"
            self._end(outer, error=ProcessLostError(what))

    def _end(
        self, outer: Future[Any], *, result: Any = None, error: BaseException | None = None
    ) -> None:
        with self._lock:
            self.waiting -= 1
            self.done += 1
        if error is None:
            outer.set_result(result)
        else:
            outer.set_exception(error)
