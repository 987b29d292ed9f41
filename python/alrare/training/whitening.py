"""Frozen whitening of the descriptor: training sees uncorrelated features of variance one."""

from dataclasses import dataclass

import torch
from torch import Tensor

WHITENING_FLOOR = 1e-2
"""Added to every variance, relative to their mean: flat directions of the AEV are noise.

Measured on 600 hexanes, 20 epochs, unseen force MAE: 1e-5 0.47, 1e-4 0.44, 1e-3 0.37, 1e-2 0.32,
1e-1 0.33 kcal/mol/Å.
"""


@dataclass(frozen=True)
class Whitening:
    """Frozen linear map of one element's AEV, x' = (x - center) T.

    It is folded into the first layer when a model is written, and taken out again when training
    goes on from that model.

    Attributes
    ----------
    center : (F,) tensor
    transform, inverse : (F, F) tensors
        T and its inverse.
    """

    center: Tensor
    transform: Tensor
    inverse: Tensor

    def fold(self, weight: Tensor) -> Tensor:
        """Return the first layer's weight (out, F) for the centered AEV from that for x'."""
        return weight @ self.transform.t()

    def unfold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first layer for x' from that for the raw AEV."""
        double = weight.double()
        shifted = bias.double() + double @ self.center.double()
        return (double @ self.inverse.double().t()).float(), shifted.float()


def whiten(aev: Tensor) -> Whitening:
    """Map AEVs to uncorrelated features of variance one; flat directions stay small.

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
    """Leave the AEV as it is."""
    one = torch.eye(n_features)
    return Whitening(torch.zeros(n_features), one, one)
