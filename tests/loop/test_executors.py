"""A campaign on MPI ranks and in jobs: the same results, no label twice, nothing left behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.io import write
from loop.conftest import CONFIG, Folder

MACHINES = """
executor = "parsl"

[cluster]
idle = 2

[cluster.label]
provider = "{provider}"

[cluster.train]
provider = "{provider}"
workers_per_node = 2

[cluster.run]
provider = "{provider}"
workers_per_node = 2
"""
EXTRAS = {
    "local": "",
    "mpi": 'executor = "mpi"\n',
    "parsl": MACHINES.format(provider="local"),
    "slurm": MACHINES.format(provider="slurm"),
}


@dataclass(frozen=True)
class Elsewhere(Folder):
    """A campaign whose tasks run elsewhere."""

    executor: str = "local"

    def start(self, launcher: Sequence[str] = ()) -> subprocess.Popen[str]:
        if self.executor == "mpi":
            launcher = [str(Path(sys.executable).with_name("mpiexec")), "-n", "3"]
        return super().start(launcher)


def made(path: Path, executor: str) -> Elsewhere:
    path.mkdir(exist_ok=True)
    write(path / "ethane.xyz", molecule("C2H6"))
    folder = Elsewhere(path, executor)
    folder.config.write_text(CONFIG.format(record=folder.record) + EXTRAS[executor])
    return folder


def finish(folder: Elsewhere) -> str:
    process = folder.start()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def results(folder: Elsewhere) -> Any:
    """Return results.json without the times."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(entry) for key, entry in value.items() if key != "seconds"}
        return [without(entry) for entry in value] if isinstance(value, list) else value

    return without(json.loads((folder.run / "results.json").read_text()))


def computed(folder: Elsewhere) -> Counter[str]:
    """Count how often each configuration was labelled, by the hash of its positions."""
    lines = folder.record.read_text().splitlines() if folder.record.exists() else []
    # the last line may be half written while the campaign runs
    return Counter(line.split()[1] for line in lines if len(line.split()) > 1)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, lmp: str) -> Elsewhere:
    """Return the campaign done in processes of this machine."""
    folder = made(tmp_path_factory.mktemp("here"), "local")
    finish(folder)
    return folder


def left(folder: Path) -> list[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def wait_until_nothing_is_left(folder: Path, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while left(folder):
        assert time.monotonic() < deadline, left(folder)
        time.sleep(0.2)


@pytest.mark.timeout(900)
def test_ranks_of_mpi_give_the_same_results(here: Elsewhere, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    folder = made(tmp_path, "mpi")
    finish(folder)
    assert results(folder) == results(here)
    assert computed(folder) == computed(here)


def steps(folder: Elsewhere) -> set[str]:
    """Return what a campaign has left behind so far: its files and its labels."""
    files = {str(path.relative_to(folder.run)) for path in folder.run.rglob("[!.]*")}
    return files | set(computed(folder))


def kill_after(share: float, folder: Elsewhere, whole: set[str]) -> None:
    """Start a campaign, and kill its driver when a share of the whole campaign's steps is done."""
    process = folder.start()
    while len(steps(folder) & whole) < share * len(whole):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    process.communicate()


@pytest.mark.timeout(1200)
def test_jobs_of_killed_drivers_give_the_same_results(here: Elsewhere, tmp_path: Path) -> None:
    pytest.importorskip("parsl")
    folder, whole = made(tmp_path, "parsl"), steps(here)
    shares = (0.2, 0.55, 0.85)
    for share in shares:
        kill_after(share, folder, whole)
    finish(folder)
    assert results(folder) == results(here)
    wait_until_nothing_is_left(tmp_path)
    twice = [key for key, count in computed(folder).items() if count > computed(here)[key]]
    # what a worker computed when it was killed is computed again: one label of each worker
    assert len(twice) <= 3 * len(shares), f"{len(twice)} labels were computed again"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("executor", ["mpi", "parsl"])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, lmp: str, executor: str) -> None:
    pytest.importorskip({"mpi": "mpi4py"}.get(executor, executor))
    folder = made(tmp_path, executor)
    process = folder.start()
    deadline = time.monotonic() + 120.0
    while not list(folder.run.glob("reference/.*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2.0)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output.count("alrare: stopped") == 1 and "Traceback" not in output, output
    wait_until_nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('executor = "mpi"\n', "needs more than one rank"),
        ('executor = "parsl"\n', "[cluster] has no machines"),
        ('executor = "parsl"\n[cluster]\nparsl_config = "no.py:config"\n', "no such file"),
        ('executor = "parsl"\n[cluster]\nparsl_config = "own.py:config"\n', "got NoneType"),
        ('executor = "parsl"\n[cluster.run]\nwalltime = "1 hour"\n', "hours, minutes and seconds"),
        ('executor = "parsl"\n[cluster.run]\nwall_time = "01:00:00"\n', "did you mean walltime?"),
        (
            'executor = "parsl"\n[cluster.run]\nprovider = "local"\nsetup = "true\\nfalse 7"\n',
            "setup: failed: false 7",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(tmp_path: Path, extra: str, message: str) -> None:
    pytest.importorskip("parsl")
    pytest.importorskip("mpi4py")
    folder = made(tmp_path, "local")
    (tmp_path / "own.py").write_text("config = None\n")
    folder.config.write_text(CONFIG.format(record=folder.record) + extra)
    process = folder.start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert message in output and "Traceback" not in output, output


@pytest.fixture
def slurm() -> None:
    """Skip without a Slurm that answers."""
    if shutil.which("sinfo") is None:
        pytest.skip("Slurm is not installed")
    if subprocess.run(["sinfo", "-h"], capture_output=True, timeout=90, check=False).returncode:
        pytest.skip("Slurm does not run here")


def jobs() -> str:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout


@pytest.mark.timeout(1200)
def test_slurm_gives_the_same_results_though_jobs_and_driver_are_killed(
    here: Elsewhere, tmp_path: Path, slurm: None
) -> None:
    pytest.importorskip("parsl")
    folder, rng = made(tmp_path, "slurm"), random.Random(3)
    process = folder.start()
    for _ in range(4):
        time.sleep(rng.uniform(5.0, 15.0))
        for line in jobs().splitlines():
            subprocess.run(["scancel", line.split()[0]], check=False)
    process.kill()
    process.communicate()
    finish(folder)
    assert results(folder) == results(here)
    assert jobs() == ""


@pytest.mark.timeout(300)
def test_a_queue_that_refuses_is_said_at_once(tmp_path: Path, lmp: str, slurm: None) -> None:
    pytest.importorskip("parsl")
    folder = made(tmp_path, "slurm")
    text = folder.config.read_text().replace("[cluster.label]", '[cluster.label]\npartition = "no"')
    folder.config.write_text(text)
    output, _ = (process := folder.start()).communicate(timeout=120)
    assert process.returncode == 1
    assert "[cluster.label]" in output and "invalid partition" in output, output
