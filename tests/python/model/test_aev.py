"""The descriptor, its derivatives and the exported model against torchani in float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.errors import ModelError
from alrare.model.aev import AEVConstants, Descriptor
from alrare.model.torchscript import EnsembleModule, export_torchscript, load_torchscript
from ani_reference import (
    Graph,
    build_graph,
    evaluate,
    random_ensemble,
    torchani_aev,
    torchani_members,
)
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

ENSEMBLE = random_ensemble(self_energies=(-13.6, -1030.0), seed=3)
FOUR = random_ensemble(elements=("O", "N", "C", "H"), members=2, hidden={}, seed=5)


def hexane(stretch: float = 1.0) -> Atoms:
    """All-trans C6H14, stretched along its axis, slightly disordered."""
    atoms = Atoms("C6", positions=[(1.27 * k, 0.43 * (-1) ** k, 0) for k in range(6)])
    for k in range(6):
        for z in (0.89, -0.89):
            atoms += Atoms("H", positions=[(1.27 * k, 1.06 * (-1) ** k, z)])
    atoms += Atoms("H2", positions=[(-0.93, -0.21, 0), (1.27 * 5 + 0.93, 0.21, 0)])
    atoms.positions[:, 0] *= stretch
    atoms.rattle(0.05, seed=1)
    return atoms


def periodic() -> Atoms:
    """Two ethanes in a triclinic cell."""
    ethane = molecule("C2H6")
    atoms = ethane + ethane
    atoms.positions[8:] += (4.2, 0.5, 0.3)
    atoms.set_cell([[8.3, 0, 0], [1.1, 7.4, 0], [0.4, -0.9, 7.9]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    return atoms


def broken() -> Atoms:
    """Hexane torn in two parts, beyond every cutoff."""
    atoms = hexane()
    atoms.positions[atoms.positions[:, 0] > 3.0, 0] += 20.0
    return atoms


FRAMES = {
    "hexane": hexane(),
    "stretched": hexane(1.35),
    "broken": broken(),
    "periodic": periodic(),
    "isolated": Atoms("CH", positions=[(0, 0, 0), (9, 9, 9)]),
    "dimer": Atoms("CH", positions=[(0, 0, 0), (0, 0, 4.2)]),
}


def graph_of(atoms: Atoms) -> Graph:
    return build_graph([atoms], ENSEMBLE.metadata)


def tensors(graph: Graph, dtype: torch.dtype) -> tuple[torch.Tensor | int, ...]:
    return (
        torch.from_numpy(graph.vec).to(dtype),
        torch.from_numpy(graph.edge_i),
        torch.from_numpy(graph.edge_j),
        torch.from_numpy(graph.species),
        len(graph.species),
        torch.from_numpy(graph.triples),
    )


def contract_forces(graph: Graph, grad: torch.Tensor) -> np.ndarray:
    """Forces as the caller of the exported model builds them."""
    forces = np.zeros((len(graph.species), 3))
    np.add.at(forces, graph.edge_j, -grad.double().numpy())
    np.add.at(forces, graph.edge_i, grad.double().numpy())
    return forces


def test_aev_has_the_length_and_order_of_torchani() -> None:
    atoms = hexane()
    ours, _ = Descriptor(AEVConstants(), 2, torch.float64)(*tensors(graph_of(atoms), torch.float64))
    species = torch.tensor([["HC".index(s) for s in atoms.get_chemical_symbols()]])
    theirs = torchani_aev(AEVConstants(), 2)(species, torch.tensor(atoms.positions[None]))[0]
    assert ours.shape == (20, 128) == (20, AEVConstants().features(2))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_other_resolutions_keep_the_proportions_of_ani_2x() -> None:
    sizes = {"radial_shifts": 16, "angular_shifts": 8, "angle_sections": 4}
    cutoffs = {"radial_cutoff": 5.1, "angular_cutoff": 3.5}
    known = AEVConstants.of_resolution(**cutoffs, **sizes)
    assert known == AEVConstants()
    finer = AEVConstants.of_resolution(**cutoffs, **{key: 2 * n for key, n in sizes.items()})
    for ours, theirs in (
        (finer.radial_shifts, known.radial_shifts),
        (finer.angular_shifts, known.angular_shifts),
    ):
        assert ours[::2] == pytest.approx(theirs)
    spacing = np.diff(finer.angle_sections)
    assert spacing == pytest.approx(np.pi / 8) and finer.angle_sections[0] == np.pi / 16
    widths = [finer.radial_eta, finer.angular_eta, finer.zeta]
    assert widths == pytest.approx([4 * known.radial_eta, 4 * known.angular_eta, 4 * known.zeta])
    wider = AEVConstants.of_resolution(radial_cutoff=9.4, angular_cutoff=3.5, **sizes)
    assert wider.radial_eta == pytest.approx(known.radial_eta / 4)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.float32, 1e-4)])
def test_every_member_equals_torchani(name: str, dtype: torch.dtype, tolerance: float) -> None:
    energies, forces = torchani_members(FRAMES[name], ENSEMBLE)
    result = evaluate(ENSEMBLE, [FRAMES[name]], dtype=dtype)
    assert np.abs(result.energies[:, 0] - energies).max() < tolerance
    assert np.abs(result.forces[0] - forces).max() < tolerance


def test_four_elements_equal_torchani() -> None:
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=4)
    energies, forces = torchani_members(atoms, FOUR)
    result = evaluate(FOUR, [atoms], dtype=torch.float64)
    assert FOUR.metadata.elements == ("H", "C", "N", "O")
    assert np.abs(result.energies[:, 0] - energies).max() < 1e-5
    assert np.abs(result.forces[0] - forces).max() < 1e-5


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("weights", [(1 / 3, 1 / 3, 1 / 3), (0.0, 1.0, 0.0), (0.5, -1.0, 2.0)])
def test_exported_gradient_is_that_of_the_weighted_sum(
    name: str, weights: tuple[float, ...], exported: torch.nn.Module
) -> None:
    energies, forces = torchani_members(FRAMES[name], ENSEMBLE)
    graph = graph_of(FRAMES[name])
    w = torch.tensor(weights, dtype=torch.float64)
    with torch.inference_mode():
        e_member, grad = exported(*tensors(graph, torch.float32), w)
    assert e_member.dtype == torch.float64
    assert np.abs(e_member.numpy() - energies).max() < 1e-4
    expected = np.einsum("m,mic->ic", weights, forces)
    assert np.abs(contract_forces(graph, grad) - expected).max() < 1e-4


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    path = tmp_path_factory.mktemp("model") / "ensemble.pt"
    export_torchscript(ENSEMBLE, path)
    return load_torchscript(path)[0]


def test_no_locals_give_no_energy(exported: torch.nn.Module) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    pairs = none.view(0, 2)
    w = torch.full((3,), 1 / 3, dtype=torch.float64)
    for species in (none, torch.tensor([0, 1])):  # an empty rank, a rank of ghosts only
        with torch.inference_mode():
            energies, grad = exported(torch.zeros(0, 3), none, none, species, 0, pairs, w)
        assert energies.tolist() == [0, 0, 0]
        assert grad.shape == (0, 3)


def test_ghosts_add_no_energy_of_their_own(exported: torch.nn.Module) -> None:
    graph = graph_of(hexane())
    kept = graph.edge_i < 6
    edges = np.flatnonzero(kept)
    triples = graph.triples[np.isin(graph.triples[:, 0], edges)]
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    vec, i, j, species, _, _ = tensors(graph, torch.float32)
    with torch.inference_mode():
        part, _ = exported(
            vec[kept], i[kept], j[kept], species, 6, torch.from_numpy(triples), weights
        )
    whole = EnsembleModule(ENSEMBLE, torch.float64)
    with torch.inference_mode():
        aev, _ = whole.descriptor(*tensors(graph, torch.float64))
        energy = whole.networks[1](aev[:6], weights)[0].sum(1) + 6 * -1030.0
    assert (species[:6] == 1).all()
    assert torch.allclose(part, energy, atol=1e-4)


def test_forces_of_all_members_at_once_are_those_of_each(tmp_path: Path) -> None:
    export_torchscript(ENSEMBLE, tmp_path / "ensemble.pt")
    exported, _ = load_torchscript(tmp_path / "ensemble.pt")
    arguments = tensors(graph_of(periodic()), torch.float32)
    with torch.inference_mode():
        energies, gradients = exported.forward_members(*arguments)
        for m in range(3):
            unit = torch.eye(3, dtype=torch.float64)[m]
            alone, gradient = exported(*arguments, unit)
            assert torch.equal(alone, energies)
            assert torch.allclose(gradients[m], gradient, rtol=0, atol=1e-6)


def test_export_embeds_the_metadata(tmp_path: Path) -> None:
    export_torchscript(ENSEMBLE, tmp_path / "ensemble.pt")
    content = load_torchscript(tmp_path / "ensemble.pt")[1]
    assert content == json.loads(ENSEMBLE.metadata.to_json())
    assert content["elements"] == ["H", "C"]
    assert content["cutoff"] == 5.1
    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.pt"]


def test_a_foreign_export_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("no")
    with pytest.raises(ModelError, match=r"x\.pt: expected an ensemble\.pt of alrare"):
        load_torchscript(tmp_path / "x.pt")


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_gradient_is_that_of_finite_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = Atoms("C3H5", positions=rng.uniform(0, 3.5, (8, 3)))
    module = EnsembleModule(ENSEMBLE, torch.float64)
    w = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)

    def weighted(positions: np.ndarray) -> tuple[float, np.ndarray]:
        moved = atoms.copy()
        moved.positions = positions
        graph = graph_of(moved)
        with torch.inference_mode():
            energies, grad = module(*tensors(graph, torch.float64), w)
        return float(w @ energies), contract_forces(graph, grad)

    _, forces = weighted(atoms.positions)
    step = rng.normal(size=(8, 3)) * 1e-5
    plus, _ = weighted(atoms.positions + step)
    minus, _ = weighted(atoms.positions - step)
    assert (plus - minus) / 2 == pytest.approx(-(forces * step).sum(), rel=1e-4, abs=1e-9)


def test_triples_are_every_pair_within_the_angular_cutoff_once() -> None:
    graph = graph_of(periodic())
    short = np.linalg.norm(graph.vec, axis=1) < 3.5
    expected = {
        (a, b)
        for a in range(len(graph.vec))
        for b in range(a + 1, len(graph.vec))
        if graph.edge_i[a] == graph.edge_i[b] and short[a] and short[b]
    }
    assert len(graph.triples) == len(expected)
    assert set(map(tuple, graph.triples.tolist())) == expected
    assert (np.diff(graph.edge_i) >= 0).all()


def test_frames_joined_have_their_own_neighborhoods() -> None:
    frames = [FRAMES["hexane"], FRAMES["isolated"], FRAMES["periodic"], FRAMES["dimer"]]
    joined = evaluate(ENSEMBLE, frames)
    for k, atoms in enumerate(frames):
        alone = evaluate(ENSEMBLE, [atoms])
        assert np.abs(joined.energies[:, k] - alone.energies[:, 0]).max() < 1e-4
        assert np.abs(joined.forces[k] - alone.forces[0]).max() < 1e-4


def test_an_unknown_element_is_named() -> None:
    with pytest.raises(ModelError, match="H2O: element O is unknown to a model of H, C"):
        evaluate(ENSEMBLE, [molecule("H2O")])
