"""Who writes a candidates file, and which configurations fix al_select judges anew."""

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from ani_reference import random_ensemble
from ase.build import molecule
from ase.io import read

SETUP = """
units metal
boundary s s s
read_data system.data
pair_style nnp_ensemble
pair_coeff * * ensemble.safetensors H C
fix move all nve
timestep 0.0005
"""
PICK = "fix {0} all al_select 1 {1} threshold value 0 energy 0 min_distance 0 max 100\n"


@pytest.fixture
def simulate(tmp_path, run_lmp):
    random_ensemble(members=3, seed=5).save(tmp_path / "ensemble.safetensors")
    atoms = molecule("C2H6")
    atoms.rattle(0.03, seed=3)
    write_data_file(tmp_path / "system.data", atoms, ["H", "C"])

    def run(commands, *, fails=False, **more):
        result = run_lmp(SETUP + commands, cwd=tmp_path, **more)
        printed = result.stdout + result.stderr
        assert (result.returncode != 0) == fails, printed
        return printed

    return run


def test_two_fixes_with_one_file_are_refused(simulate, tmp_path):
    printed = simulate(
        PICK.format("p", "c.extxyz") + PICK.format("q", "c.extxyz") + "run 5\n", fails=True
    )
    assert "c.extxyz: another fix al_select or run writes this file" in printed
    simulate(PICK.format("p", "a.extxyz") + PICK.format("q", "b.extxyz") + "run 5\n")
    assert (tmp_path / "a.extxyz").read_bytes() == (tmp_path / "b.extxyz").read_bytes()


def test_two_partitions_with_one_file_are_refused(simulate):
    commands = PICK.format("p", "c.extxyz") + "run 1000000\n"  # until the other one ends both
    printed = simulate(commands, ranks=2, args=("-partition", "2x1"), fails=True)
    assert "another fix al_select or run writes this file" in printed


def test_a_file_is_free_again_when_the_fix_is_gone(simulate, tmp_path):
    pick = PICK.format("p", "c.extxyz") + "run 5\nunfix p\n"
    simulate(pick + pick)
    assert len(read(tmp_path / "c.extxyz", ":")) == 6


def test_reset_timestep_is_refused(simulate):
    printed = simulate(PICK.format("p", "c.extxyz") + "run 5\nreset_timestep 0\n", fails=True)
    assert "time-dependent fix" in printed or "fix p" in printed


def test_changed_configurations_at_one_step_are_judged_each_once(simulate, tmp_path):
    scan = "displace_atoms all random 0.02 0.02 0.02 {0}\nrun 0\nrun 0\n"
    simulate(PICK.format("p", "c.extxyz") + "run 0\n" + "".join(map(scan.format, (11, 12, 13))))
    frames = read(tmp_path / "c.extxyz", ":")
    assert len(frames) == 4
    positions = np.array([frame.positions for frame in frames])
    assert all(np.abs(np.diff(positions, axis=0)).max(axis=(1, 2)) > 1e-3)


AGAIN = """
read_restart half.restart
pair_style nnp_ensemble
pair_coeff * * ensemble.safetensors H C
fix move all nve
"""
CHANGES = {
    "nothing": "velocity all create 300 7\nset atom 2 image 0 0 0\n",
    "an atom": "set atom 3 z 1.5\n",
    "types": "set atom 1 type 1\n",
}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("change", "more"), [("nothing", 0), ("an atom", 1), ("types", 1)])
def test_a_restart_at_one_step_knows_what_was_judged(
    run_lmp, simulate, tmp_path, change, more, ranks
):
    pick = PICK.format("p", "c.extxyz")
    simulate(pick + "run 2\nwrite_restart half.restart\n")
    result = run_lmp(AGAIN + pick + CHANGES[change] + "run 0\n", cwd=tmp_path, ranks=ranks)
    assert result.returncode == 0, result.stdout
    assert len(read(tmp_path / "c.extxyz", ":")) == 3 + more


def test_steps_counted_anew_after_a_restart_are_refused(run_lmp, simulate, tmp_path):
    pick = PICK.format("p", "c.extxyz")
    simulate(pick + "run 2\nwrite_restart half.restart\n")
    result = run_lmp(AGAIN + "reset_timestep 0\n" + pick + "run 2\n", cwd=tmp_path)
    assert result.returncode != 0
    assert "the restart file is of step 2, and reset_timestep made it 0" in " ".join(
        result.stdout.split()
    )
    other = PICK.format("q", "d.extxyz")
    assert run_lmp(AGAIN + "reset_timestep 0\n" + other + "run 2\n", cwd=tmp_path).returncode == 0
    assert len(read(tmp_path / "d.extxyz", ":")) == 3


def test_a_configuration_of_which_the_model_sees_a_part_is_refused(simulate):
    part = "group ex id 3\nneigh_modify exclude group ex all\n"
    printed = simulate(PICK.format("p", "c.extxyz") + part + "run 0\n", fails=True)
    assert "leaves 1 of 8 atoms out of the system on step 0" in printed
