"""The executor that al.toml asks for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import Config
from ..errors import ConfigError
from ..processes import worker_count
from .executor import Executor, LocalExecutor
from .jobs import JOBS_FOLDER, STATE_FILE, cancel_left

_RANKS = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
"""Environment variables of launchers: the number of ranks, and the rank of this process."""


def works_for_another(config: Config) -> bool:
    """Let this process work if it is a rank that does not drive; return whether it was one.

    Raises
    ------
    ConfigError
        As `mpi_executor.serve`; and if there are several ranks, but it is not executor = "mpi".
    """
    if config.run.executor != "mpi":
        _refuse_ranks(config.run.executor)
        return False
    from .mpi_executor import serve

    return serve()


def _refuse_ranks(executor: str) -> None:
    """Refuse to be one of several drivers of the same campaign, started by mpiexec or srun.

    Raises
    ------
    ConfigError
        On the first rank; the others end without a word.
    """
    for size, rank in _RANKS:
        if int(os.environ.get(size) or 1) > 1:
            if os.environ.get(rank, "0") != "0":
                raise SystemExit(2)
            raise ConfigError(
                f"started on {os.environ[size]} ranks, but every rank would drive the campaign:"
                f' [run] executor is "{executor}"; set executor = "mpi", where one rank drives and'
                " the others work, or start it without mpiexec or srun ([run])"
            )


def unused_machines(config: Config) -> str:
    """Return a sentence if `[cluster]` has machines that `[run] executor` does not use."""
    if config.run.executor == "parsl" or not config.cluster.has_machines:
        return ""
    return (
        f'[cluster] has no effect: [run] executor is "{config.run.executor}"; set executor ='
        ' "parsl" for its jobs'
    )


@contextmanager
def open_executor(config: Config, folder: Path) -> Iterator[Executor]:
    """Open the executor of a campaign; leaving the block ends everything that it started.

    Parameters
    ----------
    config : Config
    folder : Path
        The run folder.

    Raises
    ------
    ConfigError
        If the library is missing.
    """
    workers = worker_count(config.run.workers)
    cancel_left(folder / JOBS_FOLDER / STATE_FILE)
    if config.run.executor == "local":
        with LocalExecutor(workers) as here:
            yield here
    elif config.run.executor == "mpi":
        from .mpi_executor import MpiExecutor

        with MpiExecutor() as ranks:
            yield ranks
    else:
        try:
            import parsl.config  # noqa: F401

            from .parsl_executor import ParslExecutor
        except ImportError as error:
            raise ConfigError(
                f'executor = "parsl" needs Parsl, which cannot be imported ({error}); install it:'
                " `pip install 'alrare[cluster]'` ([run])"
            ) from error
        with ParslExecutor(config.cluster, workers, folder / JOBS_FOLDER) as jobs:
            yield jobs
