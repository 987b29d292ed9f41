"""Edges and triples of configurations, in the order the models expect. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.neighborlist import neighbor_list

from ..errors import ModelError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    n_atoms, n_edges, n_triples : (C,) int arrays
        Sizes of the configurations.
    """

    species: Ints
    edge_i: Ints
    edge_j: Ints
    vec: Floats
    triples: Ints
    n_atoms: Ints
    n_edges: Ints
    n_triples: Ints


def species_of(atoms: Atoms, elements: Sequence[str]) -> Ints:
    """Return the index of each atom's element in `elements`.

    Raises
    ------
    ModelError
        If an element is unknown to the model.
    """
    symbols = atoms.get_chemical_symbols()
    unknown = sorted(set(symbols) - set(elements))
    if unknown:
        raise ModelError(
            f"{atoms.get_chemical_formula()}: element {', '.join(unknown)} is unknown to a model of"
            f" {', '.join(elements)}; train it on data that holds this element"
        )
    index = {symbol: k for k, symbol in enumerate(elements)}
    return np.array([index[symbol] for symbol in symbols], dtype=np.int64)


def build_graph(
    frames: Sequence[Atoms], *, elements: Sequence[str], cutoff: float, angular_cutoff: float
) -> Graph:
    """Find the neighbors of every atom of every frame; frames are joined by concatenation.

    Parameters
    ----------
    frames : sequence of Atoms
        Periodic or not, of any sizes.
    elements : sequence of str
        Elements of the model, in its order.
    cutoff, angular_cutoff : float, Å

    Raises
    ------
    ModelError
        If an element is unknown or a position is not finite.
    """
    parts = [_edges(atoms, cutoff) for atoms in frames]
    n_atoms = np.array([len(atoms) for atoms in frames], dtype=np.int64)
    n_edges = np.array([len(part[0]) for part in parts], dtype=np.int64)
    starts = np.repeat(np.cumsum(n_atoms) - n_atoms, n_edges)
    edge_i = _join([part[0] for part in parts]) + starts
    edge_j = _join([part[1] for part in parts]) + starts
    vec = np.concatenate([part[2] for part in parts] or [np.zeros((0, 3))])
    species = _join([species_of(atoms, elements) for atoms in frames])
    triples = find_triples(edge_i, vec, int(n_atoms.sum()), angular_cutoff)
    owner = np.repeat(np.arange(len(parts)), n_edges)[triples[:, 0]]
    n_triples = np.bincount(owner, minlength=len(parts)).astype(np.int64)
    return Graph(species, edge_i, edge_j, vec, triples, n_atoms, n_edges, n_triples)


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


def finite_positions(atoms: Atoms) -> Floats:
    """Return the positions (N, 3) in Å.

    Raises
    ------
    ModelError
        If one is not finite.
    """
    positions = np.asarray(atoms.positions, dtype=np.float64)
    if not np.isfinite(positions).all():
        raise ModelError(
            f"{atoms.get_chemical_formula()}: positions must be finite, got NaN or inf"
        )
    return positions


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
