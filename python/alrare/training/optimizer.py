r"""The optimizers of the recipes: Adam, SOAP, and the one-cycle rate.

SOAP (Vyas et al. 2024, arXiv:2409.11321) runs Adam in the eigenbasis of Shampoo's preconditioner.
For a weight matrix with gradient *G* the bases :math:`Q_L, Q_R` diagonalize the running means of
:math:`GG^T` and :math:`G^TG`, and the moments are those of :math:`Q_L^T G Q_R`. The bases are
refreshed every few steps by one step of orthogonal iteration.

alrare has its own version to save time (docs/decisions/0006-own-optimizers.md): the moments are
kept in the eigenbasis, so that a step needs two projections instead of three; the running means
take every second gradient; steps are made by the native engine (src/nnp/native/training/soap.h),
for which the version in plain torch is the reference; and unlike `torch.optim` it does not import
torch's compiler.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .. import _core

EPSILON = 1e-8


class Optimizer(Protocol):
    """An optimizer: changes parameters in place, given their gradients."""

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step.

        Parameters
        ----------
        gradients : sequence of tensors
            In the order and of the shapes of the parameters.
        rate : float
            Learning rate of this step.
        """


class Adam:
    """Adam (Kingma and Ba 2015), with decoupled weight decay (Loshchilov and Hutter 2019).

    Parameters
    ----------
    parameters : sequence of tensors
        Changed in place.
    betas : (float, float)
        Decay of the two moments.
    weight_decay : float
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        self._parameters = list(parameters)
        self._betas = betas
        self._decay = weight_decay
        self._moments = [(torch.zeros_like(t), torch.zeros_like(t)) for t in self._parameters]
        self._steps = 0
        self._step_of = _native_adam_step if _is_native(self._parameters) else _adam_step

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step; see `Optimizer`."""
        self._steps += 1
        at = AdamStep(rate, self._decay, self._betas, self._steps)
        for tensor, moments, gradient in zip(
            self._parameters, self._moments, gradients, strict=True
        ):
            self._step_of(tensor, moments, gradient, at)


@dataclass(frozen=True)
class AdamStep:
    """Numbers of one step."""

    rate: float
    weight_decay: float
    betas: tuple[float, float]
    number: int
    """From 1."""


def adam_update(
    gradient: Tensor, first: Tensor, second: Tensor, betas: tuple[float, float], step: int
) -> Tensor:
    """Update the two moments in place; return the bias-corrected direction.

    Parameters
    ----------
    gradient, first, second : tensors of one shape
    betas : (float, float)
    step : int
        From 1.
    """
    first.lerp_(gradient, 1.0 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1.0 - betas[1])
    scale = math.sqrt(1.0 - betas[1] ** step)
    root = second.sqrt().div_(scale).add_(EPSILON)
    return torch.div(first, root).div_(1.0 - betas[0] ** step)


def eigenvectors(matrix: Tensor) -> Tensor:
    """Return the eigenvectors of a symmetric matrix as columns, that of the largest value first.

    Few data leave the statistics of a layer with many equal eigenvalues. Their vectors are not
    unique, so all devices take those of the CPU; and LAPACK's solver sometimes gives up in float32.
    """
    here = matrix.cpu()
    try:
        columns: Tensor = torch.linalg.eigh(here)[1]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        columns = torch.linalg.eigh(here.double())[1].to(matrix.dtype)
    return columns.flip(1).contiguous().to(matrix.device)


def _is_native(parameters: Sequence[Tensor]) -> bool:
    """Whether the native engine takes the steps: of float32, on a CPU with its vector kernels."""
    fit = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in parameters)
    return fit and _core.instruction_set() != "portable"


def _native_adam_step(
    parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, at: AdamStep
) -> None:
    _core.adam_step(
        parameter.numpy(),
        gradient=gradient.numpy(),
        first=moments[0].numpy(),
        second=moments[1].numpy(),
        rate=at.rate,
        weight_decay=at.weight_decay,
        betas=at.betas,
        step=at.number,
    )


def _adam_step(
    parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, at: AdamStep
) -> None:
    update = adam_update(gradient, *moments, at.betas, at.number)
    parameter.mul_(1.0 - at.rate * at.weight_decay).add_(update, alpha=-at.rate)


@dataclass(frozen=True)
class SoapSettings:
    """Settings of SOAP."""

    betas: tuple[float, float] = (0.95, 0.95)
    """Decay of the two moments; the running means decay with the second."""
    weight_decay: float = 1e-3
    """Of the matrices; the vectors do not decay."""
    refresh: int = 10
    """Steps between two refreshes of the bases."""
    statistics: int = 2
    """The running means take every `statistics`-th gradient."""
    clip: float = 2.0
    """A gradient longer than this many times the usual length is shortened to that; see `Clip`."""


def open_soap(
    parameters: Sequence[Tensor],
    settings: SoapSettings,
    toward: Sequence[Tensor] | None = None,
) -> Optimizer:
    """Return SOAP by the native engine; in plain torch on a GPU, or where that has no kernels.

    Parameters
    ----------
    parameters : sequence of tensors
        Of one or two dimensions; changed in place. Matrices of more than one row and column are
        changed by SOAP, the others by Adam. The first step only sets up the bases of the matrices.
    settings : SoapSettings
    toward : sequence of tensors, optional
        What the matrices decay toward, in the order and of the shapes of the parameters (L2-SP, Li
        et al. 2018, arXiv:1802.01483); zero unless given.
    """
    if _is_native(parameters):
        return NativeSoap(parameters, settings, toward)
    return Soap(parameters, settings, toward)


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and min(tensor.shape) > 1


class NativeSoap:
    """SOAP by the native engine; see `open_soap`."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        settings: SoapSettings,
        toward: Sequence[Tensor] | None = None,
    ) -> None:
        self._engine = _core.Soap(
            [tensor.numpy() for tensor in parameters],
            goals=[tensor.numpy() for tensor in toward or ()],
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            refresh=settings.refresh,
            statistics=settings.statistics,
            clip=settings.clip,
        )
        self._has_bases = False

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step; see `Optimizer`."""
        if not self._has_bases:
            for number, gradient in enumerate(gradients):
                if _is_matrix(gradient):
                    left, right = (eigenvectors(product) for product in _products(gradient))
                    self._engine.begin(number, left.t().numpy(), right.t().numpy())
            self._has_bases = True
        self._engine.step([gradient.numpy() for gradient in gradients], rate)


def _products(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return G G^T and G^T G."""
    return gradient @ gradient.t(), gradient.t() @ gradient


class Soap:
    """SOAP in plain torch, in any dtype and on any device: the reference; see `open_soap`."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        settings: SoapSettings,
        toward: Sequence[Tensor] | None = None,
    ) -> None:
        self._is_matrix = [_is_matrix(tensor) for tensor in parameters]
        goals = [None] * len(self._is_matrix) if toward is None else toward
        triples = list(zip(parameters, goals, self._is_matrix, strict=True))
        self._matrices = [
            _SoapMatrix(tensor, goal, settings) for tensor, goal, is_matrix in triples if is_matrix
        ]
        vectors = [tensor for tensor, _, is_matrix in triples if not is_matrix]
        self._adam = Adam(vectors, betas=settings.betas)  # biases may be of any size
        self._clip = Clip(settings.clip)

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step; see `Optimizer`."""
        gradients = self._clip(gradients)
        pairs = list(zip(gradients, self._is_matrix, strict=True))
        for matrix, gradient in zip(self._matrices, (g for g, is_m in pairs if is_m), strict=True):
            matrix.step(gradient, rate)
        self._adam.step([g for g, is_matrix in pairs if not is_matrix], rate)


class Clip:
    """Shorten gradients that are far longer than usual.

    A few configurations from a pull that blew up have errors a thousand times larger than the rest.
    Without clipping they dominate the second moments, and the others are hardly learned
    (benchmarks/records/training.md). The usual length is the geometric mean over about twenty
    steps.

    Parameters
    ----------
    factor : float
        Largest length allowed, in units of the usual length.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._usual = 0.0

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of one step, unchanged or all multiplied by the same factor."""
        flat = [tensor.reshape(-1).cpu().numpy() for tensor in gradients]
        length = math.sqrt(sum(float(np.dot(values, values)) for values in flat))
        if not 0.0 < length < math.inf:
            return list(gradients)
        longest = self._factor * (self._usual or length)
        shortened = min(length, longest)
        self._usual = (self._usual or shortened) ** 0.95 * shortened**0.05
        if shortened == length:
            return list(gradients)
        return [tensor * (shortened / length) for tensor in gradients]


class _SoapMatrix:
    """A weight matrix, its moments in the eigenbases, the running means and the bases."""

    def __init__(self, weight: Tensor, goal: Tensor | None, settings: SoapSettings) -> None:
        self._weight, self._goal, self._settings = weight, goal, settings
        self._first, self._second = torch.zeros_like(weight), torch.zeros_like(weight)
        self._steps = -1
        self._left = self._right = self._base_left = self._base_right = weight.new_zeros(0, 0)

    def step(self, gradient: Tensor, rate: float) -> None:
        settings = self._settings
        self._steps += 1
        if self._steps == 0:
            self._left, self._right = _products(gradient)
            self._base_left, self._base_right = eigenvectors(self._left), eigenvectors(self._right)
            return
        rotated = self._base_left.t() @ gradient @ self._base_right
        update = adam_update(rotated, self._first, self._second, settings.betas, self._steps)
        back = self._base_left @ update @ self._base_right.t()
        self._weight.mul_(1.0 - rate * settings.weight_decay).add_(back, alpha=-rate)
        if self._goal is not None:
            self._weight.add_(self._goal, alpha=rate * settings.weight_decay)
        if self._steps % settings.statistics == 0:
            share = 1.0 - settings.betas[1] ** settings.statistics
            for mean, product in zip((self._left, self._right), _products(gradient), strict=True):
                mean.lerp_(product, share)
        if self._steps % settings.refresh == 0:
            self._refresh()

    def _refresh(self) -> None:
        """Refresh the bases and transform the moments to the new ones."""
        left, order_left = _orthogonal_step(self._left, self._base_left)
        right, order_right = _orthogonal_step(self._right, self._base_right)
        self._second = self._second[order_left][:, order_right]
        self._first = left.t() @ self._base_left @ self._first @ self._base_right.t() @ right
        self._base_left, self._base_right = left, right


def _orthogonal_step(matrix: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Return the basis after an orthogonal iteration, and the order of the old vectors."""
    product = matrix @ basis
    order = torch.argsort((basis * product).sum(0), descending=True, stable=True)
    return torch.linalg.qr(product[:, order])[0].contiguous(), order


def one_cycle(step: int, steps: int, peak: float, rise: float = 0.2) -> float:
    """Return the rate of a step: it rises from peak/25 to the peak, then falls to almost 0.

    Parameters
    ----------
    step : int
        From 0 to ``steps - 1``.
    steps : int
    peak : float
    rise : float
        Share of the steps during which the rate rises.
    """
    start, end = peak / 25.0, peak / 25.0e4
    top = max(rise * steps - 1.0, 1e-9)
    if step <= top:
        return start + (peak - start) * 0.5 * (1.0 - math.cos(math.pi * step / top))
    share = (step - top) / max(steps - 1.0 - top, 1e-9)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


class Plateau:
    """A learning rate that falls where the loss stays, as torch's ReduceLROnPlateau.

    Parameters
    ----------
    rate : float
        The first rate.
    lowest : float
        It never falls below this.
    factor : float
        What it is multiplied by.
    patience : int
        Number of epochs without a new lowest loss that are waited for.
    """

    def __init__(
        self, rate: float, lowest: float, *, factor: float = 0.8, patience: int = 5
    ) -> None:
        self.rate = rate
        self._lowest_rate, self._factor, self._patience = lowest, factor, patience
        self._best, self._waited = math.inf, 0

    def consider(self, loss: float) -> None:
        """Take note of the loss after an epoch."""
        if loss < self._best * (1.0 - 1e-4):
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self._patience:
            self.rate, self._waited = max(self.rate * self._factor, self._lowest_rate), 0
