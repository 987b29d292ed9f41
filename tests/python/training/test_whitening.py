"""Whitening decorrelates, and can be folded in and taken out again."""

import torch
from alrare.training.whitening import WHITENING_FLOOR, whiten, whiten_elements


def features() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(500, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.3, 0], [0, 0.4, 1]]) + 5.0


def test_whitened_features_are_uncorrelated() -> None:
    aev = features()
    white = whiten(aev)
    x = (aev - white.center) @ white.transform
    covariance = x.T @ x / 500
    assert torch.allclose(covariance, torch.diag(covariance.diag()), atol=1e-3)
    variance = torch.linalg.eigvalsh(torch.cov(aev.T, correction=0))
    floor = WHITENING_FLOOR * variance.mean()
    assert torch.allclose(covariance.diag(), variance / (variance + floor), atol=1e-3)


def test_a_layer_taken_out_of_a_model_computes_the_same() -> None:
    aev = features()
    white = whiten(aev)
    weight, bias = torch.randn(4, 3), torch.randn(4)
    inner, inner_bias = white.unfold(weight, bias)
    x = (aev - white.center) @ white.transform
    assert torch.allclose(x @ inner.T + inner_bias, aev @ weight.T + bias, atol=1e-4)
    folded, raw_bias = white.fold(inner, inner_bias)
    assert torch.allclose(folded, weight, atol=1e-5)
    assert torch.allclose(raw_bias, bias, atol=1e-4)


def test_an_element_of_one_atom_is_not_blown_up() -> None:
    generator = torch.Generator().manual_seed(3)
    aev = 0.1 * torch.randn(40, 12, generator=generator)
    species = torch.tensor([0] * 39 + [1])
    many, one, none = whiten_elements(aev, species, 3)
    usual = float(torch.linalg.matrix_norm(many.transform, ord=2))
    assert float(torch.linalg.matrix_norm(one.transform, ord=2)) < 100.0 * usual
    assert torch.equal(one.center, aev[-1])
    assert bool(torch.isfinite(none.transform).all())
    for part, white in ((aev[:39], many), (aev[39:], one)):
        same = whiten(part)
        if len(part) > 1:
            assert torch.equal(same.transform, white.transform)
