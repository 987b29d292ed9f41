"""Frozen whitening of the descriptor: training sees uncorrelated features of variance one."""

from dataclasses import dataclass

import torch
from torch import Tensor

WHITENING_FLOOR = 1e-2
"""Added to every variance, in units of their mean, since directions in which the AEV hardly varies
hold noise.

Force MAE on other frames, measured with 600 hexanes and 20 epochs: 1e-5 0.47, 1e-4 0.44,
1e-3 0.37, 1e-2 0.32, 1e-1 0.33 kcal/mol/Å.
"""


@dataclass(frozen=True)
class Whitening:
    """Frozen linear map of one element's AEV, x' = (x - center) T.

    When a model is written, the map is multiplied into its first layer; training that starts from
    that model removes it again.
    """

    center: Tensor
    """(F,): mean of the AEV."""
    transform: Tensor
    """(F, F): T."""
    inverse: Tensor
    """(F, F): the inverse of T."""

    def fold(self, weight: Tensor) -> Tensor:
        """Return the weight (out, F) for the centered AEV, given the weight for x'."""
        return weight @ self.transform.t()

    def unfold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the first layer for x', given those for the raw AEV."""
        double = weight.double()
        shifted = bias.double() + double @ self.center.double()
        return (double @ self.inverse.double().t()).float(), shifted.float()


def whiten(aev: Tensor) -> Whitening:
    """Return the map to uncorrelated features of variance one (less where the AEV hardly varies).

    Parameters
    ----------
    aev : (N, F) tensor
    """
    x = aev.double()
    center = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
    offset = x - center
    variance, axes = torch.linalg.eigh(offset.t() @ offset / max(len(x), 1))
    variance = variance.clamp(min=0.0)
    scale = (variance + WHITENING_FLOOR * variance.mean() + 1e-12).sqrt()
    inverse = (axes * scale).t().contiguous()
    return Whitening(center.float(), (axes / scale).float(), inverse.float())


def identity(n_features: int) -> Whitening:
    """Return the map that leaves the AEV as it is."""
    one = torch.eye(n_features)
    return Whitening(torch.zeros(n_features), one, one)
