"""The executor that al.toml asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import Config
from ..errors import ConfigError
from ..processes import worker_count
from .executor import Executor, LocalExecutor
from .jobs import JOBS_FOLDER, STATE_FILE, cancel_left


def works_for_another(config: Config) -> bool:
    """Let this process work if it is a rank that does not drive; return whether it was one.

    Raises
    ------
    ConfigError
        As `mpi_executor.serve`.
    """
    if config.run.executor != "mpi":
        return False
    from .mpi_executor import serve

    return serve()


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
        If the library is missing, or `[cluster]` has no machines.
    """
    workers = worker_count(config.run.workers)
    cancel_left(folder / JOBS_FOLDER / STATE_FILE)
    if config.run.executor == "local":
        yield LocalExecutor(workers)
    elif config.run.executor == "mpi":
        from .mpi_executor import MpiExecutor

        with MpiExecutor() as ranks:
            yield ranks
    else:
        cluster = config.cluster
        if cluster.parsl_config is None and not (cluster.label or cluster.train or cluster.run):
            raise ConfigError(
                'executor = "parsl": [cluster] has no machines; give at least one of'
                " [cluster.label], [cluster.train], [cluster.run], or parsl_config ([run])"
            )
        try:
            import parsl.config  # noqa: F401

            from .parsl_executor import ParslExecutor
        except ImportError as error:
            raise ConfigError(
                f'executor = "parsl" needs Parsl, which cannot be imported ({error}); install it:'
                " `pip install 'alrare[cluster]'` ([run])"
            ) from error
        with ParslExecutor(cluster, workers, folder / JOBS_FOLDER) as jobs:
            yield jobs
