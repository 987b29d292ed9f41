"""A small model that passes messages between atoms, by the contract of format version 2."""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from alrare import _core
from alrare.model.model_file import METADATA_FILE
from ase import Atoms
from torch import Tensor

CUTOFF = 4.0
ELEMENTS = ("H", "C")
SELF_ENERGIES = (-13.6, -1030.0)


class Messages(torch.nn.Module):
    """Two rounds of messages: each atom's charge from its neighbors, then an energy from theirs.

    An atom's energy depends on atoms up to three cutoffs away.
    """

    def __init__(self, members: int = 3) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        self.cutoff = CUTOFF
        self.members = members
        self.register_buffer("charge", torch.from_numpy(rng.uniform(0.5, 1.5, (members, 2))))
        self.register_buffer("width", torch.from_numpy(rng.uniform(0.4, 0.6, members)))
        self.register_buffer("own", torch.tensor(SELF_ENERGIES, dtype=torch.float64))

    def forward(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
        weights: Tensor,
    ) -> Tensor:
        r = (vec * vec).sum(1).sqrt()
        smooth = 0.5 + 0.5 * torch.cos(r * (3.141592653589793 / self.cutoff))
        energies: list[Tensor] = []
        for m in range(self.members):
            filter = torch.exp(-self.width[m] * r) * smooth
            x = self.charge[m].to(vec.dtype).index_select(0, species)
            for _ in range(2):
                sent = filter * x.index_select(0, edge_j)
                x = x + torch.tanh(torch.zeros_like(x).index_add(0, edge_i, sent))
            pairs = torch.zeros_like(x).index_add(
                0, edge_i, filter * x.index_select(0, edge_j) * x.index_select(0, edge_i)
            )
            local = pairs[:n_local].double()
            energies.append(local + self.own.index_select(0, species[:n_local]))
        return torch.stack(energies)


def metadata(members: int = 3, **changes: object) -> dict[str, object]:
    """The metadata of such a file."""
    return {
        "format": "alrare-ensemble",
        "format_version": 2,
        "elements": list(ELEMENTS),
        "members": members,
        "best_member": 1 if members > 1 else 0,
        "cutoff": CUTOFF,
        "angular_cutoff": 0.0,
        "receptive_field": 3 * CUTOFF,
        "dtype": "float64",
        **changes,
    }


def export(
    path: Path, module: torch.nn.Module | None = None, *, members: int = 3, **changes: object
) -> Path:
    """Write a model file for LAMMPS; Messages unless another module is given."""
    module = Messages(members) if module is None else module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(module.eval())
        extra = {METADATA_FILE: json.dumps(metadata(members, **changes))}
        torch.jit.save(script, str(path), _extra_files=extra)
    return path


def evaluate(
    atoms: Atoms, module: torch.nn.Module | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies of the members and atoms (M, n), forces (M, n, 3), virials (M, 3, 3) in float64."""
    module = Messages() if module is None else module
    species = np.array([ELEMENTS.index(symbol) for symbol in atoms.symbols])
    edge_i, edge_j, vectors = _core.neighbors(
        species, atoms.positions, CUTOFF, np.asarray(atoms.cell), list(atoms.pbc)
    )
    vec = torch.from_numpy(vectors).requires_grad_(True)
    i, j = torch.from_numpy(edge_i), torch.from_numpy(edge_j)
    members = module.members
    energies = module(
        vec, i, j, torch.from_numpy(species), len(atoms),
        torch.empty(0, 2, dtype=torch.int64), torch.full((members,), 1.0 / members),
    )  # fmt: skip
    forces, virials = np.zeros((members, len(atoms), 3)), np.zeros((members, 3, 3))
    for m in range(members):
        (gradient,) = torch.autograd.grad(energies[m].sum(), vec, retain_graph=True)
        g = gradient.numpy()
        np.add.at(forces[m], edge_i, g)
        np.add.at(forces[m], edge_j, -g)
        virials[m] = -np.einsum("ea,eb->ab", vectors, g)
    return energies.detach().numpy(), forces, virials
