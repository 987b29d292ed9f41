"""The seam between a stage and the machines: a stage submits tasks, and knows no engine.

Tasks are functions of a module of alrare with arguments that can be pickled. They are idempotent:
what they finish is a file, or a label by its key, and a task that is repeated finds it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Protocol

from ..processes import WorkerPool, worker_count, worker_pool

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

    In a `with` block the processes that train members stay from one stage to the next: each loads
    torch once, which takes as long as the training of a small member. They start when the first
    member needs them.

    Parameters
    ----------
    workers : int
        Tasks at a time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._keeps = False
        self._training: WorkerPool | None = None

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
        if self._training is not None:
            pool, self._training = self._training, None
            pool.__exit__(exc_type, exc, traceback)

    @contextmanager
    def pool(self, kind: Kind) -> Iterator[WorkerPool]:
        """Yield the processes for tasks of a kind; leaving early kills what still runs."""
        if kind != "train" or not self._keeps:
            with worker_pool(self._workers) as pool:
                yield pool
            return
        if self._training is None:
            self._training = worker_pool(self._workers)
        try:
            yield self._training
        except BaseException as error:
            pool, self._training = self._training, None
            pool.__exit__(type(error), error, error.__traceback__)
            raise

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


@contextmanager
def task_pool(workers: Workers, kind: Kind) -> Iterator[Submit]:
    """Yield a function that queues calls of a kind: `submit(function, *args)`.

    Here, leaving the block early kills what still runs; elsewhere the end of the executor does.
    """
    executor = executor_of(workers)
    if not executor.is_here(kind):
        yield lambda function, *args: executor.submit(kind, function, *args)
        return
    here = executor if isinstance(executor, LocalExecutor) else LocalExecutor(executor.size(kind))
    with here.pool(kind) as pool:
        yield pool.submit
