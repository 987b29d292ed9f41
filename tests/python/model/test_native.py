"""The native engine through `alrare._core`, against the Python package and torchani in float64."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from alrare.model.ensemble import Ensemble
from ani_reference import evaluate, random_ensemble, torchani_aev
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

core = pytest.importorskip("alrare._core")

Array = npt.NDArray[np.float64]
INSTRUCTION_SETS = ("avx512", "avx2", "portable")
HIDDEN = {"H": (40, 24), "C": (32, 24, 16), "N": (24,), "O": (33, 9)}


def strong(ensemble: Ensemble) -> Ensemble:
    """Scale the weights until forces reach some eV/Å, as in a real model."""
    weights = {name: 2.0 * tensor for name, tensor in ensemble.weights.items()}
    return Ensemble(ensemble.metadata, weights)


def save(folder: Path, elements: str, members: int = 2) -> tuple[Ensemble, Path]:
    ensemble = strong(
        random_ensemble(
            elements=list(elements), members=members, hidden=HIDDEN, self_energies=[-13.0] * 4
        )
        if len(elements) == 4
        else random_ensemble(elements=list(elements), members=members, hidden=HIDDEN)
    )
    path = folder / f"{elements}.safetensors"
    ensemble.save(path)
    return ensemble, path


def arguments(
    atoms: Atoms, ensemble: Ensemble
) -> tuple[npt.NDArray[np.int64], Array, Array, list[bool]]:
    elements = list(ensemble.metadata.elements)
    species = np.array([elements.index(s) for s in atoms.get_chemical_symbols()], dtype=np.int64)
    return species, atoms.positions, np.asarray(atoms.cell), [bool(p) for p in atoms.pbc]


def engine(path: Path, instruction_set: str) -> "core.Ensemble":
    try:
        return core.Ensemble(str(path), instruction_set=instruction_set)
    except RuntimeError as error:
        if "is not there" in str(error):
            pytest.skip(str(error))
        raise


def random_box(symbols: str, seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    cell = np.array([[1, 0, 0], [0.3, 1.1, 0], [-0.2, 0.1, 0.9]]) * (10.0 * len(symbols)) ** (1 / 3)
    inverse = np.linalg.inv(cell)
    points: list[Array] = []
    while len(points) < len(symbols):
        point = rng.random(3) @ cell
        gaps = [point - other for other in points]
        if all(np.linalg.norm(gap - np.round(gap @ inverse) @ cell) > 0.9 for gap in gaps):
            points.append(point)
    return Atoms(list(symbols), np.array(points), cell=cell, pbc=True)


def systems() -> dict[str, tuple[str, Atoms]]:
    rng = np.random.default_rng(1)
    ethane = molecule("C2H6")
    ethane.positions += rng.normal(0, 0.05, ethane.positions.shape)
    broken = molecule("CH3CH2OH")
    broken.positions *= 1.6
    return {
        "ethane": ("HC", ethane),
        "a broken chain": ("HCNO", broken),
        "a box of one element": ("C", random_box("C" * 40)),
        "a box of two elements": ("HC", random_box("CHH" * 25)),
        "a box of four elements": ("HCNO", random_box("CHHNO" * 15)),
        "isolated atoms": ("HC", Atoms("CH", [[0, 0, 0], [30, 0, 0]])),
        "atoms at the cutoffs": (
            "HC",
            Atoms("CHHC", [[0, 0, 0], [3.4999999, 0, 0], [0, 3.5, 0], [0, 0, 5.0999999]]),
        ),
        "no atoms": ("HC", Atoms()),
    }


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", systems())
def test_energies_and_forces_are_those_of_float64(
    tmp_path: Path, name: str, instruction_set: str
) -> None:
    elements, atoms = systems()[name]
    ensemble, path = save(tmp_path, elements)
    expected = evaluate(ensemble, [atoms], dtype=torch.float64)
    energies, forces, _ = engine(path, instruction_set).evaluate_members(
        *arguments(atoms, ensemble)
    )
    assert np.abs(energies - expected.energies[:, 0]).max() < 1e-6 * max(10, len(atoms))
    assert np.abs(forces - expected.forces[0]).max(initial=0.0) < 1e-5


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("members", [5, 8, 11])
def test_forces_of_members_whatever_their_number(
    tmp_path: Path, members: int, instruction_set: str
) -> None:
    """The engine takes four or eight at a time."""
    elements, atoms = systems()["a box of two elements"]
    ensemble, path = save(tmp_path, elements, members)
    expected = evaluate(ensemble, [atoms], dtype=torch.float64)
    _, forces, _ = engine(path, instruction_set).evaluate_members(*arguments(atoms, ensemble))
    assert np.abs(forces - expected.forces[0]).max() < 1e-5


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_descriptors_are_those_of_torchani(tmp_path: Path, instruction_set: str) -> None:
    ensemble, path = save(tmp_path, "HCNO")
    atoms = random_box("CHHNO" * 12)
    species, positions, cell, pbc = arguments(atoms, ensemble)
    expected = torchani_aev(ensemble.metadata.aev, 4)(
        torch.from_numpy(species)[None],
        torch.from_numpy(positions)[None],
        cell=torch.from_numpy(cell),
        pbc=torch.tensor(pbc),
    )[0]
    got = engine(path, instruction_set).descriptors(species, positions, cell, pbc)
    assert np.abs(got - expected.numpy()).max() < 5e-6


@pytest.fixture(scope="module")
def hydrocarbon(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ensemble, "core.Ensemble"]:
    ensemble, path = save(tmp_path_factory.mktemp("native"), "HC")
    return ensemble, core.Ensemble(str(path))


coordinates = st.lists(st.tuples(*[st.floats(-0.15, 0.15)] * 3), min_size=8, max_size=8).map(
    lambda rows: molecule("C2H6").positions + np.array(rows)
)


@settings(max_examples=25, deadline=None)
@given(positions=coordinates, seed=st.integers(0, 10**6))
def test_rotation_translation_and_permutation_change_nothing(
    hydrocarbon: tuple[Ensemble, "core.Ensemble"], positions: Array, seed: int
) -> None:
    ensemble, native = hydrocarbon
    species = arguments(molecule("C2H6"), ensemble)[0]
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(8)
    energies, forces, virial = native.evaluate(species, positions)
    turned = native.evaluate(species[order], (positions @ rotation.T + rng.normal(0, 10, 3))[order])
    assert np.abs(turned[0] - energies).max() < 1e-5
    assert np.abs(turned[1] - (forces @ rotation.T)[order]).max() < 2e-5
    assert np.abs(turned[2] - rotation @ virial @ rotation.T).max() < 1e-4


@settings(max_examples=25, deadline=None)
@given(positions=coordinates, atom=st.integers(0, 7), axis=st.integers(0, 2))
def test_forces_are_minus_the_energy_gradient(
    hydrocarbon: tuple[Ensemble, "core.Ensemble"], positions: Array, atom: int, axis: int
) -> None:
    ensemble, native = hydrocarbon
    species = arguments(molecule("C2H6"), ensemble)[0]
    step = np.zeros_like(positions)
    step[atom, axis] = 2e-3
    up, down = (native.evaluate(species, positions + sign * step)[0] for sign in (1, -1))
    forces = native.evaluate_members(species, positions)[1]
    assert np.abs(-(up - down) / 4e-3 - forces[:, atom, axis]).max() < 5e-3 * (
        1 + np.abs(forces).max()
    )


def test_the_virial_is_the_strain_derivative(
    hydrocarbon: tuple[Ensemble, "core.Ensemble"],
) -> None:
    ensemble, native = hydrocarbon
    species, positions, cell, pbc = arguments(random_box("CHH" * 12), ensemble)
    _, _, virial = native.evaluate(species, positions, cell, pbc)
    for a, b in ((0, 0), (1, 2), (2, 0)):
        energies = []
        for size in (1e-4, -1e-4):
            strain = np.eye(3)
            strain[a, b] += size
            energies.append(native.evaluate(species, positions @ strain, cell @ strain, pbc)[0])
        slope = (energies[0] - energies[1]).mean() / 2e-4
        assert abs(-slope - virial[a, b]) < 2e-2 * (1 + np.abs(virial).max())


def test_one_member_is_picked_by_a_unit_weight(
    hydrocarbon: tuple[Ensemble, "core.Ensemble"],
) -> None:
    ensemble, native = hydrocarbon
    frame = arguments(random_box("CHH" * 12), ensemble)
    _, members, _ = native.evaluate_members(*frame)
    _, forces, _ = native.evaluate(*frame, weights=[0.0, 1.0])
    assert np.abs(forces - members[1]).max() < 2e-6


def test_atomic_energies_sum_to_the_energies(
    hydrocarbon: tuple[Ensemble, "core.Ensemble"],
) -> None:
    ensemble, native = hydrocarbon
    frame = arguments(random_box("CHH" * 12), ensemble)
    atomic = native.atomic_energies(*frame)
    assert atomic.shape == (2, 36)
    assert np.allclose(atomic.sum(1), native.evaluate(*frame)[0], rtol=0, atol=1e-9)


def test_neighbors_are_those_of_ase(hydrocarbon: tuple[Ensemble, "core.Ensemble"]) -> None:
    from ase.neighborlist import neighbor_list

    ensemble, _ = hydrocarbon
    atoms = random_box("CHH" * 10)
    atoms.positions[3] += 3 * atoms.cell[0] - 2 * atoms.cell[2]
    species, positions, cell, pbc = arguments(atoms, ensemble)
    edge_i, edge_j, vec = core.neighbors(species, positions, 5.1, cell, pbc)
    i, j, expected = neighbor_list("ijD", atoms, 5.1)
    order, other = (
        np.lexsort((*vec.T.round(6), edge_j, edge_i)),
        np.lexsort((*expected.T.round(6), j, i)),
    )
    assert np.array_equal(edge_i[order], i[other]) and np.array_equal(edge_j[order], j[other])
    assert np.abs(vec[order] - expected[other]).max() < 1e-9


def test_wrong_arrays_are_refused(hydrocarbon: tuple[Ensemble, "core.Ensemble"]) -> None:
    _, native = hydrocarbon
    with pytest.raises(ValueError, match=r"positions must have shape \(N, 3\)"):
        native.evaluate([0], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="species must have shape"):
        native.evaluate([0, 1], [[0.0, 0.0, 0.0]])
    with pytest.raises(RuntimeError, match="species 5 is unknown"):
        native.evaluate([5], [[0.0, 0.0, 0.0]])
    with pytest.raises(RuntimeError, match="does not exist"):
        core.Ensemble("/nowhere/ensemble.safetensors")
