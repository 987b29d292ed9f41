"""Workers of jobs on this machine, as Parsl starts them."""

import subprocess
from pathlib import Path

from alrare.config import Cluster, Machines
from alrare.execution.parsl_executor import ParslExecutor

GPU_WHEN_BOTH_RUN = "touch {0}; until [ -e {1} ]; do sleep 0.1; done; echo $CUDA_VISIBLE_DEVICES"


def test_gpus_are_dealt_out_to_the_workers(tmp_path: Path) -> None:
    machines = Machines(provider="local", workers_per_node=2, gpus_per_node=2)
    first, second = tmp_path / "first", tmp_path / "second"
    with ParslExecutor(Cluster(run=machines), 1, tmp_path / "jobs") as executor:
        tasks = [
            executor.submit(
                "run", subprocess.check_output, ["sh", "-c", GPU_WHEN_BOTH_RUN.format(*names)]
            )
            for names in ((first, second), (second, first))
        ]
        assert sorted(task.result(timeout=120) for task in tasks) == [b"0\n", b"1\n"]
