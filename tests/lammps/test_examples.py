"""The inputs in examples/lammps_inputs run as they are, and do what they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

INPUTS = Path(__file__).parents[2] / "examples" / "lammps_inputs"


@pytest.fixture
def example(tmp_path, run_lmp):
    """Run an example in a folder of its own; return its output."""
    for path in INPUTS.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)

    def run(name, *, ranks=1):
        finished = run_lmp((tmp_path / name).read_text(), cwd=tmp_path, ranks=ranks)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run


def test_hexane_smd_breaks_the_chain_and_selects_on_the_way(example, tmp_path):
    example("in.hexane_smd")
    work = np.loadtxt(tmp_path / "work.dat")
    assert work[0, 1] == pytest.approx(6.4, abs=0.2)
    assert work[-1, 1] > 8.5
    assert 3.0 < work[:, 2].max() < 12.0
    frames = read(tmp_path / "candidates.extxyz", ":")
    assert 5 <= len(frames) <= 50
    assert all(frame.info["energy_std"] > frame.info["threshold"] > 0 for frame in frames)
    distances = np.array([frame.info["cv"] for frame in frames])
    assert np.diff(np.sort(distances)).min() > 0.01
    assert frames[0].get_distance(0, 5) == pytest.approx(distances[0], abs=1e-6)


def test_alkane_box_runs_on_two_ranks_and_stays_whole(example, tmp_path, read_thermo):
    [table] = read_thermo(example("in.alkane_box", ranks=2))
    assert table["Step"][-1] == 60
    assert table["Temp"].max() < 700
    frames = read(tmp_path / "box_candidates.extxyz", ":")
    assert 1 <= len(frames) <= 5
    assert all(len(frame) == 1000 and frame.pbc.all() for frame in frames)


def test_a_committee_of_mace_models_equals_its_own_calculator(tmp_path, monkeypatch):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    folder = INPUTS.parent / "own_network"
    for path in folder.glob("*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    hexane = INPUTS.parent / "hexane" / "hexane.xyz"
    models = [f"random_{k}.model" for k in range(2)]
    for command in (
        ["random_mace.py", "2"],
        ["mace_committee.py", *models],
        ["compare.py", hexane, *models],
    ):
        run = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
    found = re.findall(r"energy (\S+) eV, forces (\S+) eV/Å .* energy_std (\S+) eV", run.stdout)
    assert len(found) == 2
    assert all(float(value) < 1e-7 for row in found for value in row)
