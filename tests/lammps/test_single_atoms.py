"""What the pair style says of single atoms: where one cannot have an energy, and which it has."""

import numpy as np
import pytest
from alrare.errors import ModelError
from alrare.exploration.lammps_input import write_data_file
from alrare.model.calculator import EnsembleCalculator
from alrare.model.torchscript import export_torchscript
from ani_reference import random_ensemble
from ase.build import molecule

SETUP = """
units metal
boundary {boundary}
read_data system.data
pair_style nnp_ensemble {keywords}
pair_coeff * * {model} {elements}
"""


@pytest.fixture
def simulate(tmp_path, run_lmp):
    """Return ``run(commands, atoms, model=..., fails=...)``: the text that lmp printed."""
    ensemble = random_ensemble(members=3, self_energies=(-13.0, -1030.0), seed=5)
    ensemble.save(tmp_path / "ensemble.safetensors")
    random_ensemble(members=3, seed=5).save(tmp_path / "no_self_energies.safetensors")

    def run(
        commands,
        atoms,
        *,
        model="ensemble.safetensors",
        keywords="",
        elements="H C",
        ranks=1,
        fails=False,
    ):
        if model.endswith(".pt"):
            export_torchscript(ensemble, tmp_path / model)
        write_data_file(tmp_path / "system.data", atoms, ["H", "C"])
        text = SETUP.format(
            boundary="p p p" if atoms.pbc.any() else "s s s",
            keywords=keywords,
            model=model,
            elements=elements,
        )
        result = run_lmp(text + commands, cwd=tmp_path, ranks=ranks)
        printed = result.stdout + result.stderr
        assert (result.returncode != 0) == fails, printed
        return printed

    return run


def ethane(box: float = 0.0):
    atoms = molecule("C2H6")
    atoms.rattle(0.03, seed=3)
    if box:
        atoms.set_cell([box, box, box])
        atoms.pbc = True
        atoms.center()
    return atoms


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("model", ["ensemble.safetensors", "ensemble.pt"])
def test_atoms_at_the_same_place_are_named(simulate, model, ranks):
    atoms = ethane(12.0)
    atoms.positions[6] = atoms.positions[3]
    printed = simulate("run 0\n", atoms, model=model, ranks=ranks, fails=True)
    assert "pair_style nnp_ensemble: atoms" in printed and "are at the same place" in printed
    assert "atoms 4 and 7" in printed or "atoms 7 and 4" in printed


@pytest.mark.parametrize("model", ["ensemble.safetensors", "ensemble.pt"])
def test_an_atom_whose_position_is_no_number_is_named(simulate, model):
    commands = (
        "fix move all nve\nrun 0\nvariable nan atom 1e300*1e300-1e300*1e300\n"
        "set atom 3 x v_nan\nrun 3 pre no\n"
    )
    printed = simulate(commands, ethane(), model=model, fails=True)
    assert "position of atom 3 is not a number" in printed or "Non-numeric" in printed


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("keywords", ["", "forces best", "forces 2 every 5", "force_std yes"])
def test_energies_of_single_atoms_add_up(simulate, tmp_path, keywords, ranks):
    atoms = ethane(9.0)
    commands = (
        "compute each all pe/atom\ncompute sum all reduce sum c_each\n"
        "thermo_style custom step pe c_sum\nfix move all nve\nthermo 1\n"
        "fix show all print 1 '$(pe:%.12g) $(c_sum:%.12g)' file values.txt screen no\n"
        "dump each all custom 1 each.txt id type c_each\n"
        "dump_modify each sort id format float %.12g\nrun 7\n"
    )
    simulate(commands, atoms, keywords=keywords, ranks=ranks)
    energy, total = np.loadtxt(tmp_path / "values.txt").T
    assert np.allclose(energy, total, rtol=0, atol=1e-6)
    rows = np.array(
        [line.split() for line in (tmp_path / "each.txt").read_text().splitlines()[9:17]]
    ).astype(float)
    assert np.ptp(rows[:2, 2]) < 20 and rows[:2, 2].max() < -900  # carbon has its self energy
    if keywords != "forces 2 every 5":
        calculator = EnsembleCalculator(
            tmp_path / "ensemble.safetensors", forces="best" if "best" in keywords else "mean"
        )
        calculator.calculate(atoms)
        assert rows[:, 2].sum() == pytest.approx(calculator.results["energy"], abs=1e-3)


FLUX = """
compute kinetic all ke/atom
compute each all pe/atom
compute stress all centroid/stress/atom NULL virial
compute flux all heat/flux kinetic each stress
velocity all create 600 7
fix move all nve
timestep {step}
thermo 1
fix show all print 1 '$(c_flux[1]:%.12g) $(c_flux[2]:%.12g) $(c_flux[3]:%.12g)' file flux.txt &
  screen no title ''
dump each all custom 1 each.txt x y z c_kinetic c_each
dump_modify each sort id format float %.14g
run 40
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_heat_flux_is_the_change_of_the_moments_of_the_energies(simulate, tmp_path, ranks):
    """J V = d/dt of the sum of r_i E_i (Hardy): without the centroid virial it is another."""
    step, atoms = 0.0002, ethane()
    simulate(FLUX.format(step=step), atoms, model="no_self_energies.safetensors", ranks=ranks)
    flux = np.loadtxt(tmp_path / "flux.txt")
    lines = (tmp_path / "each.txt").read_text().splitlines()
    each = np.array([line.split() for line in lines if len(line.split()) == 5]).astype(float)
    rows = each.reshape(-1, len(atoms), 5)
    moments = (rows[:, :, :3] * rows[:, :, 3:].sum(axis=2, keepdims=True)).sum(axis=1)
    change = (moments[2:] - moments[:-2]) / (2 * step)
    assert np.abs(change).max() > 1.0
    assert np.abs(flux[1:-1] - change).max() < 0.02 * np.abs(change).max()


def test_a_mass_of_another_element_is_warned_of(simulate):
    warning = "atom type 1 is C by its pair_coeff, but its mass, 1.008, is that of H"
    assert warning in simulate("run 0\n", ethane(), elements="C H")
    assert "by its pair_coeff" not in simulate("mass 1 2.014\nrun 0\n", ethane())


def test_python_names_atoms_at_the_same_place(tmp_path):
    random_ensemble(members=2).save(tmp_path / "ensemble.safetensors")
    atoms = ethane()
    atoms.positions[6] = atoms.positions[3]
    with pytest.raises(ModelError, match=r"atoms 3 and 6 \(counted from 0\) are at the same place"):
        EnsembleCalculator(tmp_path / "ensemble.safetensors").calculate(atoms)
