"""neigh_modify exclude: what is excluded from everything is no part of the system."""

import re

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule

SELF_ENERGIES = (-13.6, -1030.0)
WARNING = "neigh_modify exclude hides some pairs"
SETUP = """
units metal
boundary p p p
atom_modify map yes
read_data system.data
pair_style nnp_ensemble
pair_coeff * * ensemble.safetensors H C
compute uq all pair nnp_ensemble
thermo_style custom step atoms pe c_uq[*]
thermo_modify format float %.12g
"""


def methanes(extra=""):
    """Two methanes in contact, atoms 1 to 5 and 6 to 10, and atoms far from both."""
    one, other = molecule("CH4"), molecule("CH4")
    other.positions += (3.5, 0, 0)
    far = Atoms(extra, [(12.0, 12.0 + 6 * k, 12.0) for k in range(len(Atoms(extra)))])
    atoms = one + other + far
    atoms.set_cell([40.0, 40.0, 40.0])
    atoms.pbc = True
    atoms.positions += 10.0
    return atoms


@pytest.fixture
def simulate(tmp_path, run_lmp):
    def run(commands, atoms, ranks=1):
        random_ensemble(members=3, self_energies=SELF_ENERGIES, seed=5).save(
            tmp_path / "ensemble.safetensors"
        )
        write_data_file(tmp_path / "system.data", atoms, ["H", "C"])
        result = run_lmp(SETUP + commands, cwd=tmp_path, ranks=ranks)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("group", "exclude"),
    [
        ("id 11", "exclude group ex all"),
        ("id 3", "exclude group ex all"),
        ("id 1:5", "exclude group ex all"),
        ("id 1:5", "exclude group ex ex exclude group ex rest"),
        ("type 2", "exclude type 2 2 exclude type 1 2"),
    ],
)
def test_the_energy_is_that_of_the_system_without_excluded_atoms(
    group, exclude, ranks, simulate, read_thermo
):
    commands = f"""
    group ex {group}
    group rest subtract all ex
    neigh_modify {exclude}
    run 0
    neigh_modify exclude none
    delete_atoms group ex
    run 0
    """
    text = simulate(commands, methanes("H"), ranks)
    excluded, deleted = read_thermo(text)
    assert excluded["Atoms"][0] > deleted["Atoms"][0]
    for name in deleted:
        if name != "Atoms":
            assert np.allclose(excluded[name], deleted[name], rtol=0, atol=1e-5, equal_nan=True), (
                name
            )
    assert WARNING not in text


@pytest.mark.parametrize("ranks", [1, 2])
def test_gcmc_deletes_an_atom_by_the_energy_it_has(ranks, simulate, read_thermo):
    commands = """
    group gas id 11
    region far block 14 36 14 36 14 36
    fix mc gas gcmc 1 5 0 1 3456 300.0 {mu} 0.1
    thermo_style custom step atoms pe f_mc[3] f_mc[4] f_mc[5] f_mc[6]
    thermo 1
    run 4
    """
    above = simulate(commands.format(mu=-10.0), methanes("H"), ranks)
    (kept,) = read_thermo(above)
    assert kept["f_mc[5]"][-1] > 0 and kept["f_mc[6]"][-1] == 0  # tried, refused
    below = simulate(commands.format(mu=-18.0), methanes("H"), ranks)
    (gone,) = read_thermo(below)
    assert gone["f_mc[6]"][-1] == 1 and gone["f_mc[4]"][-1] == 0
    (alone,) = read_thermo(simulate("run 0\n", methanes(), ranks))
    assert gone["PotEng"][-1] == pytest.approx(alone["PotEng"][0], abs=1e-5)
    assert WARNING not in above + below  # each atom is there or not


MOLECULES = """
units metal
atom_style full
boundary p p p
atom_modify map yes
region b block 0 40 0 40 0 40
create_box 2 b
molecule methane methane.txt
create_atoms 0 single 10 10 10 mol methane 1
create_atoms 0 single 14 10 10 mol methane 2
mass * 1.0
pair_style nnp_ensemble
pair_coeff * * ensemble.safetensors H C
group gas molecule 1 2
fix mc gas gcmc 1 5 0 0 3456 300.0 {mu} 0.1 mol methane intra_energy {intra} full_energy
thermo_style custom step atoms pe f_mc[3] f_mc[4] f_mc[5] f_mc[6]
thermo 1
run 2
"""


def test_gcmc_deletes_a_molecule_by_the_energy_it_has(tmp_path, run_lmp, read_thermo):
    atoms = molecule("CH4")
    lines = [" ".join(map(str, (k + 1, *x))) for k, x in enumerate(atoms.positions)]
    types = [f"{k + 1} {1 if symbol == 'H' else 2}" for k, symbol in enumerate(atoms.symbols)]
    charges = [f"{k + 1} 0" for k in range(len(atoms))]
    sections = (("Coords", lines), ("Types", types), ("Charges", charges))
    text = f"methane\n\n{len(atoms)} atoms\n"
    for name, rows in sections:
        text += f"\n{name}\n\n" + "\n".join(rows) + "\n"
    (tmp_path / "methane.txt").write_text(text)
    random_ensemble(members=3, self_energies=SELF_ENERGIES, seed=5).save(
        tmp_path / "ensemble.safetensors"
    )
    alone = 4 * SELF_ENERGIES[0] + SELF_ENERGIES[1]

    def last(mu):
        result = run_lmp(MOLECULES.format(mu=mu, intra=alone), cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        (table,) = read_thermo(result.stdout)
        return {name: values[-1] for name, values in table.items()}

    gone = last(-4.0)  # of a molecule in vacuum, beside its own energy
    assert gone["f_mc[6]"] == 2 and gone["f_mc[4]"] == 0
    assert gone["Atoms"] == 0 and gone["PotEng"] == 0.0
    kept = last(4.0)
    assert kept["f_mc[5]"] > 0 and kept["f_mc[6]"] == 0


@pytest.mark.parametrize("exclude", ["group cold cold", "type 1 1"])
def test_hidden_pairs_are_warned_of_in_the_run_they_are_hidden_in(exclude, simulate):
    text = simulate(
        "group cold id 1 2 3\n"
        f"run 0\nprint FIRST\nneigh_modify exclude {exclude}\nrun 0\nprint SECOND\n"
        "neigh_modify exclude none\nrun 0\n",
        methanes(),
    )
    before, during, after = re.split("^(?:FIRST|SECOND)$", text, flags=re.MULTILINE)
    assert WARNING not in before
    assert during.count(WARNING) == 1
    assert WARNING not in after
