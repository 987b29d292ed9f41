"""The optimizers do what their papers say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from alrare import _core
from alrare.training import optimizer
from alrare.training.optimizer import (
    Adam,
    Clip,
    NativeSoap,
    Optimizer,
    Soap,
    SoapSettings,
    eigenvectors,
    one_cycle,
    open_soap,
)
from torch import Tensor


def minimize(make: Callable[[list[Tensor]], Optimizer], steps: int, rate: float) -> float:
    """Fit a matrix and a vector by batches of correlated features; return the last loss."""
    torch.manual_seed(0)
    scale = torch.logspace(0, -2, 12)
    mix = torch.diag(scale) @ torch.linalg.qr(torch.randn(12, 12))[0]
    target = torch.randn(8, 12) @ torch.linalg.inv(mix).T
    weight, bias = torch.zeros(8, 12), torch.zeros(8)
    optimizer, loss = make([weight, bias]), 0.0
    for step in range(steps):
        x = torch.randn(32, 12) @ mix
        error = x @ (weight - target).T + bias - 1.0
        loss = float(error.square().mean())
        optimizer.step([error.T @ x / 32, error.mean(0)], one_cycle(step, steps, rate))
    return loss


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_the_adam_of_torch(decay: float) -> None:
    torch.manual_seed(0)
    ours = [torch.randn(3, 2), torch.randn(4)]
    theirs = [tensor.clone() for tensor in ours]
    adam = Adam(ours, betas=(0.9, 0.99), weight_decay=decay)
    reference = torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.99), weight_decay=decay)
    for _ in range(5):
        gradients = [torch.randn(3, 2), torch.randn(4)]
        adam.step(gradients, 0.1)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_soap_beats_adam_where_features_are_correlated() -> None:
    betas = (0.95, 0.95)
    settings = SoapSettings(betas=betas, weight_decay=0.0)
    soap = minimize(lambda tensors: open_soap(tensors, settings), 300, 1.0)
    adam = minimize(lambda tensors: Adam(tensors, betas=betas), 300, 1.0)
    assert soap < 0.25 * adam


@pytest.mark.parametrize("goal", [None, 1.0])
def test_the_native_steps_of_soap_are_those_of_plain_torch(
    monkeypatch: pytest.MonkeyPatch, goal: float | None
) -> None:
    """From the same first bases, which the first gradient does not determine, to four refreshes."""

    def some_base(matrix: Tensor) -> Tensor:
        drawn = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(1))
        return torch.linalg.qr(drawn)[0].to(matrix.dtype)

    monkeypatch.setattr(optimizer, "eigenvectors", some_base)
    generator = torch.Generator().manual_seed(0)
    shapes = [(24, 40), (13, 7), (24,), (1, 13)]
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    goals = None if goal is None else [torch.full_like(one, goal) for one in start]
    native, plain = [one.clone() for one in start], [one.double() for one in start]
    settings = SoapSettings(weight_decay=0.3, clip=1.5)
    ours = NativeSoap(native, settings, goals)
    reference = Soap(plain, settings, None if goals is None else [one.double() for one in goals])
    for step in range(45):
        gradients = [torch.randn(shape, generator=generator) for shape in shapes]
        gradients[0][:4] *= 10.0  # bases that one iteration settles
        gradients = [(3.0 if step == 20 else 1.0) * one for one in gradients]
        ours.step(gradients, 0.05)
        reference.step([one.double() for one in gradients], 0.05)
    for mine, exact, before in zip(native, plain, start, strict=True):
        moved = float((exact - before).abs().max())
        assert moved > 0.5
        assert torch.allclose(mine.double(), exact, rtol=0, atol=1e-5 * moved)


def test_the_native_steps_of_adam_are_those_of_plain_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trained() -> Tensor:
        torch.manual_seed(0)
        parameter = torch.randn(24, 40)
        adam = Adam([parameter], weight_decay=0.3)
        for _ in range(9):
            adam.step([torch.randn(24, 40)], 0.05)
        return parameter

    native = trained()
    monkeypatch.setattr(optimizer, "_is_native", lambda parameters: False)
    assert torch.allclose(native, trained(), atol=2e-6)


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrays = {"gradient": np.zeros(3, np.float32), "first": np.zeros(3, np.float32)}
    numbers = {"rate": 0.1, "weight_decay": 0.0, "betas": (0.9, 0.9), "step": 1}
    with pytest.raises(ValueError, match="of one size"):
        _core.adam_step(
            np.zeros(3, np.float32), second=np.zeros(4, np.float32), **arrays, **numbers
        )
    square, settings = np.zeros((3, 3), np.float32), SoapSettings()
    keys = {name: getattr(settings, name) for name in vars(settings)}
    with pytest.raises(ValueError, match="contiguous and of one or two dimensions"):
        _core.Soap([square[:, :2]], goals=[], **keys)
    with pytest.raises(ValueError, match="a goal must be contiguous and have 9 values, got 6"):
        _core.Soap([square], goals=[np.zeros((2, 3), np.float32)], **keys)
    with pytest.raises(TypeError):
        _core.Soap([square.astype(float)], goals=[], **keys)  # a copy would be changed
    with pytest.raises(ValueError, match="refresh and statistics must be at least 1"):
        _core.Soap([square], goals=[], **keys | {"refresh": 0})
    soap = _core.Soap([square, np.zeros(3, np.float32)], goals=[], **keys)
    with pytest.raises(RuntimeError, match="a matrix has no bases"):
        soap.step([square, np.zeros(3)], 0.1)
    with pytest.raises(ValueError, match="right must be contiguous and have 9 values, got 4"):
        soap.begin(0, square, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="there is no matrix 1"):
        soap.begin(1, square, square)
    soap.begin(0, np.eye(3), np.eye(3))
    with pytest.raises(RuntimeError, match="expected 2 gradients, one per parameter, got 1"):
        soap.step([square], 0.1)
    with pytest.raises(ValueError, match="a gradient must be contiguous and have 3 values, got 4"):
        soap.step([square, np.zeros(4)], 0.1)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 0.0])
def test_gradients_that_are_not_numbers_or_zero_do_no_harm_to_the_process(broken: float) -> None:
    weight = torch.ones(20, 12)
    soap = NativeSoap([weight], SoapSettings(weight_decay=0.0))
    soap.step([torch.ones(20, 12)], 0.1)
    for _ in range(21):
        soap.step([torch.full((20, 12), broken)], 0.1)
    assert bool(weight.isfinite().all()) == (broken == 0.0)


def test_soap_does_not_depend_on_the_basis_of_the_features() -> None:
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    plain, turned = torch.zeros(6, 6), torch.zeros(6, 6)
    settings = SoapSettings(weight_decay=0.0)
    first, second = open_soap([plain], settings), open_soap([turned], settings)
    for _ in range(15):
        gradient = torch.randn(6, 6)
        first.step([gradient], 0.1)
        second.step([gradient @ turn], 0.1)
    assert torch.allclose(plain @ turn, turned, atol=1e-3)


def test_soap_matrices_decay_toward_where_they_came_from() -> None:
    torch.manual_seed(0)
    goal, weight = torch.randn(6, 4), torch.randn(6, 4)
    bias = torch.ones(6)
    far = (weight - goal).clone()
    optimizer = open_soap(
        [weight, bias], SoapSettings(weight_decay=0.5), toward=[goal, torch.zeros(6)]
    )
    for _ in range(11):  # the first sets up the bases
        optimizer.step([torch.zeros(6, 4), torch.zeros(6)], 0.1)
    assert torch.allclose(weight - goal, 0.95**10 * far, atol=1e-5)
    assert torch.equal(bias, torch.ones(6))


def test_equal_eigenvalues_that_float32_fails_on_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solve = torch.linalg.eigh

    def fails(matrix: Tensor) -> object:
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError
        return solve(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    assert torch.equal(
        eigenvectors(torch.diag(torch.tensor([1.0, 3.0]))).abs(), torch.eye(2).flip(1)
    )


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [one_cycle(step, 100, 0.01) for step in range(100)]
    assert max(rates) == rates[19] == pytest.approx(0.01)
    assert rates[:20] == sorted(rates[:20]) and rates[19:] == sorted(rates[19:], reverse=True)
    assert rates[0] == pytest.approx(4e-4) and rates[-1] < 1e-6
    assert 0 < one_cycle(0, 1, 0.01) <= 0.01


def test_a_gradient_far_longer_than_usual_is_shortened_and_others_are_not() -> None:
    clip = Clip(2.0)
    for _ in range(50):
        (same,) = clip([torch.full((4,), 0.5)])  # of length 1
        assert torch.equal(same, torch.full((4,), 0.5))
    one, other = clip([torch.full((2,), 300.0), torch.full((2,), 400.0)])
    length = torch.cat([one, other]).norm()
    assert length == pytest.approx(2.0, rel=1e-5)
    assert other[0] / one[0] == pytest.approx(4.0 / 3.0, rel=1e-5)  # the direction stays
    (same,) = clip([torch.full((4,), 0.5)])
    assert torch.equal(same, torch.full((4,), 0.5))


@pytest.mark.slow
def test_outliers_do_not_slow_soap_down() -> None:
    """A quadratic whose every tenth gradient is a thousand times too long, in a wrong direction."""

    def distance(clip: float) -> float:
        generator = torch.Generator().manual_seed(0)
        weight = torch.ones(6, 4)
        optimizer = open_soap([weight], SoapSettings(clip=clip, weight_decay=0.0))
        for step in range(300):
            gradient = weight.clone()
            if step % 10 == 9:
                gradient = 1e3 * torch.randn(6, 4, generator=generator)
            optimizer.step([gradient], one_cycle(step, 300, 1e-2))
        return float(weight.norm())

    start = 24**0.5
    assert distance(float("inf")) > start
    assert distance(2.0) < 0.75 * start
