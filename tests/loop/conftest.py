"""A whole campaign small enough for a test: ethane, GFN2-xTB, a short pull, small networks."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

HERE = Path(__file__).parent
CONFIG = """
name = "ethane"
structure = "ethane.xyz"
iterations = 1
forces = "best"

[labeller]
program = "ase"
calculator = "counting.CountingXTB"
arguments = {{ record = "{record}" }}

[initial]
equilibration_steps = 20
steps = 200
stride = 5

[pull]
atoms = [1, 2]
rate = 20.0
relax_steps = 20
steps = 200
temperature = 50.0
plus_steps = 50
thermostat = "langevin"
seeds = [1, 2]

[model]
members = 2
hidden = {{ H = [16, 12], C = [16, 12] }}

[train]
recipe = "fast"
epochs = 8
batch_size = 16
learning_rate = 1e-2  # with so few steps a small network hardly moves otherwise
weight_decay = 1e-3
train_fraction = 0.8
force_weight = 1.0

[select]
sigma = 1.0
screening_steps = 20
energy_gap = 0.01
max_per_run = 6
max_per_iteration = 6
around_event = 6
event_window = [100, 50]
max_force = 1e3
max_energy = 1e3

[run]
workers = 2
"""


@dataclass(frozen=True)
class Folder:
    """Where a test's campaign lives."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "al.toml"

    @property
    def record(self) -> Path:
        """The list of configurations that the labeller was asked for."""
        return self.path / "calls.txt"

    @property
    def run(self) -> Path:
        return self.path / "runs" / "ethane"

    def start(self, launcher: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start `alrare run`, by a launcher if any, in a process group of its own."""
        command = [*launcher, sys.executable, "-m", "alrare", "run", str(self.config)]
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [*command, "--runs", str(self.run.parent)],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def campaign(tmp_path: Path) -> Folder:
    """Return a folder with al.toml and the molecule, nothing run yet."""
    folder = Folder(tmp_path)
    write(tmp_path / "ethane.xyz", molecule("C2H6"))
    folder.config.write_text(CONFIG.format(record=folder.record))
    return folder
