"""The hand-written gradient of the loss against autograd's double backward."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from alrare.aev import AEVConstants
from alrare.descriptors import Batch, DescriptorCache
from alrare.ensemble import member_weights, random_ensemble
from alrare.gradients import Labels, MemberGradient
from ase import Atoms
from ase.build import molecule


class _Forces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad_aev: torch.Tensor, batch: Batch) -> torch.Tensor:
        ctx.batch = batch
        return batch.forces(grad_aev)

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.batch.forces_backward(bar), None


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    frames = [molecule("C2H6"), molecule("CH4"), Atoms("H2", [(0, 0, 0), (0, 0, 0.8)])]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=k)
    cache = DescriptorCache(tmp_path, constants=AEVConstants(), elements=("H", "C"))
    cache.add(frames)
    single = cache.batch(cache.keys(frames))
    names = ("unit", "slope", "jacobian")
    doubled = {name: getattr(single, name).double() for name in names}
    atoms = dataclasses.replace(single.atoms, aev=single.atoms.aev.double())
    return dataclasses.replace(single, atoms=atoms, **doubled)


@pytest.mark.parametrize("force_weight", [0.0, 0.1, 1.0])
def test_loss_and_gradient_are_those_of_equation_3(batch: Batch, force_weight: float) -> None:
    torch.manual_seed(0)
    drawn = member_weights(random_ensemble(hidden={"H": (24, 16), "C": (20,)}).metadata, 1)
    weights = {name: tensor.double().requires_grad_() for name, tensor in drawn.items()}
    networks = [
        [(weights[f"{e}.{k}.weight"], weights[f"{e}.{k}.bias"]) for k in range(depth)]
        for e, depth in (("H", 3), ("C", 2))
    ]
    centers = [torch.rand(128).double(), torch.rand(128).double()]
    n_atoms = torch.tensor([8, 5, 2]).double()
    labels = Labels(torch.randn(3).double(), torch.randn(15, 3).double(), n_atoms)

    aev = batch.atoms.aev.clone().requires_grad_()
    energies = torch.zeros(3).double()
    for k, layers in enumerate(networks):
        rows = torch.nonzero(batch.atoms.species == k).squeeze(1)
        x = aev[rows] - centers[k]
        for depth, (weight, bias) in enumerate(layers):
            x = (torch.nn.functional.gelu(x) if depth else x) @ weight.T + bias
        energies = energies.index_add(0, batch.atoms.configuration[rows], x[:, 0])
    (grad_aev,) = torch.autograd.grad(energies.sum(), aev, create_graph=True)
    forces = _Forces.apply(grad_aev, batch)
    squares = (forces - labels.forces).square().sum(1)
    force_loss = torch.zeros(3).double().index_add(0, batch.atoms.configuration, squares) / n_atoms
    loss = ((energies - labels.energies) ** 2 / n_atoms.sqrt()).mean()
    loss = loss + force_weight * force_loss.mean()
    expected = torch.autograd.grad(loss, list(weights.values()))

    with torch.no_grad():
        value, gradients = MemberGradient(batch, networks, centers).loss_gradient(
            labels, force_weight
        )
    assert value == pytest.approx(loss.item(), rel=1e-12)
    ours = [tensor for layers in gradients for layer in layers for tensor in layer]
    for mine, theirs in zip(ours, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-12)
