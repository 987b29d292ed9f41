r"""The cache of descriptors: AEV and its Jacobian, computed once for each configuration.

Neither depends on the weights, so a training step evaluates the networks only: with
:math:`g = \partial E/\partial \mathrm{AEV}` the forces are :math:`F = -g \cdot J`. The Jacobian is
stored by edge, since a neighbor of species *s* moves only the feature blocks of *s*: for each edge
its unit vector and the 16 slopes of its radial terms, for each edge within the angular cutoff the
(3, 32 S) derivatives of the angular blocks (s, 0) … (s, S-1). The center's own derivatives are
minus the sum over its edges.

A hexane (20 atoms, 300 edges, 222 of them short) takes 0.21 MB; the dense matrix would take 0.61.

On disk: shards, each a safetensors file written once, whole or not at all, and memory-mapped by
every process that reads it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .. import _core
from ..errors import ModelError
from ..files import atomic_path
from ..frames import frame_key
from ..model.aev import AEVConstants, pair_index
from ..model.species import finite_positions, species_of

SHARD = 512
"""Largest number of configurations in a shard; bounds the memory needed to make one."""
CACHE_VERSION = 1
"""Of the descriptors' values: enters every key."""
SHARD_VERSION = 2
"""Of the files; those of another version are not read, and their descriptors are made again."""

_BY_ATOM = ("species", "aev")
_BY_EDGE = ("edge_i", "edge_j", "length", "unit", "slope")
_BY_SHORT = ("short", "jacobian")


@dataclass(frozen=True)
class AtomBatch:
    """Input of the energies of C configurations with N atoms in all."""

    species: Tensor
    """(N,) int64: index of each atom's element."""
    aev: Tensor
    """(N, F): the descriptors."""
    configuration: Tensor
    """(N,) int64, sorted: the configuration that each atom belongs to, from 0."""
    count: int
    """C, the number of configurations."""


@dataclass(frozen=True)
class Batch:
    """Input of energies and forces: E edges, of which A are within the angular cutoff."""

    atoms: AtomBatch
    """Input of the energies."""
    edge_i: Tensor
    """(E,) int64: center of each edge."""
    edge_j: Tensor
    """(E,) int64: neighbor of each edge."""
    length: Tensor
    """(E,), Å: distance from center to neighbor."""
    unit: Tensor
    """(E, 3): unit vector from center to neighbor."""
    slope: Tensor
    """(E, K), 1/Å: derivative of the radial features by the length of the edge."""
    short: Tensor
    """(A,) int64: the edges within the angular cutoff."""
    jacobian: Tensor
    """(A, 3, S·L), 1/Å: derivative of the angular features by the edge vector."""
    radial_row: Tensor
    """(E,) int64: the radial feature block that each edge changes."""
    angular_row: Tensor
    """(A·S,) int64: the angular feature blocks that each short edge changes."""
    n_elements: int
    """S, the number of elements."""

    @property
    def nbytes(self) -> int:
        """Bytes of the large tensors: the Jacobian, and the terms of atoms and edges."""
        tensors = (self.atoms.aev, self.unit, self.slope, self.jacobian, self.angular_row)
        return sum(tensor.nbytes for tensor in tensors)

    @cached_property
    def native(self) -> _core.TrainingBatch:
        """The batch as the native engine takes it: not copied, its indices checked once."""
        tensors = {
            "species": self.atoms.species,
            "configuration": self.atoms.configuration,
            "aev": self.atoms.aev,
            "edge_i": self.edge_i,
            "edge_j": self.edge_j,
            "length": self.length,
            "unit": self.unit,
            "slope": self.slope,
            "short": self.short,
            "jacobian": self.jacobian,
        }
        return _core.TrainingBatch(
            n_elements=self.n_elements,
            n_configurations=self.atoms.count,
            **{name: tensor.numpy() for name, tensor in tensors.items()},
        )

    def forces(self, grad_aev: Tensor) -> Tensor:
        """Return the forces (N, 3) in eV/Å for dE/dAEV (N, F) in eV."""
        edge = self.edge_derivatives(grad_aev)
        forces = edge.new_zeros(len(self.atoms.aev), 3)
        return forces.index_add_(0, self.edge_i, edge).index_add_(0, self.edge_j, edge, alpha=-1.0)

    def strain_derivatives(self, grad_aev: Tensor) -> Tensor:
        """Return the derivatives of the energies by the strain (C, 3, 3) in eV."""
        edge = self.edge_derivatives(grad_aev)
        products = edge.unsqueeze(2) * (self.unit * self.length.unsqueeze(1)).unsqueeze(1)
        strain = edge.new_zeros(self.atoms.count, 3, 3)
        return strain.index_add_(0, self.atoms.configuration[self.edge_i], products)

    def edge_derivatives(self, grad_aev: Tensor) -> Tensor:
        """Return dE/d(edge vector) (E, 3) in eV/Å for dE/dAEV (N, F) in eV."""
        radial, angular = self._blocks(grad_aev)
        along = (radial.index_select(0, self.radial_row) * self.slope).sum(1)
        edge = self.unit * along.unsqueeze(1)
        rows = angular.index_select(0, self.angular_row).view(len(self.short), -1, 1)
        return edge.index_add_(0, self.short, torch.bmm(self.jacobian, rows).squeeze(2))

    def forces_backward(self, grad_forces: Tensor, grad_strain: Tensor | None = None) -> Tensor:
        """Apply the transpose of `forces`: dL/d(dE/dAEV) (N, F) from dL/dF (N, 3).

        With dL/dW (C, 3, 3), W being the `strain_derivatives`, that of both.
        """
        edge = grad_forces.index_select(0, self.edge_i) - grad_forces.index_select(0, self.edge_j)
        if grad_strain is not None:
            of_edge = grad_strain.index_select(0, self.atoms.configuration[self.edge_i])
            edge += torch.bmm(of_edge, (self.unit * self.length.unsqueeze(1)).unsqueeze(2))[..., 0]
        n_atoms, n_features = self.atoms.aev.shape
        n_radial = self.n_elements * self.slope.shape[1]
        length = self.jacobian.shape[2] // self.n_elements
        radial = self.slope.new_zeros(n_atoms * self.n_elements, self.slope.shape[1])
        radial.index_add_(0, self.radial_row, self.slope * (self.unit * edge).sum(1, keepdim=True))
        short = edge.index_select(0, self.short)
        rows = self.jacobian[:, 0] * short[:, :1]
        rows.addcmul_(self.jacobian[:, 1], short[:, 1:2])
        rows.addcmul_(self.jacobian[:, 2], short[:, 2:])
        angular = rows.new_zeros(n_atoms * (n_features - n_radial) // length, length)
        angular.index_add_(0, self.angular_row, rows.view(-1, length))
        blocks = (radial.view(n_atoms, n_radial), angular.view(n_atoms, n_features - n_radial))
        return torch.cat(blocks, dim=1)

    def _blocks(self, features: Tensor) -> tuple[Tensor, Tensor]:
        n_radial = self.n_elements * self.slope.shape[1]
        length = self.jacobian.shape[2] // self.n_elements
        return (
            features[:, :n_radial].reshape(-1, self.slope.shape[1]),
            features[:, n_radial:].reshape(-1, length),
        )


class DescriptorCache:
    """Descriptors of every configuration of a data set, by key.

    Parameters
    ----------
    folder : Path
        Holds the shards. Shards of another descriptor or element list in it are ignored.
    constants : AEVConstants
    elements : sequence of str
        By atomic number.
    """

    def __init__(self, folder: Path, *, constants: AEVConstants, elements: Sequence[str]) -> None:
        self._folder = folder
        self._constants = constants
        self._elements = tuple(elements)
        description = [CACHE_VERSION, constants.to_dict(), list(elements)]
        self.descriptor = hashlib.sha256(json.dumps(description).encode()).hexdigest()
        self._shards: list[dict[str, Tensor]] = []
        self._where: dict[str, tuple[int, int]] = {}
        self._prefix = f"{self.descriptor[:16]}-{SHARD_VERSION}"
        for path in sorted(folder.glob(f"{self._prefix}-*.safetensors")):
            self._open(path)

    def __len__(self) -> int:
        """Count the configurations."""
        return len(self._where)

    def key(self, atoms: Atoms) -> str:
        """Return the key of a configuration's descriptors."""
        return frame_key(atoms, self.descriptor)

    def __contains__(self, key: str) -> bool:
        """Whether a configuration's descriptors are stored."""
        return key in self._where

    def add(
        self, frames: Sequence[Atoms], *, report: Callable[[int], None] = lambda done: None
    ) -> int:
        """Compute and store the descriptors that are missing.

        Parameters
        ----------
        frames : sequence of Atoms
            Of any sizes; the same frame may occur more than once.
        report : callable
            Called with the number of configurations just stored.

        Returns
        -------
        int
            Number of configurations computed.

        Raises
        ------
        ModelError
            If a frame holds an unknown element.
        """
        new = {key: a for a in frames if (key := self.key(a)) not in self._where}
        keys = list(new)
        for start in range(0, len(keys), SHARD):
            part = keys[start : start + SHARD]
            self._open(self._write([new[key] for key in part], part))
            report(len(part))
        return len(keys)

    def keys(self, frames: Sequence[Atoms]) -> list[str]:
        """Return the keys of frames, all of which must be stored."""
        return [self.key(atoms) for atoms in frames]

    def atoms(self, keys: Sequence[str]) -> AtomBatch:
        """Join the AEVs of some configurations."""
        joined, counts = self._join(keys, _BY_ATOM, "atom_ends")
        owner = torch.arange(len(keys)).repeat_interleave(torch.tensor(counts))
        return AtomBatch(joined["species"].long(), joined["aev"], owner, len(keys))

    def batch(self, keys: Sequence[str]) -> Batch:
        """Join the AEVs and Jacobians of some configurations."""
        n_elements = len(self._elements)
        atoms = self.atoms(keys)
        edges, n_edges = self._join(keys, _BY_EDGE, "edge_ends")
        near, n_short = self._join(keys, _BY_SHORT, "short_ends")
        n_atoms = torch.bincount(atoms.configuration, minlength=len(keys)).tolist()
        atom_start = _starts(n_atoms).repeat_interleave(torch.tensor(n_edges))
        edge_i, edge_j = edges["edge_i"].long() + atom_start, edges["edge_j"].long() + atom_start
        short = near["short"].long() + _starts(n_edges).repeat_interleave(torch.tensor(n_short))
        neighbor_species = atoms.species.index_select(0, edge_j)
        pairs = pair_index(n_elements)[neighbor_species[short]]
        return Batch(
            atoms=atoms,
            edge_i=edge_i,
            edge_j=edge_j,
            length=edges["length"],
            unit=edges["unit"],
            slope=edges["slope"],
            short=short,
            jacobian=near["jacobian"],
            radial_row=edge_i * n_elements + neighbor_species,
            angular_row=(
                edge_i[short].unsqueeze(1) * (n_elements * (n_elements + 1) // 2) + pairs
            ).view(-1),
            n_elements=n_elements,
        )

    def _join(
        self, keys: Sequence[str], names: Sequence[str], ends: str
    ) -> tuple[dict[str, Tensor], list[int]]:
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        counts = []
        for key in keys:
            number, row = self._where[key]
            shard = self._shards[number]
            begin, end = shard[ends][row : row + 2].tolist()
            counts.append(end - begin)
            for name in names:
                parts[name].append(shard[name][begin:end])
        return {name: torch.cat(tensors) for name, tensors in parts.items()}, counts

    def _write(self, frames: list[Atoms], keys: list[str]) -> Path:
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
        path = self._folder / f"{self._prefix}-{name}.safetensors"
        constants = asdict(self._constants)
        descriptor = _core.Descriptor(n_elements=len(self._elements), **constants)
        parts = [self._compute(atoms, descriptor) for atoms in frames]
        tensors = {
            name: torch.from_numpy(np.concatenate([part[name] for part in parts]))
            for name in (*_BY_ATOM, *_BY_EDGE, *_BY_SHORT)
        }
        for ends, name in (
            ("atom_ends", "species"),
            ("edge_ends", "edge_i"),
            ("short_ends", "short"),
        ):
            counts = [0, *(len(part[name]) for part in parts)]
            tensors[ends] = torch.tensor(counts, dtype=torch.int64).cumsum(0)
        with atomic_path(path) as partial:
            partial.write_bytes(save(tensors, metadata={"keys": json.dumps(keys)}))
        return path

    def _compute(self, atoms: Atoms, descriptor: _core.Descriptor) -> dict[str, npt.NDArray[Any]]:
        species = species_of(atoms, self._elements)
        periodic = bool(atoms.pbc.any())
        try:
            found = descriptor.compute(
                species,
                finite_positions(atoms),
                np.asarray(atoms.cell) if periodic else None,
                atoms.pbc.tolist(),
            )
        except RuntimeError as error:  # two atoms at the same place
            raise ModelError(f"{atoms.get_chemical_formula()}: {error}") from error
        found["species"] = species
        for name in ("species", "edge_i", "edge_j", "short"):
            found[name] = found[name].astype(np.int32)
        return found

    def _open(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as stream:
                keys = json.loads(stream.metadata()["keys"])
                names: list[str] = list(stream.keys())
                tensors = {name: stream.get_tensor(name) for name in names}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path}: damaged descriptor cache ({error}); delete this file, it is made again"
            ) from error
        self._shards.append(tensors)
        for row, key in enumerate(keys):
            self._where.setdefault(key, (len(self._shards) - 1, row))


def _starts(counts: list[int]) -> Tensor:
    sizes = torch.tensor(counts, dtype=torch.int64)
    return sizes.cumsum(0) - sizes
