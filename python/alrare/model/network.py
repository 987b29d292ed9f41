"""The members' networks of one element, stacked along the member axis."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class StackedLinear(torch.nn.Module):
    """One linear layer of every member.

    Parameters
    ----------
    weight : (M, out, in) tensor
    bias : (M, out) tensor
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", bias.unsqueeze(1).contiguous())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (M, n, in) to (M, n, out); also return the weights, for the backward pass."""
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2)), self.weight


def activate(x: Tensor, celu_alpha: float) -> Tensor:
    """Apply the activation: CELU of this α, or GELU where α is 0."""
    if celu_alpha > 0.0:
        return torch.nn.functional.celu(x, alpha=celu_alpha)
    return torch.nn.functional.gelu(x)


def activation_backward(grad: Tensor, x: Tensor, celu_alpha: float) -> Tensor:
    """Multiply a gradient by the slope of `activate` at x."""
    if celu_alpha > 0.0:
        return grad * torch.exp(torch.clamp(x, max=0.0) / celu_alpha)
    return torch.ops.aten.gelu_backward(grad, x, approximate="none")  # type: ignore[no-any-return]


class StackedNetwork(torch.nn.Module):
    """Networks AEV → energy of one element for M members.

    Parameters
    ----------
    weights : sequence of (M, out, in) tensors
    biases : sequence of (M, out) tensors
        The last layer has out = 1.
    celu_alpha : float
        α of the CELU between the layers; 0 for GELU.
    """

    def __init__(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], celu_alpha: float = 0.0
    ) -> None:
        super().__init__()
        self.celu_alpha = celu_alpha
        self.members = weights[0].shape[0]
        pairs = zip(weights, biases, strict=True)
        self.layers = torch.nn.ModuleList([StackedLinear(w, b) for w, b in pairs])

    def forward(self, aev: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energies, and the gradient of the first layer's pre-activation.

        Parameters
        ----------
        aev : (n, F) tensor
        weights : (M,) tensor
            Weight of each member in the differentiated sum.

        Returns
        -------
        (M, n) tensor
            Energy of each atom in eV, without self energy.
        (M, n, out) tensor
            d(Σ_m w_m E_m)/dz of the first layer, member by member.
        (M, out, F) tensor
            The first layer's weights, which take that gradient to the AEV.
        """
        x = aev.unsqueeze(0).expand(self.members, -1, -1)
        inputs: list[Tensor] = []
        matrices: list[Tensor] = []
        for layer in self.layers:
            if len(inputs) > 0:
                x = activate(x, self.celu_alpha)
            x, weight = layer(x)
            inputs.append(x)
            matrices.append(weight)
        grad = weights.to(x.dtype).view(-1, 1, 1).expand_as(x)
        for k in range(len(inputs) - 2, -1, -1):
            grad = torch.bmm(grad, matrices[k + 1])
            grad = activation_backward(grad, inputs[k], self.celu_alpha)
        return x.squeeze(2), grad, matrices[0]


def summed_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the weighted sum with respect to the AEV.

    Parameters
    ----------
    grad : (M, n, out) tensor
    weight : (M, out, F) tensor

    Returns
    -------
    (n, F) tensor
    """
    members, atoms, width = grad.shape
    rows = grad.transpose(0, 1).reshape(atoms, members * width)
    return torch.mm(rows, weight.reshape(members * width, weight.shape[2]))


def initial_layers(sizes: Sequence[int], generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    r"""Random weights of one network, :math:`U(-1/\sqrt{in}, 1/\sqrt{in})`, float32.

    Parameters
    ----------
    sizes : sequence of int
        Widths from the AEV to the single output.
    generator : torch.Generator

    Returns
    -------
    list of ((out, in) tensor, (out,) tensor)
    """
    layers = []
    for width_in, width_out in pairwise(sizes):
        bound = width_in**-0.5
        weight = torch.empty(width_out, width_in).uniform_(-bound, bound, generator=generator)
        bias = torch.empty(width_out).uniform_(-bound, bound, generator=generator)
        layers.append((weight, bias))
    return layers
