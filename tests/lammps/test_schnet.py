"""SchNet in a real lmp: equal to its ASE calculator, on any number of ranks."""

from pathlib import Path

import numpy as np
import pytest
from alrare.exploration.lammps_input import write_data_file
from alrare.model import EnsembleCalculator
from alrare.model.torchscript import export_torchscript
from ase import Atoms
from ase.build import molecule
from ase.io import read
from families import random_schnet

HEXANE = Path(__file__).parents[2] / "examples" / "hexane" / "hexane.xyz"
ELEMENTS = ("H", "C")
INPUT = """
units metal
atom_style atomic
boundary {boundary}
read_data system.data
pair_style nnp_ensemble force_std yes
pair_coeff * * {model} H C
compute uq all pair nnp_ensemble
thermo_style custom step pe c_uq[*]
thermo_modify format float %.15g norm no
dump forces all custom 1 forces.dump id fx fy fz
dump_modify forces format float %.15g
run 0
"""


def chains() -> Atoms:
    """Three hexanes in a row: longer than what an atom sees."""
    one = read(HEXANE)
    atoms = one.copy()
    for k in (1, 2):
        other = one.copy()
        other.positions += (9.0 * k, 0.3 * k, 0.5)
        atoms += other
    atoms.rattle(0.05, seed=1)
    return atoms


def small_cell() -> Atoms:
    """An ethane in a triclinic cell, a third of what an atom sees."""
    atoms = molecule("C2H6")
    atoms.set_cell([[5.2, 0, 0], [0.9, 4.9, 0], [0.4, -0.5, 5.1]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    atoms.wrap()
    return atoms


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("schnet")
    ensemble = random_schnet(members=3)
    ensemble.save(folder / "ensemble.safetensors")
    export_torchscript(ensemble, folder / "ensemble.pt")
    return folder


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("system", [chains, small_cell])
def test_lammps_gives_what_the_calculator_gives(
    system, ranks, model, run_lmp, tmp_path, read_thermo, read_dump
):
    atoms = system()
    write_data_file(tmp_path / "system.data", atoms, elements=ELEMENTS)
    boundary = "p p p" if atoms.pbc.all() else "s s s"
    text = INPUT.format(boundary=boundary, model=model / "ensemble.pt")
    result = run_lmp(text, cwd=tmp_path, ranks=ranks)
    assert result.returncode == 0, result.stdout + result.stderr
    row, forces = read_thermo(result.stdout)[0], read_dump(tmp_path / "forces.dump")[0]
    atoms.calc = EnsembleCalculator(model)
    expected = atoms.get_forces()
    found = np.array([row[f"c_uq[{k}]"][0] for k in (3, 4, 5)])
    assert np.abs(expected).max() > 0.01
    assert np.allclose(found, atoms.calc.results["member_energies"], rtol=0, atol=2e-5)
    assert np.allclose(forces, expected, rtol=0, atol=1e-5)
    assert row["c_uq[1]"][0] == pytest.approx(atoms.calc.results["energy_std"], abs=1e-5)
    assert row["c_uq[2]"][0] == pytest.approx(atoms.calc.results["force_std"], abs=1e-5)


def test_its_safetensors_is_refused_by_name(model, run_lmp, tmp_path):
    write_data_file(tmp_path / "system.data", small_cell(), elements=ELEMENTS)
    text = INPUT.format(boundary="p p p", model=model / "ensemble.safetensors")
    result = run_lmp(text, cwd=tmp_path)
    assert result.returncode != 0
    assert "these are of family schnet: give the TorchScript export" in result.stdout
