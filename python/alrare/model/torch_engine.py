"""An ensemble in torch for the calculator: families that the native engine does not evaluate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .ensemble import Ensemble, load_ensemble
from .pairs import Floats, Ints, Pairs, find_pairs
from .schnet import SchNet, StackedSchNet


class TorchEngine:
    """A SchNet ensemble ready to be evaluated; `engine.Engine`.

    Each member is a network of its own, so that the forces of one member cost no others.

    Parameters
    ----------
    path : Path
        `ensemble.safetensors`.
    threads : int
        Of torch, while it evaluates.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        ensemble = load_ensemble(path)
        metadata = ensemble.metadata
        self.elements = list(metadata.elements)
        self.members = metadata.members
        self.best_member = metadata.best_member
        self._cutoff = metadata.cutoff
        self._threads = threads
        self._networks = [_member(ensemble, m) for m in range(metadata.members)]

    def evaluate(
        self,
        species: Ints,
        positions: Floats,
        cell: Floats | None = None,
        pbc: Sequence[bool] = (False, False, False),
        weights: Floats | None = None,
    ) -> tuple[Floats, Floats, Floats]:
        """Energies (M,) of the members; forces (N, 3) and virial (3, 3) of their weighted sum."""
        share = np.full(self.members, 1.0 / self.members) if weights is None else weights
        energies, forces, virials = self._evaluate(species, positions, cell, pbc, share != 0.0)
        return energies, np.tensordot(share, forces, 1), np.tensordot(share, virials, 1)

    def evaluate_members(
        self,
        species: Ints,
        positions: Floats,
        cell: Floats | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> tuple[Floats, Floats, Floats]:
        """Energies (M,), forces (M, N, 3) and virials (M, 3, 3) of every member."""
        every = np.ones(self.members, dtype=bool)
        return self._evaluate(species, positions, cell, pbc, every)

    def _evaluate(
        self,
        species: Ints,
        positions: Floats,
        cell: Floats | None,
        pbc: Sequence[bool],
        with_forces: "np.typing.NDArray[np.bool_]",
    ) -> tuple[Floats, Floats, Floats]:
        pairs = find_pairs(species, positions, cell if any(pbc) else None, pbc, self._cutoff)
        energies = np.zeros(self.members)
        forces = np.zeros((self.members, len(positions), 3))
        virials = np.zeros((self.members, 3, 3))
        kinds, vec = torch.from_numpy(species), torch.from_numpy(pairs.vec)
        first, second = torch.from_numpy(pairs.first), torch.from_numpy(pairs.second)
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            for m, network in enumerate(self._networks):
                moved = vec.detach().requires_grad_(bool(with_forces[m]))
                energy = network.of_pairs(moved, first, second, kinds).sum()
                energies[m] = float(energy.detach())
                if with_forces[m]:
                    (gradient,) = torch.autograd.grad(energy, moved)
                    _add_forces(pairs, gradient, forces[m], virials[m])
        finally:
            torch.set_num_threads(before)
        return energies, forces, virials


def _member(ensemble: Ensemble, number: int) -> StackedSchNet:
    rows = {name: tensor[number : number + 1] for name, tensor in ensemble.weights.items()}
    return SchNet().module(Ensemble(ensemble.metadata, rows))


def _add_forces(pairs: Pairs, gradient: Tensor, forces: Floats, virial: Floats) -> None:
    """Add the forces (N, 3) and the virial (3, 3) of a gradient (P, 3) by the pairs' vectors."""
    values = gradient.numpy()
    np.add.at(forces, pairs.first, values)
    np.subtract.at(forces, pairs.second, values)
    virial -= pairs.vec.T @ values
