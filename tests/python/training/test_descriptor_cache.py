"""The cache of descriptors gives the forces of the model it was made for."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import _core
from alrare.errors import ModelError
from alrare.model.aev import AEVConstants, Descriptor, pair_index
from alrare.model.species import species_of
from alrare.training.descriptor_cache import DescriptorCache
from alrare.training.gradients import open_gradient_engine
from alrare.training.whitening import identity
from ani_reference import evaluate, find_triples, random_ensemble
from ase import Atoms
from ase.build import molecule


def frames() -> list[Atoms]:
    """Molecules of several sizes, one periodic cell, isolated atoms."""
    rng = np.random.default_rng(0)
    made = [molecule("C2H6"), molecule("CH4"), Atoms("CH", [(0, 0, 0), (9, 9, 9)])]
    crystal = molecule("C2H6")
    crystal.set_cell([[5.5, 0, 0], [0.7, 5.2, 0], [0.2, -0.4, 5.9]])
    crystal.pbc = True
    for atoms in (*made[:2], crystal):
        atoms.rattle(0.1, rng=rng)
    return [*made, crystal]


def open_cache(folder: Path, elements: tuple[str, ...] = ("H", "C")) -> DescriptorCache:
    return DescriptorCache(folder, constants=AEVConstants(), elements=elements)


def test_cached_descriptors_give_the_energies_and_forces_of_the_ensemble(tmp_path: Path) -> None:
    ensemble = random_ensemble(members=2)
    cache = open_cache(tmp_path)
    cache.add(frames())
    batch = cache.batch(cache.keys(frames()))
    expected = evaluate(ensemble, frames())
    for m in range(2):
        networks = [
            [
                (ensemble.weights[f"{e}.{k}.weight"][m], ensemble.weights[f"{e}.{k}.bias"][m])
                for k in range(4)
            ]
            for e in "HC"
        ]
        energies, got = open_gradient_engine().predict(batch, networks, [identity(128)] * 2)
        assert np.allclose(energies, expected.energies[m], atol=1e-5)
        forces = np.concatenate([f[m] for f in expected.forces])
        assert np.allclose(got, forces, atol=1e-5)


@pytest.fixture(params=["avx512", "avx2", "portable"])
def instruction_set(request: pytest.FixtureRequest) -> str:
    try:
        _core.MemberGradient(instruction_set=request.param)
    except RuntimeError as error:
        pytest.skip(str(error))
    return str(request.param)


ODD = AEVConstants(
    radial_shifts=(0.9, 1.7, 2.6), angular_shifts=(1.0, 1.5, 2.0, 2.5, 3.0), zeta=8.0,
    angle_sections=(0.3, 1.2, 2.5),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("constants", [AEVConstants(), ODD], ids=["ANI-2x", "odd sizes"])
@pytest.mark.parametrize("elements", [("H", "C"), ("H", "C", "O")])
@pytest.mark.parametrize("number", range(4))
def test_the_jacobian_is_the_derivative_of_the_aev(
    constants: AEVConstants, elements: tuple[str, ...], number: int, instruction_set: str
) -> None:
    atoms, n_elements = frames()[number], len(elements)
    species = species_of(atoms, elements)
    where = (species, atoms.positions)
    box = (atoms.cell.array if atoms.pbc.any() else None, atoms.pbc.tolist())
    found = _core.Descriptor(
        n_elements=n_elements, instruction_set=instruction_set, **asdict(constants)
    ).compute(*where, *box)

    edge_i, edge_j, vec = _core.neighbors(*where, constants.radial_cutoff, *box)
    triples = torch.from_numpy(find_triples(edge_i, vec, len(atoms), constants.angular_cutoff))
    exact = Descriptor(constants, n_elements, dtype=torch.float64)
    arrays = [torch.from_numpy(array) for array in (edge_i, edge_j, species)]

    def aev(edges: torch.Tensor) -> torch.Tensor:
        return exact(edges, *arrays, len(atoms), triples)[0]

    assert (found["edge_i"] == edge_i).all()
    assert (found["edge_j"] == edge_j).all()
    assert np.allclose(found["aev"], aev(torch.from_numpy(vec)), atol=1e-6)
    expected = torch.autograd.functional.jacobian(aev, torch.from_numpy(vec)).numpy()
    dense = np.zeros_like(expected)
    n_radial, length = constants.radial_length, constants.angular_length
    for e, (i, s) in enumerate(zip(edge_i, species[edge_j], strict=True)):
        radial = slice(s * n_radial, (s + 1) * n_radial)
        dense[i, radial, e] = np.outer(found["slope"][e], found["unit"][e])
    for a, e in enumerate(found["short"]):
        for t, pair in enumerate(pair_index(n_elements)[species[edge_j[e]]].tolist()):
            begin = n_elements * n_radial + pair * length
            block = found["jacobian"][a][:, t * length : (t + 1) * length]
            dense[edge_i[e], begin : begin + length, e] = block.T
    assert np.allclose(dense, expected, rtol=1e-5, atol=1e-5)


def test_forces_backward_is_the_transpose_of_forces(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.add(frames())
    batch = cache.batch(cache.keys(frames()))
    torch.manual_seed(0)
    grad = torch.randn_like(batch.atoms.aev)
    bar = torch.randn(len(grad), 3)
    there = (batch.forces(grad) * bar).sum()
    back = (batch.forces_backward(bar) * grad).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-4)


def test_nothing_is_computed_twice(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    assert cache.add(frames()[:2]) == 2
    assert cache.add(frames()) == 2
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = open_cache(tmp_path)
    assert len(again) == 4
    assert again.add([*frames(), *frames()]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_another_element_list_has_its_own_descriptors(tmp_path: Path) -> None:
    open_cache(tmp_path).add(frames())
    other = open_cache(tmp_path, ("H", "C", "O"))
    assert len(other) == 0
    assert other.add(frames()) == 4
    assert other.atoms(other.keys(frames()[:1])).aev.shape == (8, 3 * 16 + 6 * 32)


def test_an_interrupted_write_leaves_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alrare.training.descriptor_cache.save", _killed)
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path).add(frames())
    assert list(tmp_path.iterdir()) == []


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_damaged_shard_and_an_unknown_element_are_named(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    with pytest.raises(ModelError, match="element O is unknown"):
        cache.add([molecule("H2O")])
    cache.add(frames())
    (shard,) = tmp_path.iterdir()
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged descriptor cache"):
        open_cache(tmp_path)


def test_atoms_at_the_same_place_are_refused(tmp_path: Path) -> None:
    ethane = molecule("C2H6")
    ethane.positions[6] = ethane.positions[3]
    with pytest.raises(ModelError, match=r"C2H6: atoms 3 and 6 .* are at the same place"):
        open_cache(tmp_path).add([ethane])
