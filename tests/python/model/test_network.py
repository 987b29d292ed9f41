"""The stacked networks against autograd."""

import torch
from alrare.model.network import initial_layers, summed_gradient
from ani_reference import random_ensemble


def test_gradient_equals_autograd() -> None:
    network = random_ensemble(seed=2).networks(torch.float64)[1]
    aev = torch.rand(5, 128, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.2, -1.0, 0.5], dtype=torch.float64)
    energies, grad, first = network(aev, weights)
    (expected,) = torch.autograd.grad((weights @ energies).sum(), aev)
    assert energies.shape == (3, 5)
    assert torch.allclose(summed_gradient(grad, first), expected, atol=1e-12)


def test_initial_weights_follow_the_seed() -> None:
    def draw(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return initial_layers((128, 32, 1), torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1)[0][0], draw(1)[0][0])
    assert not torch.equal(draw(1)[0][0], draw(2)[0][0])
    assert draw(1)[0][0].abs().max() <= 128**-0.5
