"""The ensemble as a TorchScript file for LAMMPS (the contract of docs/model_format.md).

TorchScript is deprecated upstream: only this module and the C++ backend use it.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..files import atomic_path
from .aev import Descriptor
from .ensemble import Ensemble, family_of
from .model_file import METADATA_FILE, read_export_metadata
from .network import summed_gradient

EXPORT_TOLERANCE = 1e-4
"""Largest difference allowed between the export and the Python model, eV and eV/Å."""


class EnsembleModule(torch.nn.Module):
    """The contract's `forward`: member energies and the gradient of their weighted sum.

    Parameters
    ----------
    ensemble : Ensemble
    dtype : torch.dtype
        Of edge vectors, descriptor and networks. Energies are summed in float64 always.
    """

    def __init__(self, ensemble: Ensemble, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        metadata = ensemble.metadata
        self.members = metadata.members
        self.descriptor = Descriptor(metadata.aev, len(metadata.elements), dtype)
        self.networks = torch.nn.ModuleList(ensemble.networks(dtype))
        self.self_energies: Tensor
        energies = torch.tensor(metadata.self_energies, dtype=torch.float64)
        self.register_buffer("self_energies", energies)

    def forward(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Evaluate the local centers.

        Parameters
        ----------
        vec : (E, 3) tensor, Å
        edge_i, edge_j : (E,) int64 tensors
        species : (N,) int64 tensor
        n_local : int
        triples : (T, 2) int64 tensor
        weights : (M,) float64 tensor

        Returns
        -------
        (M,) float64 tensor, eV
            Energy of each member, self energies included.
        (E, 3) tensor, eV/Å
            d(Σ_m w_m E_m)/dvec.
        """
        aev, saved = self.descriptor(vec, edge_i, edge_j, species, n_local, triples)
        energies, parts = self._run_networks(aev, species[:n_local], weights)
        grad_aev = torch.empty_like(aev)
        for rows, grad, first in parts:
            grad_aev.index_copy_(0, rows, summed_gradient(grad, first))
        return energies, self.descriptor.backward(saved, triples, grad_aev)

    @torch.jit.export
    def forward_members(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Energies of all members (M,), as `forward`, and the gradient of each, (M, E, 3)."""
        aev, saved = self.descriptor(vec, edge_i, edge_j, species, n_local, triples)
        ones = torch.ones(self.members, dtype=torch.float64, device=vec.device)
        energies, parts = self._run_networks(aev, species[:n_local], ones)
        grad_aev = aev.new_empty((self.members, aev.shape[0], aev.shape[1]))
        for rows, grad, first in parts:
            grad_aev.index_copy_(1, rows, torch.bmm(grad, first))
        gradients: list[Tensor] = []
        for m in range(self.members):
            gradients.append(self.descriptor.backward(saved, triples, grad_aev[m]))
        return energies, torch.stack(gradients)

    def _run_networks(
        self, aev: Tensor, local: Tensor, weights: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """Return the energies (M,), and for each element its rows and what `StackedNetwork` gives.

        Parameters
        ----------
        aev : (n_local, F) tensor
        local : (n_local,) int64 tensor
            Species of the centers.
        weights : (M,) float64 tensor
        """
        energies = self.self_energies.index_select(0, local).sum().repeat(self.members)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for k, network in enumerate(self.networks):
            rows = torch.nonzero(local == k).squeeze(1)
            if rows.shape[0] > 0:
                energy, grad, first = network(aev.index_select(0, rows), weights)
                energies += energy.double().sum(1)
                parts.append((rows, grad, first))
        return energies, parts


def export_torchscript(ensemble: Ensemble, path: Path) -> None:
    """Write `ensemble.pt` after comparing it with the Python model on a random configuration.

    Raises
    ------
    ModelError
        If the file, read back, gives other energies or gradients than the Python model.
    AlrareError
        If the disk refuses the write.
    """
    module = family_of(ensemble.metadata).module(ensemble, torch.float32).eval()
    with atomic_path(path) as partial:
        extra = {METADATA_FILE: ensemble.metadata.to_json()}
        content = io.BytesIO()
        with _deprecated():
            torch.jit.save(torch.jit.script(module), content, _extra_files=extra)
        partial.write_bytes(content.getvalue())
        _check_equal(load_torchscript(partial)[0], module, ensemble, path)


def load_torchscript(path: Path) -> tuple[torch.nn.Module, dict[str, object]]:
    """Read an `ensemble.pt`: the module, and the metadata embedded in it.

    Raises
    ------
    ModelError
        If the file is missing, is not an `ensemble.pt` of alrare, or is not as it was written.
    """
    content = read_export_metadata(path)
    try:
        with _deprecated():
            module: torch.nn.Module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise ModelError(f"{path}: expected an ensemble.pt of alrare, got: {first_line}") from error
    return module, content


_filters_lock = threading.RLock()
"""Filters of warnings are those of the process; a campaign exports from two threads."""


@contextmanager
def _deprecated() -> Iterator[None]:
    with _filters_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield


def _check_equal(
    exported: torch.nn.Module, module: torch.nn.Module, ensemble: Ensemble, path: Path
) -> None:
    arguments = _random_arguments(ensemble)
    for a, b in zip(_results(module, arguments), _results(exported, arguments), strict=True):
        if not torch.allclose(a, b, rtol=1e-5, atol=EXPORT_TOLERANCE):
            raise ModelError(
                f"{path}: the export differs from the Python model by"
                f" {float((a - b).abs().max()):.2e} eV, {EXPORT_TOLERANCE} is allowed;"
                f" torch {torch.__version__} compiles it wrong"
            )


Arguments = tuple[Tensor, Tensor, Tensor, Tensor, int, Tensor, Tensor]


def _random_arguments(ensemble: Ensemble) -> Arguments:
    """Return arguments of `forward` for a random configuration."""
    metadata = ensemble.metadata
    rng = np.random.default_rng(0)
    n_atoms = 6 * len(metadata.elements)
    grid = np.indices((3, 3, -(-n_atoms // 9))).reshape(3, -1).T[:n_atoms] * 1.4
    positions = torch.from_numpy(grid + rng.uniform(-0.1, 0.1, grid.shape))
    vectors = positions[None] - positions[:, None]
    near = vectors.norm(dim=2) < metadata.cutoff
    edge_i, edge_j = torch.nonzero(near.fill_diagonal_(False)).unbind(1)
    vec = vectors[edge_i, edge_j]
    short = vec.norm(dim=1) < metadata.angular_cutoff
    same = (edge_i[:, None] == edge_i[None]) & short[:, None] & short[None]
    triples = torch.nonzero(torch.triu(same, diagonal=1))
    species = torch.arange(n_atoms) % len(metadata.elements)
    weights = torch.linspace(0.5, 1.5, metadata.members, dtype=torch.float64)
    return vec.float(), edge_i, edge_j, species, n_atoms, triples, weights


def _results(module: torch.nn.Module, arguments: Arguments) -> tuple[Tensor, Tensor]:
    """Return energies and gradient; by autograd where the module gives energies alone."""
    vec, *others = arguments
    with torch.inference_mode():
        found = module(vec, *others)
    if isinstance(found, tuple):
        energies, gradient = found
        return energies, gradient
    weights, vec = arguments[-1], vec.clone().requires_grad_()
    energies = module(vec, *others)
    (gradient,) = torch.autograd.grad((weights @ energies).sum(), vec)
    return energies.detach(), gradient
