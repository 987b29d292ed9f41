"""What the tests compare with: the model in plain torch, and torchani's own classes with autograd.

`evaluate` runs the package's descriptor and networks (`model.aev`, `model.network`) over neighbors
found here, in float32 or float64. `torchani_members` shares no code with the package. Only tests
and tests/cpp/data/make_native_reference.py import this module.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import torch
from alrare.model.aev import AEVConstants, Descriptor
from alrare.model.ensemble import Ensemble, Metadata, energy_std, member_weights, stack_members
from alrare.model.network import StackedNetwork
from alrare.model.species import finite_positions, species_of
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

if TYPE_CHECKING:
    from torchani import AEVComputer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


# --- models -------------------------------------------------------------------------------------


def random_ensemble(
    *,
    elements: Sequence[str] = ("H", "C"),
    members: int = 3,
    hidden: Mapping[str, Sequence[int]] | None = None,
    hidden_default: Sequence[int] = (224, 192, 160),
    self_energies: Sequence[float] | None = None,
    best_member: int = 0,
    seed: int = 0,
) -> Ensemble:
    """Make an untrained ensemble, of the paper's widths unless others are given.

    Parameters
    ----------
    elements : sequence of str
        Sorted by atomic number here.
    members : int
    hidden : mapping, optional
        Hidden widths by element; the paper's for H unless given.
    hidden_default : sequence of int
        Widths of every other element.
    self_energies : sequence of float, eV, optional
        In the order of `elements` sorted by atomic number; zero unless given.
    best_member : int
    seed : int
        Member m draws from a generator seeded with ``seed + m``.
    """
    hidden = {"H": (256, 192, 160)} if hidden is None else hidden
    ordered = tuple(sorted(elements, key=lambda symbol: atomic_numbers[symbol]))
    metadata = Metadata(
        elements=ordered,
        hidden={symbol: tuple(hidden.get(symbol, hidden_default)) for symbol in ordered},
        self_energies=tuple(self_energies) if self_energies else (0.0,) * len(ordered),
        members=members,
        best_member=best_member,
        seeds=tuple(seed + m for m in range(members)),
    )
    drawn = [member_weights(metadata, member_seed) for member_seed in metadata.seeds]
    return Ensemble(metadata, stack_members(drawn))


# --- neighbors ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graph:
    """Neighborhoods of one configuration, or of several one after the other.

    Attributes
    ----------
    species : (N,) int array
        Index of each atom's element in the model.
    edge_i, edge_j : (E,) int arrays
        Center and neighbor; sorted by center; every neighbor within the cutoff.
    vec : (E, 3) array, Å
        Position of the neighbor (of its periodic image) minus that of the center.
    triples : (T, 2) int array
        Pairs (a < b) of edges of one center, both shorter than the angular cutoff.
    n_atoms : (C,) int array
        Sizes of the configurations.
    """

    species: Ints
    edge_i: Ints
    edge_j: Ints
    vec: Floats
    triples: Ints
    n_atoms: Ints


def build_graph(frames: Sequence[Atoms], metadata: Metadata) -> Graph:
    """Find the neighbors of every atom that a model sees; frames are joined by concatenation.

    Parameters
    ----------
    frames : sequence of Atoms
        Periodic or not, of any sizes.
    metadata : Metadata
        Of the model: its elements and cutoffs are used.

    Raises
    ------
    ModelError
        If an element is unknown or a position is not finite.
    """
    parts = [_edges(atoms, metadata.aev.radial_cutoff) for atoms in frames]
    n_atoms = np.array([len(atoms) for atoms in frames], dtype=np.int64)
    n_edges = np.array([len(part[0]) for part in parts], dtype=np.int64)
    starts = np.repeat(np.cumsum(n_atoms) - n_atoms, n_edges)
    edge_i = _join([part[0] for part in parts]) + starts
    edge_j = _join([part[1] for part in parts]) + starts
    vec = np.concatenate([part[2] for part in parts] or [np.zeros((0, 3))])
    species = _join([species_of(atoms, metadata.elements) for atoms in frames])
    triples = find_triples(edge_i, vec, int(n_atoms.sum()), metadata.aev.angular_cutoff)
    return Graph(species, edge_i, edge_j, vec, triples, n_atoms)


def find_triples(edge_i: Ints, vec: Floats, n_atoms: int, angular_cutoff: float) -> Ints:
    """List every pair of edges (a < b) of one center, both shorter than the angular cutoff.

    Parameters
    ----------
    edge_i : (E,) int array
        Centers, sorted.
    vec : (E, 3) array, Å
    n_atoms : int
    angular_cutoff : float, Å

    Returns
    -------
    (T, 2) int array
    """
    short = np.flatnonzero((vec * vec).sum(1) < angular_cutoff**2)
    counts = np.bincount(edge_i[short], minlength=n_atoms)
    rank = np.arange(len(short)) - np.repeat(np.cumsum(counts) - counts, counts)
    later = np.repeat(counts, counts) - 1 - rank  # partners after this edge in its center
    first = np.repeat(np.arange(len(short)), later)
    step = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return np.stack((short[first], short[first + 1 + step]), axis=1).astype(np.int64)


def _edges(atoms: Atoms, cutoff: float) -> tuple[Ints, Ints, Floats]:
    positions = finite_positions(atoms)
    if atoms.pbc.any():
        i, j, vec = neighbor_list("ijD", atoms, cutoff)
        return i.astype(np.int64), j.astype(np.int64), vec
    vec = positions[None, :, :] - positions[:, None, :]
    near = (vec * vec).sum(2) < cutoff**2
    np.fill_diagonal(near, False)
    i, j = np.nonzero(near)
    return i, j, vec[i, j]


def _join(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


# --- the package's descriptor and networks, in torch ---------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """What the members say about N configurations.

    Attributes
    ----------
    energies : (M, N) array, eV
    forces : list of N (M, n, 3) arrays, eV/Å
    """

    energies: Floats
    forces: list[Floats]

    @property
    def energy_std(self) -> Floats:
        """(N,) array, eV: the members' disagreement."""
        return energy_std(self.energies)


def evaluate(
    ensemble: Ensemble,
    frames: Sequence[Atoms],
    *,
    batch: int = 64,
    dtype: torch.dtype = torch.float32,
) -> Evaluation:
    """Energies and forces of every member.

    Parameters
    ----------
    ensemble : Ensemble
    frames : sequence of Atoms
        Periodic or not, of any sizes.
    batch : int
        Frames evaluated together; bounds the memory, changes no result.
    dtype : torch.dtype
        Of the descriptor and the networks; sums over atoms are float64 always.

    Raises
    ------
    ModelError
        If a frame holds an element the model does not know.
    """
    metadata = ensemble.metadata
    descriptor = Descriptor(metadata.aev, len(metadata.elements), dtype)
    networks = ensemble.networks(dtype)
    energies = [np.zeros((metadata.members, 0))]
    forces: list[Floats] = []
    for start in range(0, len(frames), batch):
        graph = build_graph(frames[start : start + batch], metadata)
        with torch.inference_mode():
            atomic, force = _evaluate_graph(graph, descriptor, networks, dtype)
        atomic += np.array(metadata.self_energies)[graph.species]
        ends = np.cumsum(graph.n_atoms)
        energies.append(np.stack([e.sum(1) for e in np.split(atomic, ends[:-1], 1)], axis=1))
        forces.extend(np.split(force, ends[:-1], axis=1))
    return Evaluation(np.concatenate(energies, axis=1), forces)


def _evaluate_graph(
    graph: Graph, descriptor: Descriptor, networks: list[StackedNetwork], dtype: torch.dtype
) -> tuple[Floats, Floats]:
    """Return atomic energies (M, N) in eV without self energies, and forces (M, N, 3)."""
    n_atoms = len(graph.species)
    edge_i, edge_j = torch.from_numpy(graph.edge_i), torch.from_numpy(graph.edge_j)
    species, triples = torch.from_numpy(graph.species), torch.from_numpy(graph.triples)
    vec = torch.from_numpy(graph.vec).to(dtype)
    aev, saved = descriptor(vec, edge_i, edge_j, species, n_atoms, triples)
    members = networks[0].members
    energies = torch.zeros(members, n_atoms, dtype=torch.float64)
    grad_aev = torch.zeros(members, n_atoms, aev.shape[1], dtype=dtype)
    for k, network in enumerate(networks):
        rows = torch.nonzero(species == k).squeeze(1)
        energy, grad, first = network(aev[rows], torch.ones(members, dtype=dtype))
        energies[:, rows] = energy.double()
        grad_aev[:, rows] = torch.bmm(grad, first)
    forces = torch.zeros(members, n_atoms, 3, dtype=torch.float64)
    for m in range(members):
        grad_vec = descriptor.backward(saved, triples, grad_aev[m]).double()
        forces[m].index_add_(0, edge_i, grad_vec).index_add_(0, edge_j, grad_vec, alpha=-1.0)
    return energies.numpy(), forces.numpy()


# --- torchani and autograd -----------------------------------------------------------------------


def torchani_aev(constants: AEVConstants, n_elements: int, *, many: bool = False) -> "AEVComputer":
    """Return torchani's AEV in float64, with the constants that torchani rounds to float32.

    Parameters
    ----------
    constants : AEVConstants
        Those of ANI-2x up to that rounding.
    n_elements : int
    many : bool
        Find neighbors by cells, for large periodic boxes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The extensions")  # for CUDA: not needed
        pytest.importorskip("torchani", reason="the extra torchani is not installed")
        from torchani import AEVComputer

    neighbors = "cell_list" if many else "all_pairs"
    computer = AEVComputer.like_2x(num_species=n_elements, neighborlist=neighbors).double()
    for name, values in {
        "radial.shifts": constants.radial_shifts,
        "radial.eta": [constants.radial_eta],
        "angular.shifts": constants.angular_shifts,
        "angular.sections": constants.angle_sections,
        "angular.eta": [constants.angular_eta],
        "angular.zeta": [constants.zeta],
    }.items():
        buffer, exact = computer.get_buffer(name), torch.tensor(values, dtype=torch.float64)
        assert torch.allclose(buffer, exact, rtol=1e-6)
        buffer.copy_(exact)
    return computer


def torchani_members(atoms: Atoms, ensemble: Ensemble) -> tuple[Floats, Floats]:
    """Evaluate one frame by torchani's AEV, plain layers and autograd, in float64.

    Returns
    -------
    energies : (M,) array, eV
    forces : (M, n, 3) array, eV/Å
    """
    metadata = ensemble.metadata
    computer = torchani_aev(metadata.aev, len(metadata.elements), many=len(atoms) > 100)
    species = torch.tensor([metadata.elements.index(s) for s in atoms.get_chemical_symbols()])
    positions = torch.tensor(atoms.positions[None], requires_grad=True)
    box = (torch.tensor(atoms.cell.array), torch.tensor(atoms.pbc)) if atoms.pbc.any() else ()
    aev = computer(species[None], positions, *box)[0]
    energies, forces = [], []
    for m in range(metadata.members):
        energy = torch.tensor(metadata.self_energies, dtype=torch.float64)[species].sum()
        for k, element in enumerate(metadata.elements):
            x = aev[species == k]
            for layer in range(len(metadata.hidden[element]) + 1):
                x = torch.nn.functional.gelu(x) if layer else x
                weight = ensemble.weights[f"{element}.{layer}.weight"][m].double()
                x = x @ weight.T + ensemble.weights[f"{element}.{layer}.bias"][m].double()
            energy = energy + x.sum()
        (grad,) = torch.autograd.grad(energy, positions, retain_graph=True)
        energies.append(energy.item())
        forces.append(-grad[0].numpy())
    return np.array(energies), np.array(forces)
