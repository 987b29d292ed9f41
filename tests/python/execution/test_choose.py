"""What is said of ranks and machines that the executor does not use."""

import pytest
from alrare.config import Cluster, Config, Machines, Run
from alrare.errors import ConfigError
from alrare.execution.choose import unused_machines, works_for_another

CONFIG = Config.model_construct(run=Run(), cluster=Cluster())


@pytest.mark.parametrize("size", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_ranks_are_no_drivers_of_one_campaign(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert not works_for_another(CONFIG)
    monkeypatch.setenv(size, "1")
    assert not works_for_another(CONFIG)
    monkeypatch.setenv(size, "2")
    with pytest.raises(ConfigError, match=r'started on 2 ranks, .* set executor = "mpi"'):
        works_for_another(CONFIG)
    for rank in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        monkeypatch.setenv(rank, "1")
    with pytest.raises(SystemExit):  # rank 0 has said it
        works_for_another(CONFIG)


def test_machines_that_are_not_used_are_named() -> None:
    assert unused_machines(CONFIG) == ""
    cluster = Cluster(label=Machines(partition="standard"))
    unused = Config.model_construct(run=Run(), cluster=cluster)
    assert unused_machines(unused).startswith("[cluster] has no effect")
    used = Config.model_construct(run=Run(executor="parsl"), cluster=cluster)
    assert unused_machines(used) == ""
