"""The ASE calculator: what ASE expects, and the ensemble's spread beside it."""

import copy
import pickle
import subprocess
import sys

import alrare
import numpy as np
import pytest
from alrare.errors import ModelError
from alrare.model.ensemble import Ensemble
from ani_reference import evaluate, random_ensemble
from ase import Atoms
from ase.build import molecule
from families import crystal, strain_slopes

pytest.importorskip("alrare._core")


@pytest.fixture(scope="module")
def ensemble():
    plain = random_ensemble(
        members=3, hidden={"H": (32, 16)}, hidden_default=(16, 8), best_member=1
    )
    return Ensemble(plain.metadata, {name: 2.5 * w for name, w in plain.weights.items()})


@pytest.fixture(scope="module")
def model(ensemble, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "ensemble.safetensors"
    ensemble.save(path)
    return path


@pytest.mark.parametrize("forces", ["mean", "best", 3])
@pytest.mark.parametrize("atoms", [crystal(), molecule("C2H6")], ids=["crystal", "molecule"])
def test_energy_forces_and_spread_are_those_of_the_ensemble(forces, atoms, ensemble, model):
    expected = evaluate(ensemble, [atoms])
    weights = {"mean": np.full(3, 1 / 3), "best": np.eye(3)[1], 3: np.eye(3)[2]}[forces]
    atoms = atoms.copy()
    atoms.calc = alrare.EnsembleCalculator(model, forces=forces)
    energies, members = expected.energies[:, 0], expected.forces[0]
    assert atoms.get_potential_energy() == pytest.approx(weights @ energies, abs=1e-4)
    assert np.abs(atoms.get_forces() - np.tensordot(weights, members, 1)).max() < 1e-4
    results = atoms.calc.results
    deviation = np.sqrt(((members - members.mean(axis=0)) ** 2).sum(axis=(0, 2)) / 2 / 3)
    assert results["energy_std"] == pytest.approx(np.std(energies, ddof=1), abs=1e-4)
    assert np.abs(results["forces_std"] - deviation).max() < 1e-4
    assert results["force_std"] == results["forces_std"].max()
    assert results["member_energies"].shape == (3,)
    assert results["member_forces"].shape == (3, len(atoms), 3)


def test_a_calculator_can_be_copied_and_sent_to_a_process(model):
    atoms = crystal()
    atoms.calc = alrare.EnsembleCalculator(model, forces=2, threads=1)
    energy = atoms.get_potential_energy()
    for other in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
        other.rattle(1e-9)
        assert other.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        assert other.calc.results["forces"] == pytest.approx(atoms.get_forces(), abs=1e-6)


def test_stress_is_the_strain_derivative_of_the_energy(model):
    calculator = alrare.EnsembleCalculator(model)
    atoms = crystal()
    stress = calculator.get_stress(atoms)
    for k, slope in enumerate(strain_slopes(calculator, atoms)):
        assert stress[k] == pytest.approx(slope, abs=2e-3 * np.abs(stress).max())


def test_without_force_std_the_rest_is_the_same(model):
    with_it, without = (
        alrare.EnsembleCalculator(model.parent, force_std=choice) for choice in (True, False)
    )
    atoms = crystal()
    assert np.abs(with_it.get_forces(atoms) - without.get_forces(atoms)).max() < 1e-5
    assert np.abs(with_it.get_stress(atoms) - without.get_stress(atoms)).max() < 1e-6
    assert without.results["energy_std"] == pytest.approx(with_it.results["energy_std"])
    assert "force_std" not in without.results


def test_an_open_box_has_no_stress(model):
    calculator = alrare.EnsembleCalculator(model)
    calculator.get_potential_energy(molecule("CH4"))
    assert "stress" not in calculator.results


def test_what_does_not_fit_the_model_is_named(model):
    with pytest.raises(ModelError, match="does not exist"):
        alrare.EnsembleCalculator("nowhere.safetensors")
    with pytest.raises(ModelError, match="mean, best or a member from 1 to 3, got 4"):
        alrare.EnsembleCalculator(model, forces=4)
    calculator = alrare.EnsembleCalculator(model)
    with pytest.raises(ModelError, match="element O is unknown to a model of H, C"):
        calculator.get_potential_energy(molecule("H2O"))
    with pytest.raises(ModelError, match="positions must be finite"):
        calculator.get_potential_energy(Atoms("H", [[np.nan, 0, 0]]))


def test_neither_the_package_nor_the_calculator_loads_torch():
    code = (
        "import sys, alrare; assert not {'numpy', 'ase', 'torch'} & set(sys.modules);"
        "alrare.EnsembleCalculator; assert 'torch' not in sys.modules and 'ase' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
