"""The inputs in examples/lammps_inputs run as they are, and do what they say."""

import shutil
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
