"""The optimizers do what their papers say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from alrare import _core
from alrare.training import optimizer
from alrare.training.optimizer import Adam, Clip, Optimizer, Soap, eigenvectors, one_cycle
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
    soap = minimize(lambda tensors: Soap(tensors, betas=betas, weight_decay=0.0), 300, 1.0)
    adam = minimize(lambda tensors: Adam(tensors, betas=betas), 300, 1.0)
    assert soap < 0.25 * adam


@pytest.mark.parametrize("goal", [None, 1.0])
def test_the_native_steps_are_those_of_plain_torch(
    monkeypatch: pytest.MonkeyPatch, goal: float | None
) -> None:
    def trained() -> list[Tensor]:
        torch.manual_seed(0)
        parameters = [torch.randn(24, 40), torch.randn(13, 7), torch.randn(24), torch.randn(1, 13)]
        goals = None if goal is None else [torch.full_like(one, goal) for one in parameters]
        soap = Soap(parameters, weight_decay=0.3, toward=goals)
        for _ in range(9):  # before the bases are refreshed: QR may turn signs by rounding
            soap.step([torch.randn(one.shape) for one in parameters], 0.05)
        adam = Adam(parameters, weight_decay=0.3)
        for _ in range(9):
            adam.step([torch.randn(one.shape) for one in parameters], 0.05)
        return parameters

    native = trained()
    monkeypatch.setattr(optimizer, "_open_engine", lambda parameters: optimizer._Torch())
    for ours, plain in zip(native, trained(), strict=True):
        assert torch.allclose(ours, plain, atol=2e-4)


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrays = {"gradient": np.zeros(3, np.float32), "first": np.zeros(3, np.float32)}
    numbers = {"rate": 0.1, "weight_decay": 0.0, "betas": (0.9, 0.9), "step": 1}
    with pytest.raises(ValueError, match="of one size"):
        _core.adam_step(
            np.zeros(3, np.float32), second=np.zeros(4, np.float32), **arrays, **numbers
        )
    square = np.zeros((3, 3), np.float32)
    names = ("gradient", "first", "second", "left", "right", "base_left", "base_right")
    given = dict.fromkeys(names, square)
    take = _core.SoapStep().take
    with pytest.raises(ValueError, match=r"left must be a contiguous array of shape \(3, 3\)"):
        take(
            square,
            **given | {"left": np.zeros((2, 3), np.float32)},
            goal=None,
            share=0.0,
            **numbers,
        )
    with pytest.raises(ValueError, match="first must be a contiguous"):
        take(
            square,
            **given | {"first": np.zeros((3, 3), np.float32).T[::-1]},
            goal=None,
            share=0.0,
            **numbers,
        )


def test_soap_does_not_depend_on_the_basis_of_the_features() -> None:
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    plain, turned = torch.zeros(6, 6), torch.zeros(6, 6)
    first, second = Soap([plain], weight_decay=0.0), Soap([turned], weight_decay=0.0)
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
    optimizer = Soap([weight, bias], weight_decay=0.5, toward=[goal, torch.zeros(6)])
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
        optimizer = Soap([weight], clip=clip, weight_decay=0.0)
        for step in range(300):
            gradient = weight.clone()
            if step % 10 == 9:
                gradient = 1e3 * torch.randn(6, 4, generator=generator)
            optimizer.step([gradient], one_cycle(step, 300, 1e-2))
        return float(weight.norm())

    start = 24**0.5
    assert distance(float("inf")) > start
    assert distance(2.0) < 0.75 * start
