"""Programs and tasks in processes of their own: one thread each, ended with the main process."""

import ctypes
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any

from .errors import ProcessLostError

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
"""Environment variables that make numerical libraries use one thread; read when they load."""

_PR_SET_PDEATHSIG = 1
_environment_lock = threading.RLock()
_libc = ctypes.CDLL(None, use_errno=True)


class WorkerPool(ProcessPoolExecutor):
    """A process pool for long tasks; leaving its `with` block early kills what still runs.

    Workers are spawned without any state of the main process, use one thread each, ignore Ctrl-C
    and SIGHUP (the main process handles them) and die with the main process. Submit from a thread
    that lives as long as the pool: the kernel ends a worker together with the thread that started
    it.
    """

    @property
    def is_broken(self) -> bool:
        """Whether a process ended without an answer, after which no other is started."""
        return bool(self._broken)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call; see `concurrent.futures.Executor.submit`."""
        with one_thread_environment(), _without_script():  # workers are spawned here, on demand
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
        Tasks at a time; 0 means one per core that this process may use.
    """
    return WorkerPool(
        max_workers=worker_count(workers),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


def result_of(task: Future[Any], what: str) -> Any:
    """Return the result of a task of a `WorkerPool`, or raise its exception.

    Raises
    ------
    ProcessLostError
        If its process ended without an answer; the message begins with `what`.
    """
    try:
        return task.result()
    except BrokenProcessPool as error:
        raise ProcessLostError(
            f"{what}: its process ended without a result (killed, or out of memory); run the same"
            " command again to go on, with fewer workers if it repeats ([run] workers): what had"
            " finished is kept"
        ) from error


def start(
    command: Sequence[str],
    *,
    folder: Path,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    leads_group: bool = False,
    end_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a program that computes with one thread and ends with the main process.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Its current folder.
    stdout, stderr
        As for `subprocess.Popen`; its standard input is empty.
    environment : mapping, optional
        Added to the environment of this process and to `ONE_THREAD`.
    pass_fds : sequence of int
        File descriptors that it inherits.
    leads_group : bool
        Make it the leader of a process group of its own: Ctrl-C then does not reach it, and
        `os.killpg` ends the program with everything it started.
    end_signal : int
        Signal that the program receives when the thread that started it ends.

    Raises
    ------
    OSError
        If there is no such program, or it may not be run.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **ONE_THREAD, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=leads_group,
        preexec_fn=partial(die_with_parent, end_signal),
    )


def worker_count(workers: int) -> int:
    """Return the number of tasks at a time that `[run] workers` means (0: one per core)."""
    return workers or len(os.sched_getaffinity(0))


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when the thread that started it ends.

    Safe between fork and exec. Does nothing where the kernel has no such request.
    """
    if hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)


def end_group_with_this_process() -> None:
    """End the process group of this process, its leader, when this process ends in whatever way.

    A second process waits for that, so that programs which this one has started, and which know
    nothing of alrare, do not survive it. Call it before any thread is started. Does nothing where
    the kernel cannot tell a process of its parent's end.
    """
    leader = os.getpid()
    if not hasattr(_libc, "prctl") or os.fork():
        return
    os.closerange(3, 1024)  # the connection must close when the leader ends
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    die_with_parent(signal.SIGTERM)
    if os.getppid() == leader:
        signal.sigwait({signal.SIGTERM})
    os.killpg(leader, signal.SIGKILL)


class Stopped(KeyboardInterrupt):
    """The main process was asked to end by a signal.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def end_signals_as_ctrl_c() -> Iterator[None]:
    """Raise `Stopped` inside the block at SIGTERM and SIGHUP, so that all ends as after Ctrl-C.

    Signals that this process ignores or handles already are left as they are.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) == signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ]

    def stop(number: int, _: object) -> None:
        for one in numbers:  # the end is under way
            signal.signal(one, signal.SIG_IGN)
        if number == signal.SIGHUP:
            _leave_terminal()
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _leave_terminal() -> None:
    """Write no longer to a terminal, which is gone; files and pipes stay."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(null, descriptor)
    os.close(null)


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


@contextmanager
def _without_script() -> Iterator[None]:
    """Let processes spawned inside the block not import the script that this process runs.

    `multiprocessing` imports it in each process, so a script without ``if __name__ ==
    "__main__":`` would do all its work again there. The tasks need nothing of it.
    """
    with _environment_lock:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


def _start_worker(driver: int) -> None:
    die_with_parent()
    if os.getppid() != driver:  # the main process died before the request was made
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
