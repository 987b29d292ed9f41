"""SchNet: the module that LAMMPS runs, its contract, and numbers made with SchNetPack."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import _core
from alrare.model.ensemble import Ensemble, Metadata, load_ensemble
from alrare.model.schnet import SchNet, SchNetShape, StackedSchNet, shifted_softplus
from alrare.model.torchscript import export_torchscript, load_torchscript
from ase.build import molecule
from families import random_schnet
from safetensors.torch import load_file

DATA = Path(__file__).parents[2] / "data" / "schnet"
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


def arguments(atoms, ensemble, dtype=torch.float64):
    """Return arguments of the contract's `forward` for a molecule."""
    metadata = ensemble.metadata
    symbols = atoms.get_chemical_symbols()
    species = np.array([metadata.elements.index(symbol) for symbol in symbols])
    edge_i, edge_j, vec = _core.neighbors(species, atoms.positions, metadata.cutoff)
    none = torch.zeros(0, 2, dtype=torch.int64)
    edges = torch.from_numpy(edge_i), torch.from_numpy(edge_j)
    kinds = torch.from_numpy(species)
    return torch.from_numpy(vec).to(dtype), *edges, kinds, len(atoms), none, WEIGHTS


def ethane():
    atoms = molecule("C2H6")
    atoms.rattle(0.1, seed=1)
    return atoms


def test_the_gradient_is_that_of_the_energy_in_float64():
    ensemble = random_schnet()
    module = SchNet().module(ensemble, torch.float64)
    vec, *others = arguments(ethane(), ensemble)

    def energies(moved):
        return module(moved, *others)

    vec.requires_grad_()
    (gradient,) = torch.autograd.grad((WEIGHTS @ energies(vec)).sum(), vec)
    for e, a in ((0, 0), (5, 1), (17, 2)):
        values = []
        for size in (1e-4, -1e-4):
            moved = vec.detach().clone()
            moved[e, a] += size
            values.append(float((WEIGHTS @ energies(moved)).sum()))
        assert float(gradient[e, a]) == pytest.approx((values[0] - values[1]) / 2e-4, abs=1e-7)


def test_pairs_give_the_energies_of_edges():
    ensemble = random_schnet()
    module = SchNet().module(ensemble, torch.float64)
    vec, edge_i, edge_j, species, n, triples, weights = arguments(ethane(), ensemble)
    once = edge_i < edge_j
    pairs = module.of_pairs(vec[once], edge_i[once], edge_j[once], species)
    edges = module(vec, edge_i, edge_j, species, n, triples, weights)
    assert torch.allclose(pairs, edges, rtol=0.0, atol=1e-10)


def test_ghosts_pass_messages_and_are_not_summed():
    ensemble = random_schnet()
    module = SchNet().module(ensemble, torch.float64)
    vec, edge_i, edge_j, species, n, *rest = arguments(ethane(), ensemble)
    whole = module(vec, edge_i, edge_j, species, n, *rest)
    few = module(vec, edge_i, edge_j, species, 3, *rest)
    assert few.shape == (3, 3) and torch.allclose(few, whole[:, :3], rtol=0.0, atol=1e-12)
    own = edge_i < 3  # without the edges of ghosts the second interaction lacks something
    without = module(vec[own], edge_i[own], edge_j[own], species, 3, *rest)
    assert not torch.allclose(without, few, atol=1e-6)


def test_centers_without_edges_have_the_energy_of_their_embedding():
    ensemble = random_schnet()
    module = SchNet().module(ensemble, torch.float64)
    none, edges = torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    species = torch.tensor([1, 0, 1])
    vec = none.requires_grad_()
    triples = torch.zeros(0, 2, dtype=torch.int64)
    energies = module(vec, edges, edges, species, 3, triples, WEIGHTS)
    assert energies.dtype == torch.float64 and energies.shape == (3, 3)
    assert torch.equal(energies[:, 0], energies[:, 2])
    (gradient,) = torch.autograd.grad(energies.sum(), vec)
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_export_gives_the_energies_of_the_module(tmp_path, dtype):
    ensemble = random_schnet()
    export_torchscript(ensemble, tmp_path / "ensemble.pt")
    exported, metadata = load_torchscript(tmp_path / "ensemble.pt")
    vec, *others = arguments(ethane(), ensemble, dtype)
    results = []
    for module in (exported, SchNet().module(ensemble)):
        leaf = vec.clone().requires_grad_()
        energies = module(leaf, *others)
        (gradient,) = torch.autograd.grad((WEIGHTS @ energies).sum(), leaf)
        assert energies.dtype == torch.float64 and gradient.dtype == dtype
        results.append((energies.detach(), gradient))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert metadata["format_version"] == 2 and metadata["family"] == "schnet"
    assert metadata["receptive_field"] == 8.0 and metadata["angular_cutoff"] == 0.0
    assert metadata["schnet"] == {
        "features": 16, "gaussians": 12, "interactions": 2, "cutoff": 4.0,
    }  # fmt: skip


def test_self_energies_keep_their_digits():
    ensemble = random_schnet()
    plain = Ensemble(ensemble.metadata, ensemble.weights)
    large = Metadata.from_json(
        ensemble.metadata.to_json().replace("[-13.6, -27.2]", "[-13.600000001, -99999.000000001]")
    )
    atoms = ethane()
    small, huge = (
        SchNet().module(Ensemble(metadata, plain.weights))(*arguments(atoms, ensemble)).sum(1)
        for metadata in (plain.metadata, large)
    )
    shift = 6 * -1e-9 + 2 * (-99999.000000001 + 27.2)
    assert (huge - small).numpy() == pytest.approx([shift] * 3, abs=1e-9)


def test_an_impossible_shape_is_refused():
    with pytest.raises(ValueError, match="at least 2 features"):
        SchNetShape(features=1)
    assert SchNetShape().receptive_field == 15.0


def test_the_activation_is_zero_at_zero():
    values = shifted_softplus(torch.tensor([0.0, 40.0, -40.0], dtype=torch.float64))
    assert values.numpy() == pytest.approx([0.0, 40.0 - np.log(2.0), -np.log(2.0)])


def test_energies_and_forces_are_those_of_schnetpack():
    reference = json.loads((DATA / "reference.json").read_text())
    weights = load_file(DATA / "weights.safetensors")
    elements = reference["elements"]
    network = StackedSchNet(
        SchNetShape(**reference["shape"]),
        {name: tensor[None].double() for name, tensor in weights.items()},
        torch.zeros(len(elements), dtype=torch.float64),
    )
    for one in reference["molecules"]:
        species = np.array([elements.index(symbol) for symbol in one["symbols"]])
        positions = np.array(one["positions"])
        edge_i, edge_j, _ = _core.neighbors(species, positions, reference["shape"]["cutoff"])
        i, j = torch.from_numpy(edge_i), torch.from_numpy(edge_j)
        moved = torch.from_numpy(positions).requires_grad_()
        none = torch.zeros(0, 2, dtype=torch.int64)
        kinds = torch.from_numpy(species)
        energies = network(moved[j] - moved[i], i, j, kinds, len(kinds), none, WEIGHTS[:1])
        (gradient,) = torch.autograd.grad(energies.sum(), moved)
        assert float(energies.detach().sum()) == pytest.approx(one["energy"], abs=1e-5)
        assert np.abs(-gradient.numpy() - np.array(one["forces"])).max() < 1e-5


def test_a_file_whose_tensors_are_of_another_shape_is_refused(tmp_path):
    ensemble = random_schnet()
    wrong = dict(ensemble.weights)
    wrong["interactions.1.filter.0.weight"] = torch.zeros(3, 16, 13)
    Ensemble(ensemble.metadata, wrong).save(tmp_path / "ensemble.safetensors")
    message = r"interactions\.1\.filter\.0\.weight: expected shape \(3, 16, 12\), got \(3, 16, 13\)"
    with pytest.raises(Exception, match=message):
        load_ensemble(tmp_path)
