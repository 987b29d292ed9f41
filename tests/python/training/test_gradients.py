"""The hand-written gradient of the loss: autograd's double backward, torch, the native engine."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alrare.model.aev import AEVConstants
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import member_weights
from alrare.model.network import initial_layers
from alrare.training.descriptor_cache import AtomBatch, Batch, DescriptorCache
from alrare.training.gradients import (
    Gradients,
    Labels,
    Layers,
    NativeGradient,
    Strain,
    TorchGradient,
)
from alrare.training.whitening import Whitening, identity
from ani_reference import random_ensemble
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


def joined(folder: Path, frames: list[Atoms], elements: tuple[str, ...] = ("H", "C")) -> Batch:
    for k, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=k)
    cache = DescriptorCache(folder, constants=AEVConstants(), elements=elements)
    cache.add(frames)
    return cache.batch(cache.keys(frames))


def in_double(batch: Batch) -> Batch:
    names = ("length", "unit", "slope", "jacobian")
    doubled = {name: getattr(batch, name).double() for name in names}
    atoms = dataclasses.replace(batch.atoms, aev=batch.atoms.aev.double())
    return dataclasses.replace(batch, atoms=atoms, **doubled)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    frames = [molecule("C2H6"), molecule("CH4"), Atoms("H2", [(0, 0, 0), (0, 0, 0.8)])]
    return in_double(joined(tmp_path, frames))


@pytest.mark.slow
@pytest.mark.parametrize("force_weight", [0.0, 0.1, 1.0])
def test_loss_and_gradient_are_those_of_equation_3(batch: Batch, force_weight: float) -> None:
    torch.manual_seed(0)
    drawn = member_weights(random_ensemble(hidden={"H": (24, 16), "C": (20,)}).metadata, 1)
    weights = {name: tensor.double().requires_grad_() for name, tensor in drawn.items()}
    networks = [
        [(weights[f"{e}.{k}.weight"], weights[f"{e}.{k}.bias"]) for k in range(depth)]
        for e, depth in (("H", 3), ("C", 2))
    ]
    whitening = whitening_in_double([random_whitening(128) for _ in range(2)])
    n_atoms = torch.tensor([8, 5, 2]).double()
    labels = Labels(torch.randn(3).double(), torch.randn(15, 3).double(), n_atoms)

    aev = batch.atoms.aev.clone().requires_grad_()
    energies = torch.zeros(3).double()
    for k, layers in enumerate(networks):
        rows = torch.nonzero(batch.atoms.species == k).squeeze(1)
        x = (aev[rows] - whitening[k].center) @ whitening[k].transform
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
        value, gradients = TorchGradient().loss_gradient(
            batch, networks, whitening, labels, force_weight
        )
    assert value == pytest.approx(loss.item(), rel=1e-12)
    ours = [tensor for layers in gradients for layer in layers for tensor in layer]
    for mine, theirs in zip(ours, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-12)


class _Strain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad_aev: torch.Tensor, batch: Batch) -> torch.Tensor:
        ctx.batch = batch
        return batch.strain_derivatives(grad_aev)

    @staticmethod
    def backward(ctx: Any, bar: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.batch.forces_backward(bar.new_zeros(len(ctx.batch.atoms.aev), 3), bar), None


def crystal(a: float = 5.5) -> Atoms:
    atoms = molecule("C2H6")
    atoms.set_cell([[a, 0, 0], [0.7, 5.2, 0], [0.2, -0.4, 5.9]])
    atoms.pbc = True
    return atoms


def strained_batch(folder: Path) -> tuple[Batch, Labels]:
    """A molecule between two cells with stress, and a cell without, in float32."""
    frames = [crystal(), molecule("CH4"), crystal(5.1), crystal(5.0)]
    batch = joined(folder, frames)
    labels = random_labels(batch)
    strain = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(2))
    strain = strain + strain.transpose(1, 2)
    return batch, dataclasses.replace(labels, strain=Strain(torch.tensor([0, 2]), strain))


def labels_in_double(labels: Labels) -> Labels:
    strain = labels.strain
    if strain is not None:
        strain = Strain(strain.rows, strain.derivatives.double())
    return Labels(labels.energies.double(), labels.forces.double(), labels.n_atoms.double(), strain)


def networks_in_double(networks: list[Layers]) -> list[Layers]:
    return [[(weight.double(), bias.double()) for weight, bias in n] for n in networks]


@pytest.mark.slow
def test_the_gradient_of_the_stress_is_autograds_and_the_slope_of_the_loss(tmp_path: Path) -> None:
    batch, labels = strained_batch(tmp_path)
    batch, labels = in_double(batch), labels_in_double(labels)
    assert labels.strain is not None
    networks, whitening = random_member(128, [[24, 16], [20]])
    networks = networks_in_double(networks)
    whitening = whitening_in_double(whitening)
    weights = [tensor.requires_grad_() for n in networks for layer in n for tensor in layer]

    def terms(gamma: float) -> tuple[float, list[torch.Tensor]]:
        with torch.no_grad():
            loss, found = TorchGradient().loss_gradient(
                batch, networks, whitening, labels, 0.5, gamma
            )
        return loss, flat(found)

    aev = batch.atoms.aev.clone().requires_grad_()
    total = torch.zeros(()).double()
    for k, layers in enumerate(networks):
        x = (aev[batch.atoms.species == k] - whitening[k].center) @ whitening[k].transform
        for depth, (weight, bias) in enumerate(layers):
            x = (torch.nn.functional.gelu(x) if depth else x) @ weight.T + bias
        total = total + x.sum()
    (grad_aev,) = torch.autograd.grad(total, aev, create_graph=True)
    error = _Strain.apply(grad_aev, batch)[labels.strain.rows] - labels.strain.derivatives
    loss = (error.square().mean((1, 2)) / math.sqrt(8.0)).sum() / 4
    expected = torch.autograd.grad(3.0 * loss, weights, allow_unused=True)

    without, base = terms(0.0)
    value, gradients = terms(3.0)
    assert value - without == pytest.approx(3.0 * loss.item(), rel=1e-10)
    for mine, before, theirs in zip(gradients, base, expected, strict=True):
        theirs = torch.zeros_like(mine) if theirs is None else theirs
        assert torch.allclose(mine - before, theirs, rtol=1e-9, atol=1e-11)

    torch.manual_seed(3)
    with torch.no_grad():
        for tensor, gradient in zip(weights, gradients, strict=True):
            direction, saved, step = torch.randn_like(tensor), tensor.clone(), 1e-5
            sides = []
            for sign in (1.0, -1.0):
                tensor.copy_(saved + sign * step * direction)
                sides.append(terms(3.0)[0])
            tensor.copy_(saved)
            slope = (sides[0] - sides[1]) / (2.0 * step)
            assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-7)


def test_the_native_gradient_of_the_stress_is_that_in_float64(
    native: NativeGradient, tmp_path: Path
) -> None:
    batch, labels = strained_batch(tmp_path)
    networks, whitening = random_member(128, [[24, 16], [20]])
    strain = native.strain_derivatives(batch, networks, whitening)
    loss, gradients = native.loss_gradient(batch, networks, whitening, labels, 0.5, 3.0)
    exact, doubles = in_double(batch), networks_in_double(networks)
    where = (exact, doubles, whitening_in_double(whitening))
    expected = TorchGradient().strain_derivatives(*where)
    assert strain.shape == (4, 3, 3)
    assert torch.allclose(strain, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    value, reference = TorchGradient().loss_gradient(*where, labels_in_double(labels), 0.5, 3.0)
    assert loss == pytest.approx(value, rel=1e-6)
    for mine, theirs in zip(flat(gradients), flat(reference), strict=True):
        largest = float(theirs.abs().max())
        assert torch.allclose(mine.double(), theirs, rtol=0, atol=1e-5 * largest)


def test_the_strain_derivative_is_the_calculators_stress_times_the_volume(
    native: NativeGradient, tmp_path: Path
) -> None:
    ensemble = random_ensemble(members=2, hidden={"H": (24, 16), "C": (20,)})
    ensemble.save(tmp_path / "ensemble.safetensors")
    frames = [crystal(), crystal(5.1)]
    batch = joined(tmp_path, frames)
    networks = [
        [(ensemble.weights[f"{e}.{k}.weight"][1], ensemble.weights[f"{e}.{k}.bias"][1])
         for k in range(depth)]
        for e, depth in (("H", 3), ("C", 2))
    ]  # fmt: skip
    found = native.strain_derivatives(batch, networks, [identity(128)] * 2).numpy()
    calculator = EnsembleCalculator(tmp_path / "ensemble.safetensors", forces=2)
    for atoms, strain in zip(frames, found, strict=True):
        atoms.calc = calculator
        expected = atoms.get_stress(voigt=False) * atoms.get_volume()
        assert np.allclose(strain, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_stress_of_weight_zero_changes_no_bit(native: NativeGradient, tmp_path: Path) -> None:
    batch, labels = strained_batch(tmp_path)
    networks, whitening = random_member(128, [[24, 16], [20]])
    plain = dataclasses.replace(labels, strain=None)
    first = native.loss_gradient(batch, networks, whitening, plain, 0.5, 3.0)
    second = native.loss_gradient(batch, networks, whitening, labels, 0.5, 0.0)
    assert first[0] == second[0]
    assert all(map(torch.equal, flat(first[1]), flat(second[1])))


CASES: dict[str, tuple[list[str], tuple[str, ...], list[list[int]]]] = {
    "the model of the paper": (["C2H6", "CH4", "C6H6"], ("H", "C"), [[256, 192, 160], [224, 160]]),
    "more atoms than a tile": (["C6H6"] * 15, ("H", "C"), [[40, 24], [24, 40]]),
    "odd widths": (["C2H6", "CH4"], ("H", "C"), [[5, 17, 33], [1]]),
    "no hidden layer": (["C2H6", "CH4"], ("H", "C"), [[], [9]]),
    "three elements": (["H2O", "CH3OH", "CO2"], ("H", "C", "O"), [[20, 12], [7], [16, 16]]),
    "an element is missing": (["C2H6", "H2"], ("H", "C", "O"), [[20, 12], [7], [16]]),
}


def random_member(n_features: int, hidden: list[list[int]]) -> tuple[list[Layers], list[Whitening]]:
    generator = torch.Generator().manual_seed(0)
    networks = [initial_layers([n_features, *widths, 1], generator) for widths in hidden]
    return list(networks), [random_whitening(n_features, generator) for _ in hidden]


def random_whitening(n_features: int, generator: torch.Generator | None = None) -> Whitening:
    drawn = torch.randn(n_features, n_features, generator=generator)
    transform = torch.linalg.qr(drawn)[0] * torch.linspace(0.5, 1.5, n_features)
    inverse = torch.linalg.inv(transform)
    return Whitening(torch.rand(n_features, generator=generator), transform, inverse)


def whitening_in_double(whitening: list[Whitening]) -> list[Whitening]:
    return [
        Whitening(white.center.double(), white.transform.double(), white.inverse.double())
        for white in whitening
    ]


def random_labels(batch: Batch) -> Labels:
    generator = torch.Generator().manual_seed(1)
    n_atoms = torch.bincount(batch.atoms.configuration).float()
    forces = torch.randn(len(batch.atoms.aev), 3, generator=generator)
    return Labels(torch.randn(batch.atoms.count, generator=generator), forces, n_atoms)


def flat(gradients: Gradients) -> list[torch.Tensor]:
    return [tensor for layers in gradients for layer in layers for tensor in layer]


@pytest.fixture(params=["avx512", "avx2", "portable"])
def native(request: pytest.FixtureRequest) -> NativeGradient:
    try:
        return NativeGradient(instruction_set=request.param)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", CASES)
def test_the_native_gradient_is_that_in_float64_to_float32_rounding(
    case: str, native: NativeGradient, tmp_path: Path
) -> None:
    names, elements, hidden = CASES[case]
    batch = joined(tmp_path, [molecule(name) for name in names], elements)
    networks, whitening = random_member(batch.atoms.aev.shape[1], hidden)
    labels = random_labels(batch)
    energies, forces = native.predict(batch, networks, whitening)
    assert torch.equal(native.energies(batch.atoms, networks, whitening), energies)
    loss, gradients = native.loss_gradient(batch, networks, whitening, labels, 0.5)

    exact = in_double(batch)
    doubles = [[(weight.double(), bias.double()) for weight, bias in n] for n in networks]
    whitening = whitening_in_double(whitening)
    labels = Labels(labels.energies.double(), labels.forces.double(), labels.n_atoms.double())
    expected_energies, expected_forces = TorchGradient().predict(exact, doubles, whitening)
    expected, reference = TorchGradient().loss_gradient(exact, doubles, whitening, labels, 0.5)
    assert torch.allclose(energies, expected_energies, rtol=0, atol=1e-5)
    assert torch.allclose(forces.double(), expected_forces, rtol=0, atol=1e-5)
    assert loss == pytest.approx(expected, rel=1e-6)
    for mine, theirs in zip(flat(gradients), flat(reference), strict=True):
        assert mine.shape == theirs.shape
        largest = float(theirs.abs().max())
        assert torch.allclose(mine.double(), theirs, rtol=0, atol=1e-5 * largest)


def test_energies_of_more_atoms_than_are_computed_at_a_time(native: NativeGradient) -> None:
    generator = torch.Generator().manual_seed(4)
    counts = torch.randint(1, 40, (450,), generator=generator)
    n_atoms = int(counts.sum())
    assert n_atoms > 2 * 4096
    atoms = AtomBatch(
        species=torch.randint(0, 2, (n_atoms,), generator=generator),
        aev=torch.rand(n_atoms, 128, generator=generator),
        configuration=torch.arange(450).repeat_interleave(counts),
        count=450,
    )
    networks, whitening = random_member(128, [[24, 16], [20]])
    found = native.energies(atoms, networks, whitening)
    exact = dataclasses.replace(atoms, aev=atoms.aev.double())
    member = networks_in_double(networks), whitening_in_double(whitening)
    assert torch.allclose(found, TorchGradient().energies(exact, *member), rtol=0, atol=1e-4)


def test_the_same_call_gives_the_same_bytes_whatever_came_before(tmp_path: Path) -> None:
    small = joined(tmp_path, [molecule("CH4")])
    large = joined(tmp_path, [molecule("C2H6"), molecule("C6H6")])
    networks, whitening = random_member(128, [[24, 16], [20]])
    engine = NativeGradient()
    first = engine.loss_gradient(large, networks, whitening, random_labels(large), 1.0)
    engine.loss_gradient(small, networks, whitening, random_labels(small), 1.0)
    again = engine.loss_gradient(large, networks, whitening, random_labels(large), 1.0)
    assert first[0] == again[0]
    assert all(map(torch.equal, flat(first[1]), flat(again[1])))


def test_arrays_that_do_not_fit_are_named(tmp_path: Path) -> None:
    batch = joined(tmp_path, [molecule("CH4"), molecule("C2H6")])
    networks, whitening = random_member(128, [[24], [20]])
    engine = NativeGradient()
    with pytest.raises(RuntimeError, match="expected 2 networks, one per element, got 1"):
        engine.predict(batch, networks[:1], whitening[:1])
    with pytest.raises(RuntimeError, match=r"a layer takes 20 features, .* has 24"):
        engine.predict(batch, [[networks[0][0], networks[1][1]], networks[1]], whitening)
    with pytest.raises(ValueError, match=r"center must have shape \(128\), got \(127\)"):
        engine.predict(batch, networks, [identity(127), whitening[1]])
    crossed = dataclasses.replace(batch, edge_j=batch.edge_j.flip(0))
    with pytest.raises(RuntimeError, match=r"edge_j\[0\] = .* an atom of configuration 0"):
        engine.predict(crossed, networks, whitening)
