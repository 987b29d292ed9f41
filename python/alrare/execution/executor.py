"""The seam between a stage and the machines: a stage submits tasks, and knows no engine.

Tasks are functions of a module of alrare with arguments that can be pickled. They are idempotent:
what they finish is a file, or a label by its key, and a task that is repeated finds it.
"""

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar

from ..processes import WorkerPool, worker_count, worker_pool

T = TypeVar("T")
Kind = Literal["label", "train", "run"]
"""label: labels, several to a task; train: the training of one member; run: one run of LAMMPS, by
the model or by the labeller."""
KINDS: tuple[Kind, ...] = ("label", "train", "run")


class Executor(Protocol):
    """Where the tasks of a campaign run, from its beginning to its end."""

    def size(self, kind: Kind) -> int:
        """Return the number of tasks of a kind that may run at a time."""

    def is_here(self, kind: Kind) -> bool:
        """Whether tasks of a kind run in processes of this machine, which the stage starts."""

    def submit(self, kind: Kind, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue a call of a kind that is not here.

        The future has the result or the exception of the call. A worker that is lost is neither:
        the call is repeated by another.
        """


class LocalExecutor:
    """All tasks run here.

    In a `with` block processes stay from one stage to the next (`kept`): those that train load
    torch once, which takes as long as the training of a small member, and those that label load
    the labeller once. They start when they are first needed.

    Parameters
    ----------
    workers : int
        Tasks at a time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._keeps = False
        self._kept: dict[Hashable, tuple[AbstractContextManager[Any], Any]] = {}

    def __enter__(self) -> "LocalExecutor":
        self._keeps = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeps = False
        stack = ExitStack()  # which closes all, also after an error
        for manager, _ in self._kept.values():
            stack.push(manager)
        self._kept = {}
        stack.__exit__(exc_type, exc, traceback)

    @contextmanager
    def kept(self, name: Hashable, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """Open what `make` returns, or give what is open under this name already.

        It stays open to the end of the `with` block of the executor; without one, to the end of
        this block. An exception in this block closes it at once.
        """
        if not self._keeps:
            with make() as opened:
                yield opened
            return
        if name not in self._kept:
            manager = make()
            self._kept[name] = manager, manager.__enter__()
        try:
            yield self._kept[name][1]
        except BaseException as error:
            manager, _ = self._kept.pop(name)
            manager.__exit__(type(error), error, error.__traceback__)
            raise

    @contextmanager
    def pool(self, kind: Kind) -> Iterator[WorkerPool]:
        """Yield the processes for tasks of a kind; leaving early kills what still runs."""
        if kind == "train":
            if kind in self._kept and self._kept[kind][1].is_broken:  # killed while it was idle
                self._kept.pop(kind)[0].__exit__(None, None, None)
            with self.kept(kind, lambda: worker_pool(self._workers)) as pool:
                yield pool
        else:
            with worker_pool(self._workers) as pool:
                yield pool

    def size(self, kind: Kind) -> int:
        """See `Executor`."""
        return self._workers

    def is_here(self, kind: Kind) -> bool:
        """See `Executor`."""
        return True

    def submit(self, kind: Kind, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """See `Executor`."""
        raise AssertionError("the stage starts its own processes")


Submit = Callable[..., Future[Any]]
Workers = int | Executor
"""Tasks at a time in processes of this machine, 0 meaning one per core; or the executor of a
campaign, which is where tasks run."""


def executor_of(workers: Workers) -> Executor:
    """Return the executor that is meant."""
    return LocalExecutor(worker_count(workers)) if isinstance(workers, int) else workers


def local_part(executor: Executor, kind: Kind) -> LocalExecutor:
    """Return what starts the processes for tasks of a kind that is here."""
    return executor if isinstance(executor, LocalExecutor) else LocalExecutor(executor.size(kind))


@contextmanager
def task_pool(workers: Workers, kind: Kind) -> Iterator[Submit]:
    """Yield a function that queues calls of a kind: `submit(function, *args)`.

    Here, leaving the block early kills what still runs; elsewhere the end of the executor does.
    """
    executor = executor_of(workers)
    if not executor.is_here(kind):
        yield lambda function, *args: executor.submit(kind, function, *args)
        return
    with local_part(executor, kind).pool(kind) as pool:
        yield pool.submit
