"""What the calculator must give for a model of any family: the laws of physics, and its file."""

import copy
import pickle
import subprocess
import sys
from dataclasses import replace

import alrare
import numpy as np
import pytest
import torch
from alrare.errors import ModelError
from alrare.model.calibration import write_calibration
from alrare.model.engine import lammps_file
from alrare.model.ensemble import Ensemble, load_ensemble
from alrare.model.model_file import SpreadFactors
from alrare.model.torchscript import export_torchscript, load_torchscript
from ase import Atoms
from ase.build import make_supercell, molecule
from families import FAMILIES, crystal, random_model, strain_slopes

pytest.importorskip("alrare._core")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    random_model(request.param).save(folder / "ensemble.safetensors")
    return folder


@pytest.fixture
def calculator(model):
    return alrare.EnsembleCalculator(model)


@pytest.mark.parametrize("atoms", [molecule("C2H6"), crystal()], ids=["molecule", "crystal"])
def test_forces_are_minus_the_energy_gradient(calculator, atoms):
    forces = calculator.get_forces(atoms)
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = rng.normal(size=forces.shape)
        direction /= np.linalg.norm(direction)
        energies = []
        for size in (0.02, -0.02, 0.01, -0.01):
            moved = atoms.copy()
            moved.positions += size * direction
            energies.append(calculator.get_potential_energy(moved))
        slopes = (energies[0] - energies[1]) / 0.04, (energies[2] - energies[3]) / 0.02
        slope = (4.0 * slopes[1] - slopes[0]) / 3.0
        assert -np.sum(forces * direction) == pytest.approx(slope, abs=2e-3 * np.abs(forces).max())


def test_stress_is_the_strain_derivative_of_the_energy(calculator):
    atoms = crystal()
    stress = calculator.get_stress(atoms)
    for k, slope in enumerate(strain_slopes(calculator, atoms)):
        assert stress[k] == pytest.approx(slope, abs=3e-3 * np.abs(stress).max())


def test_moving_turning_and_renumbering_change_no_energy(calculator):
    atoms = molecule("C2H6")
    atoms.rattle(0.1, seed=3)
    energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
    order = np.random.default_rng(4).permutation(len(atoms))
    moved = atoms[order]
    moved.rotate(63, (1, -2, 0.5))
    moved.positions += [30.0, -7.0, 2.0]
    assert calculator.get_potential_energy(moved) == pytest.approx(energy, abs=1e-4)
    turned = calculator.get_forces(moved)
    norms = np.linalg.norm(forces, axis=1)
    assert np.linalg.norm(turned, axis=1) == pytest.approx(norms[order], abs=1e-4)


def test_a_box_is_a_part_of_its_supercell(calculator):
    atoms = crystal()
    energy, stress = calculator.get_potential_energy(atoms), calculator.get_stress(atoms)
    forces = calculator.get_forces(atoms)
    large = make_supercell(atoms, np.diag([2, 1, 2]))
    assert calculator.get_potential_energy(large) == pytest.approx(4 * energy, rel=1e-6)
    assert np.abs(calculator.get_forces(large) - np.tile(forces, (4, 1))).max() < 1e-4
    assert calculator.get_stress(large) == pytest.approx(stress, abs=1e-5)


def test_energy_and_forces_are_smooth_where_an_atom_passes_the_cutoff(calculator, model):
    cutoff = load_ensemble(model).metadata.cutoff
    values = []
    for distance in (cutoff - 1e-3, cutoff + 1e-3):
        pair = Atoms("CH", [[0, 0, 0], [0, 0, distance]])
        values.append((calculator.get_potential_energy(pair), calculator.get_forces(pair)))
    (near, force), (far, none) = values
    assert near == pytest.approx(far, abs=1e-5)
    assert np.abs(force).max() < 1e-2 and not none.any()


def test_atoms_out_of_reach_have_the_energies_of_isolated_ones(calculator):
    alone = [calculator.get_potential_energy(Atoms(symbol)) for symbol in "HC"]
    assert not calculator.get_forces(Atoms("H")).any()
    pair = Atoms("HC", [[0, 0, 0], [0, 0, 90.0]])
    assert calculator.get_potential_energy(pair) == pytest.approx(sum(alone), abs=1e-5)


def test_members_together_are_members_alone(model, tmp_path):
    ensemble, atoms = load_ensemble(model), crystal()
    together = alrare.EnsembleCalculator(model)
    together.calculate(atoms)
    for m in range(3):
        rows = {name: tensor[m : m + 1] for name, tensor in ensemble.weights.items()}
        alone = replace(ensemble.metadata, members=1, best_member=0)
        Ensemble(alone, rows).save(tmp_path / "ensemble.safetensors")
        one = alrare.EnsembleCalculator(tmp_path)
        one.calculate(atoms)
        energy = together.results["member_energies"][m]
        assert one.results["energy"] == pytest.approx(energy, abs=1e-4)
        difference = one.results["forces"] - together.results["member_forces"][m]
        assert np.abs(difference).max() < 1e-4
        chosen = alrare.EnsembleCalculator(model, forces=m + 1, force_std=False)
        assert np.abs(chosen.get_forces(atoms) - one.results["forces"]).max() < 1e-4
        assert chosen.get_stress(atoms) == pytest.approx(one.results["stress"], abs=1e-5)


def test_the_mean_is_that_of_the_members(calculator, model):
    atoms = crystal()
    calculator.calculate(atoms)
    results = calculator.results
    plain = alrare.EnsembleCalculator(model, force_std=False)
    for one in (calculator, plain):
        assert np.abs(one.get_forces(atoms) - results["member_forces"].mean(axis=0)).max() < 1e-5
        mean = results["member_energies"].mean()
        assert one.get_potential_energy(atoms) == pytest.approx(mean, abs=1e-5)
    assert results["energy_std"] == pytest.approx(np.std(results["member_energies"], ddof=1))


def test_a_calculator_can_be_copied_and_sent_to_a_process(calculator):
    atoms = crystal()
    energy = calculator.get_potential_energy(atoms)
    for other in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        other.reset()
        assert other.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-6)


def test_atoms_at_one_place_and_positions_that_are_no_numbers_are_refused(calculator):
    with pytest.raises(ModelError, match=r"atoms 0 and 1 .*are at the same place"):
        calculator.get_potential_energy(Atoms("H2", [[0, 0, 0], [0, 0, 0]]))
    with pytest.raises(ModelError, match=r"must be finite|is not a number"):
        calculator.get_potential_energy(Atoms("H", [[np.nan, 0, 0]]))
    with pytest.raises(ModelError, match="element O is unknown to a model of H, C"):
        calculator.get_potential_energy(molecule("H2O"))


def test_a_saved_model_is_read_back_exactly(model):
    ensemble = load_ensemble(model)
    family = ensemble.metadata.family
    assert (
        ensemble.metadata == random_model(family).metadata and family == model.name[: len(family)]
    )
    for name, tensor in random_model(family).weights.items():
        assert torch.equal(tensor, ensemble.weights[name])


def test_a_damaged_file_is_refused(model, tmp_path):
    content = bytearray((model / "ensemble.safetensors").read_bytes())
    content[-3] ^= 64
    (tmp_path / "ensemble.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        alrare.EnsembleCalculator(tmp_path)
    ensemble = load_ensemble(model)
    name = sorted(ensemble.weights)[0]
    without = {key: tensor for key, tensor in ensemble.weights.items() if key != name}
    Ensemble(ensemble.metadata, without).save(tmp_path / "ensemble.safetensors")
    with pytest.raises(ModelError, match=f"tensor {name}: expected shape"):
        load_ensemble(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, model, tmp_path):
    ensemble = load_ensemble(model)
    weights = {name: tensor.clone() for name, tensor in ensemble.weights.items()}
    name = sorted(weights)[0]
    weights[name].view(-1)[1] = value
    Ensemble(ensemble.metadata, weights).save(tmp_path / "ensemble.safetensors")
    for read in (load_ensemble, alrare.EnsembleCalculator):
        with pytest.raises(ModelError, match=f"{name}.* holds a value that is not finite"):
            read(tmp_path)


def test_a_calibration_changes_no_energy_and_is_in_both_files(model, tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble = load_ensemble(model)
    ensemble.save(path)
    export_torchscript(ensemble, tmp_path / "ensemble.pt")
    atoms = crystal()
    before = alrare.EnsembleCalculator(tmp_path).get_potential_energy(atoms)
    write_calibration(path, SpreadFactors(2.0, 3.0, 12))
    calculator = alrare.EnsembleCalculator(tmp_path)
    assert calculator.get_potential_energy(atoms) == before
    spread = calculator.results["energy_std"]
    assert calculator.results["calibrated_energy_std"] == pytest.approx(2.0 * spread)
    content = load_torchscript(tmp_path / "ensemble.pt")[1]["calibration"]
    assert isinstance(content, dict) and content["force"] == 3.0


def test_lammps_opens_the_export_where_it_must(model, tmp_path):
    native = load_ensemble(model).metadata.family == "ani"
    path = tmp_path / "ensemble.safetensors"
    load_ensemble(model).save(path)
    if not native:
        with pytest.raises(ModelError, match=r"ensemble\.pt: missing; LAMMPS opens this file"):
            lammps_file(tmp_path)
    export = tmp_path / "ensemble.pt"
    export.touch()
    assert lammps_file(path) == lammps_file(tmp_path) == (path if native else export)


def test_a_model_of_an_unknown_family_is_refused(tmp_path, monkeypatch):
    ensemble = random_model("schnet")
    monkeypatch.setattr(type(ensemble.metadata), "family", property(lambda self: "schnet"))
    content = ensemble.metadata.to_json().replace('"family": "schnet"', '"family": "other"')
    with pytest.raises(ValueError, match="of a family among ani, schnet, got"):
        type(ensemble.metadata).from_json(content)


def test_the_calculator_of_an_ani_model_loads_no_torch(tmp_path):
    random_model("ani").save(tmp_path / "ensemble.safetensors")
    code = (
        "import sys, alrare; from ase.build import molecule;"
        f"alrare.EnsembleCalculator({str(tmp_path)!r}).get_potential_energy(molecule('CH4'));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
