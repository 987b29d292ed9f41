"""Tasks on the ranks of one MPI job, by mpi4py.futures: rank 0 drives, the others work."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import ase.parallel

from ..errors import ConfigError
from .executor import Kind
from .remote import Call, Repeated, forget_launcher, perform

_LAST_WORDS = 2.0  # s


def _world() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ConfigError(
            f'executor = "mpi" needs mpi4py, which cannot be imported ({error}); install it:'
            " `pip install 'alrare[cluster]'` ([run])"
        ) from error
    # To ASE every rank is a process of its own; it would let rank 0 alone write files.
    ase.parallel.world.comm = ase.parallel.DummyMPI()
    forget_launcher()
    return MPI.COMM_WORLD


def serve() -> bool:
    """Work for rank 0 until it ends; return whether this process is such a worker.

    Raises
    ------
    ConfigError
        If there is no other rank, or no mpi4py.
    """
    world = _world()
    if world.Get_size() == 1:
        raise ConfigError(
            'executor = "mpi" needs more than one rank: start it by'
            " `mpiexec -n 9 alrare run al.toml`, where 8 ranks work ([run])"
        )
    if world.Get_rank() == 0:
        return False
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # rank 0 decides
        signal.signal(number, signal.SIG_IGN)
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor(world, root=0):
        pass
    return True


class MpiExecutor:
    """All tasks run on the other ranks, whichever is free; use it in a `with` block on rank 0."""

    def __enter__(self) -> "MpiExecutor":
        from mpi4py.futures import MPICommExecutor

        self._world = _world()
        self._ranks = MPICommExecutor(self._world, root=0)
        self._pool: Any = self._ranks.__enter__()
        self._repeated = Repeated(self._submit, lambda error: error, "")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Let the ranks end; after an exception (Ctrl-C too) end them in the midst of their tasks.

        That ends this process too, so it is done when it has had time to say what there is to say.
        """
        if exc_type is None:
            self._ranks.__exit__(None, None, None)
        else:
            status = 130 if issubclass(exc_type, KeyboardInterrupt) else 1
            end = threading.Timer(_LAST_WORDS, self._world.Abort, (status,))
            end.daemon = True
            end.start()

    def size(self, kind: Kind) -> int:
        """See `Executor`."""
        return int(self._world.Get_size()) - 1

    def is_here(self, kind: Kind) -> bool:
        """See `Executor`."""
        return False

    def submit(self, kind: Kind, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """See `Executor`."""
        return self._repeated.submit(function, *args)

    def _submit(self, call: Call) -> Future[Any]:
        future: Future[Any] = self._pool.submit(perform, call)
        return future
