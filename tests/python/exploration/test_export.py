"""`alrare export`: a folder that runs as it is, with the energies of the ASE calculator."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alrare import EnsembleCalculator, export_lammps, load_ensemble, plugin
from alrare.cli.parser import main
from alrare.errors import AlrareError, ModelError
from alrare.exploration.lammps_box import box_of
from ase import Atoms
from ase.build import molecule
from ase.geometry import get_distances
from ase.io import read, write

MODEL = Path(__file__).parents[3] / "examples" / "lammps_inputs" / "hexane.safetensors"


def ethane():
    return molecule("C2H6")


def cell(vectors, pbc=True, seed=3):
    """Return ethane in a cell, turned so that no direction is special, partly outside."""
    atoms = ethane()
    atoms.set_cell(vectors)
    atoms.pbc = pbc
    atoms.rattle(0.05, seed=seed)
    atoms.positions += [11.0, -4.0, 3.0]
    atoms.rotate(37, (1, 2, -1), rotate_cell=True)
    return atoms


SHEARED = [[6.2, 0, 0], [1.9, 6.0, 0], [-2.5, 8.8, 6.4]]
LEFT_HANDED = [[0, 6.2, 0], [6.1, 0.4, 0], [0.3, 0.2, 6.4]]
STRUCTURES = {
    "molecule": ethane(),
    "box": Atoms(ethane(), cell=[7, 8, 9], pbc=True),
    "sheared": cell(SHEARED),
    "left-handed": cell(LEFT_HANDED),
    "sheet": cell(SHEARED, pbc=(True, True, False)),
    "sheet with its normal along y": cell(LEFT_HANDED, pbc=(True, False, True)),
    "chain": cell([[0, 0, 0], [0, 0, 0], [1.0, 2.0, 6.5]], pbc=(False, False, True)),
}
every_structure = pytest.mark.parametrize("name", STRUCTURES)


def run_in(folder, lmp):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LAMMPS_PLUGIN_PATH": plugin.folder()}
    done = subprocess.run(
        [lmp, "-in", "in.md", "-nocite"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@every_structure
def test_the_folder_runs_as_it_is_with_the_energy_of_the_calculator(tmp_path, lmp, name):
    atoms = STRUCTURES[name].copy()
    export_lammps(MODEL, atoms, tmp_path / "md")
    printed = run_in(tmp_path / "md", lmp)
    step, _, energy, spread = re.search(r"Step.*\n(.*)", printed)[1].split()
    atoms.calc = EnsembleCalculator(MODEL)
    assert int(step) == 0
    assert float(energy) == pytest.approx(atoms.get_potential_energy(), abs=2e-4)
    assert float(spread) == pytest.approx(atoms.calc.results["energy_std"], rel=1e-3)
    assert re.search(r"^ +1000 ", printed, re.MULTILINE)


def test_atom_types_are_the_elements_of_the_structure_whatever_its_order(tmp_path):
    for symbols, elements in (("CH4", "H C"), ("H2", "H")):
        export_lammps(MODEL, molecule(symbols), tmp_path / symbols)
        potential = (tmp_path / symbols / "potential.lmp").read_text()
        assert f"pair_coeff * * ensemble.safetensors {elements}\n" in potential
    data = (tmp_path / "H2" / "structure.data").read_text()
    assert "1 atom types" in data and "1 1.008000  # H" in data
    assert "dump_modify trajectory element H C " in (tmp_path / "CH4" / "in.md").read_text()


@every_structure
def test_a_box_for_lammps_is_the_same_structure(name):
    atoms = STRUCTURES[name]
    box = box_of(atoms)
    assert box.pbc.tolist() == atoms.pbc.tolist()
    np.testing.assert_allclose(
        get_distances(box.positions, cell=box.cell, pbc=box.pbc)[1],
        get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1],
        atol=1e-9,
    )
    if not atoms.pbc.any():
        np.testing.assert_array_equal(box.positions, atoms.positions)
        return
    cell = box.cell.array
    assert not np.triu(cell, 1).any() and np.diag(cell).min() > 0.0
    for row, column in ((1, 0), (2, 0), (2, 1)):
        assert abs(cell[row, column]) <= cell[column, column] / 2 + 1e-9
        if not (box.pbc[row] and box.pbc[column]):
            assert cell[row, column] == 0.0
    moved = np.cross(*(atoms.positions[[1, 2]] - atoms.positions[0])) @ (
        atoms.positions[3] - atoms.positions[0]
    )
    turned = np.cross(*(box.positions[[1, 2]] - box.positions[0])) @ (
        box.positions[3] - box.positions[0]
    )
    assert turned == pytest.approx(moved, abs=1e-9)  # no mirror image


def test_a_box_that_lammps_takes_stays_as_it_is():
    atoms = Atoms(ethane(), cell=[[8, 0, 0], [1, 9, 0], [-2, 3, 7]], pbc=True)
    box = box_of(atoms)
    np.testing.assert_array_equal(box.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(box.positions, atoms.positions)


def test_another_file_is_replaced_only_when_that_is_asked_for(tmp_path, capsys):
    structure, folder = tmp_path / "ethane.xyz", tmp_path / "md"
    write(structure, ethane())
    arguments = ["export", str(MODEL), str(structure), "-o", str(folder)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{folder / 'in.md'}\n"
    assert main(arguments) == 0  # the same files
    (folder / "in.md").write_text("my own")
    (folder / "ensemble.safetensors").write_bytes(b"another")
    (folder / "notes.txt").write_text("kept")
    capsys.readouterr()
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert f"{folder}: in.md, ensemble.safetensors would be replaced by another" in told
    assert (folder / "in.md").read_text() == "my own"
    assert main([*arguments, "--overwrite", "--forces", "best"]) == 0
    assert "forces best\n" in (folder / "potential.lmp").read_text()
    assert (folder / "ensemble.safetensors").read_bytes() == MODEL.read_bytes()
    assert (folder / "notes.txt").read_text() == "kept"


def test_another_charge_than_that_of_the_labels_is_refused(tmp_path):
    ensemble, charged = load_ensemble(MODEL), ethane()
    states = [{"charge": 0, "multiplicity": 1, "formulas": ["C2H6"]}]
    metadata = replace(ensemble.metadata, training={"states": states})
    replace(ensemble, metadata=metadata).save(tmp_path / "ensemble.safetensors")
    charged.info["charge"] = 1
    write(tmp_path / "ion.extxyz", charged)
    with pytest.raises(ModelError, match=r"C2H6: charge \+1, multiplicity 2, but the model was"):
        export_lammps(tmp_path, read(tmp_path / "ion.extxyz"), tmp_path / "md")
    assert not (tmp_path / "md").exists()
    export_lammps(tmp_path, ethane(), tmp_path / "md")


def test_what_does_not_fit_the_model_is_refused_and_nothing_is_written(tmp_path):
    flat = Atoms(ethane(), cell=[[5, 0, 0], [10, 0, 0], [0, 0, 5]], pbc=True)
    lost = ethane()
    lost.positions[0, 0] = np.nan
    for atoms, error, message in (
        (molecule("CH3OH"), ModelError, "element O is unknown to a model of H, C"),
        (flat, AlrareError, "expected a cell whose periodic directions span a volume"),
        (Atoms(ethane(), pbc=True), AlrareError, "periodic directions span a volume"),
        (lost, ModelError, "positions must be finite"),
        ("ethane.xyz", AlrareError, "export_lammps: structure: expected ase's Atoms, got str"),
    ):
        with pytest.raises(error, match=message):
            export_lammps(MODEL, atoms, tmp_path / "md")
    assert not (tmp_path / "md").exists()
    (tmp_path / "file").touch()
    with pytest.raises(AlrareError, match="file: expected a folder to write to, got a file"):
        export_lammps(MODEL, ethane(), tmp_path / "file")
