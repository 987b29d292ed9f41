"""Tasks in processes of their own, one thread each, that never outlive the driver."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""Environment of a process that computes with one thread; read by its libraries when they load."""

_PR_SET_PDEATHSIG = 1
_environment_lock = threading.Lock()
_libc = ctypes.CDLL(None, use_errno=True)


class WorkerPool(ProcessPoolExecutor):
    """A process pool for long tasks; leaving its `with` block early kills what still runs.

    Workers are spawned (no state of the driver comes along), hold one thread each, ignore Ctrl-C
    (the driver handles it) and die with the driver. Submit from a thread that lives as long as
    the pool: the kernel ties a worker's life to the thread that started it.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call; see `concurrent.futures.Executor.submit`."""
        with one_thread_environment():  # the pool spawns its workers here, on demand
            return super().submit(fn, *args, **kwargs)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        """Wait for the tasks, or after an exception (Ctrl-C too) end them at once."""
        if exc_type is not None:
            processes = list((self._processes or {}).values())
            self.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.kill()
        return super().__exit__(exc_type, exc_val, exc_tb)


def worker_pool(workers: int) -> WorkerPool:
    """Return a pool for use in a `with` block.

    Parameters
    ----------
    workers : int
        Tasks at a time; 0 means one for each core this process may use.
    """
    return WorkerPool(
        max_workers=worker_count(workers),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


def worker_count(workers: int) -> int:
    """Return the number of tasks at a time that `[run] workers` asks for (0: one a core)."""
    return workers or len(os.sched_getaffinity(0))


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when the thread that started it ends.

    Safe between fork and exec. Does nothing where the kernel has no such request.
    """
    if hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)


@contextmanager
def one_thread_environment() -> Iterator[None]:
    """Let processes started inside the block inherit `ONE_THREAD`; this process keeps its own."""
    with _environment_lock:
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _start_worker(driver: int) -> None:
    die_with_parent()
    if os.getppid() != driver:  # the driver died before the request was made
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
