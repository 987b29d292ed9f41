"""What it costs to let workers elsewhere do tasks: Parsl against this machine; JSON lines.

    python benchmarks/executors.py [--labels 2000] [--queued 10000]

Needs `alrare[cluster]`. The jobs are processes of this machine. Printed: labels of 20 ms, two
workers each, in turns; a call to workers that are there; memory and CPU time of a driver whose
tasks only wait, for several numbers of them.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import machine
from alrare.config import Cluster, Labeller, Machines
from alrare.execution.parsl_executor import ParslExecutor
from alrare.labelling.batch import label
from ase import Atoms

CALCULATOR = """
import time
import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Slow(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(0.02)
        positions = self.atoms.positions
        self.results = {"energy": 0.5 * float((positions**2).sum()), "forces": -positions}
"""
MACHINES = Machines(provider="local", workers_per_node=2)
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--labels", type=int, default=2000, help="default: 2000")
    parser.add_argument("--queued", type=int, default=10000, help="default: 10000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "slow_calculator.py").write_text(CALCULATOR, encoding="utf-8")
        sys.path.insert(0, scratch)
        throughput(folder, options.labels)
        waiting(folder, options.queued)


def throughput(folder: Path, n: int) -> None:
    """Compare labels per second, and time calls to workers that are there."""
    labeller = Labeller(program="ase", calculator="slow_calculator.Slow")
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {"local": [], "parsl": []}
    with ParslExecutor(Cluster(label=MACHINES), 2, folder / "jobs") as jobs:
        jobs.submit("label", os.getpid).result()
        for turn in range(ROUNDS):
            for name, workers in (("local", 2), ("parsl", jobs)):
                frames = [Atoms("CO", positions) for positions in rng.normal(size=(n, 2, 3))]
                begin = time.perf_counter()
                done = label(
                    frames, labeller=labeller, folder=folder / f"{name}{turn}", workers=workers
                )
                seconds[name].append(time.perf_counter() - begin)
                assert done.computed >= 0.95 * n
        calls = []
        for _ in range(10):
            begin = time.perf_counter()
            jobs.submit("label", os.getpid).result()
            calls.append(time.perf_counter() - begin)
    rates = {name: n / statistics.median(times) for name, times in seconds.items()}
    show("labels of 20 ms", **rates, ratio=rates["parsl"] / rates["local"])
    show("call to a warm worker", seconds=statistics.median(calls))


def waiting(folder: Path, most: int) -> None:
    """Measure a driver whose tasks wait for jobs that never come."""
    config = folder / "never.py"
    config.write_text(
        "from parsl.config import Config\n"
        "from parsl.executors import HighThroughputExecutor\n"
        "from parsl.providers import LocalProvider\n"
        "config = Config(initialize_logging=False, executors=[HighThroughputExecutor(\n"
        "    label='run', address='127.0.0.1',\n"
        "    provider=LocalProvider(init_blocks=0, max_blocks=0))])\n",
        encoding="utf-8",
    )
    with ParslExecutor(Cluster(parsl_config=f"{config}:config"), 1, folder / "never") as jobs:
        queued = 0
        for n in (most // 4, most // 2, most):
            for _ in range(n - queued):
                jobs.submit("run", os.getpid)
            queued = n
            time.sleep(10.0)  # what submission has started ends
            before = resource.getrusage(resource.RUSAGE_SELF)
            time.sleep(10.0)
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 10.0
            show("driver with waiting tasks", tasks=n, cpu_share=cpu, memory_mb=memory())


def memory() -> float:
    """Return the resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6


def show(measure: str, **values: float) -> None:
    """Print a measure as one JSON line."""
    rounded = {key: round(value, 4) for key, value in values.items()}
    print(json.dumps({"measure": measure, **rounded, **machine()}), flush=True)


if __name__ == "__main__":
    main()
