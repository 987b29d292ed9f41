"""The table [cluster] of al.toml: the machines on which a campaign's tasks run."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .types import Count, CountOrZero, Positive, Section, matching

_SHORTEST = 300
_WALLTIME = matching(
    r"\d+:[0-5]\d:[0-5]\d",
    'expected hours, minutes and seconds, "04:00:00"; of two days, "48:00:00"',
)


class Machines(Section):
    """The jobs of a batch system in which tasks of one kind run; each job serves many tasks."""

    provider: Literal["slurm", "pbs", "lsf", "local"] = "slurm"
    """The batch system; local: processes on this machine, without one."""
    partition: Annotated[str | None, Field(examples=["standard"])] = None
    """Its partition or queue; by default that of the batch system."""
    account: Annotated[str | None, Field(examples=["ab0123"])] = None
    """The account that pays."""
    walltime: Annotated[str, *_WALLTIME] = "01:00:00"
    """Time limit of a job. No task is begun in its last fifth."""
    nodes: Count = 1
    """Nodes of each job."""
    workers_per_node: Count = 1
    """Tasks at a time on each node."""
    cores_per_worker: Count = 1
    """Cores that the job asks for, per task."""
    gpus_per_node: CountOrZero = 0
    """GPUs of each node; every worker sees one of them, and there are no more workers than GPUs."""
    max_blocks: Count = 1
    """Largest number of jobs at a time. They are submitted when there are tasks, and end when there
    are none."""
    setup: Annotated[str, Field(examples=["module load dftbplus"])] = ""
    """Shell commands at the start of a job, which ends if one of them fails. The Python environment
    of the driver is there already."""
    scheduler_options: Annotated[str, Field(examples=["#SBATCH --qos=high"])] = ""
    """Further lines of the job's script."""

    @field_validator("walltime")
    @classmethod
    def _long_enough(cls, given: str) -> str:
        if _seconds(given) < _SHORTEST:
            raise ValueError("expected at least five minutes")
        return given

    @property
    def seconds(self) -> int:
        """`walltime` in seconds."""
        return _seconds(self.walltime)


def _seconds(walltime: str) -> int:
    hours, minutes, seconds = map(int, walltime.split(":"))
    return 3600 * hours + 60 * minutes + seconds


class Cluster(Section):
    """The machines of `[run] executor = "parsl"`; a kind of tasks without a table runs here."""

    label: Annotated[Machines | None, Field(examples=[{"partition": "standard"}])] = None
    """Labels, several to a task. The keys of these three tables are in docs/cluster.md."""
    train: Annotated[Machines | None, Field(examples=[{"partition": "standard"}])] = None
    """The training of one member each."""
    run: Annotated[Machines | None, Field(examples=[{"partition": "standard"}])] = None
    """One run of LAMMPS each, by the model or by the labeller, with all its ranks."""
    parsl_config: Annotated[
        Path | None,
        *matching(r".+\.py:[A-Za-z_]\w*", 'expected a file and a name in it, "cluster.py:config"'),
        Field(examples=["cluster.py:config"]),
    ] = None
    """A configuration of Parsl of one's own instead: a file, relative to al.toml, and the name of a
    `parsl.config.Config` in it. Its executors labelled label, train and run serve these kinds."""
    idle: Positive = 60.0
    """A job that has had no task for so many seconds ends."""
    address: Annotated[str | None, Field(examples=["10.0.0.1"])] = None
    """Address of this machine as the nodes see it; by default they try all of its addresses."""

    @property
    def has_machines(self) -> bool:
        """Whether a kind of tasks has machines."""
        return any((self.label, self.train, self.run, self.parsl_config))

    def require_machines(self) -> None:
        """Refuse to be without machines; a ValueError."""
        if not self.has_machines:
            raise ValueError(
                'executor = "parsl": [cluster] has no machines; give at least one of'
                " [cluster.label], [cluster.train], [cluster.run], or parsl_config ([run])"
            )

    @model_validator(mode="after")
    def _one_way(self) -> "Cluster":
        given = [kind for kind in ("label", "train", "run") if getattr(self, kind) is not None]
        if self.parsl_config is not None and given:
            raise ValueError(
                f"parsl_config: given beside [cluster.{given[0]}]; the file says everything, so"
                " remove the tables"
            )
        return self
