r"""The optimizers of the recipes: Adam, SOAP, and the one-cycle rate.

SOAP (Vyas et al. 2024, arXiv:2409.11321) runs Adam in the eigenbasis of Shampoo's preconditioner.
For a weight matrix with gradient *G* the bases :math:`Q_L, Q_R` diagonalize the running means of
:math:`GG^T` and :math:`G^TG`, and the moments are those of :math:`Q_L^T G Q_R`. The bases are
refreshed every few steps by one step of orthogonal iteration.

alrare has its own version to save time (docs/decisions/0006-own-optimizers.md): the moments are
kept in the eigenbasis, so that a step needs two projections instead of three; the running means
take every second gradient; the matrix products are those of the native engine, which is faster
than the BLAS of some machines (docs/performance.md); and unlike `torch.optim` it does not import
torch's compiler.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

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
        size = sum(tensor.numel() for tensor in self._parameters)
        self._first, self._second = torch.zeros(size), torch.zeros(size)
        self._steps = 0

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step; see `Optimizer`."""
        if not self._parameters:
            return
        self._steps += 1
        gradient = torch.cat([tensor.reshape(-1) for tensor in gradients])
        update = adam_update(gradient, self._first, self._second, self._betas, self._steps)
        begin = 0
        for tensor in self._parameters:
            part = update[begin : begin + tensor.numel()].view_as(tensor)
            tensor.mul_(1.0 - rate * self._decay).add_(part, alpha=-rate)
            begin += tensor.numel()


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

    Few data leave the statistics of a layer with many equal eigenvalues, on which LAPACK's solver
    sometimes gives up in float32.
    """
    try:
        columns: Tensor = torch.linalg.eigh(matrix)[1]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        columns = torch.linalg.eigh(matrix.double())[1].to(matrix.dtype)
    return columns.flip(1).contiguous()


def open_multiply() -> Callable[[Tensor, Tensor], Tensor]:
    """Return the native matrix product, or torch's where the machine has no vector kernels."""
    if _core.instruction_set() == "portable":
        return torch.matmul
    product = _core.MatrixProduct()
    return lambda left, right: torch.from_numpy(product.multiply(left.numpy(), right.numpy()))


class Soap:
    """SOAP for the matrices, Adam for the vectors; see the module.

    Parameters
    ----------
    parameters : sequence of tensors
        Of one or two dimensions; changed in place. The first step only sets up the bases.
    betas : (float, float)
        Decay of the two moments; the preconditioner decays with the second.
    weight_decay : float
        Of the matrices; the vectors do not decay.
    toward : sequence of tensors, optional
        What the matrices decay toward, in the order and of the shapes of the parameters (L2-SP, Li
        et al. 2018, arXiv:1802.01483); zero unless given.
    refresh : int
        Steps between two refreshes of the bases.
    statistics : int
        The preconditioner takes every `statistics`-th gradient.
    clip : float
        A gradient longer than `clip` times the usual length is shortened to that; see `Clip`.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        betas: tuple[float, float] = (0.95, 0.95),
        weight_decay: float = 1e-3,
        toward: Sequence[Tensor] | None = None,
        refresh: int = 10,
        statistics: int = 2,
        clip: float = 2.0,
    ) -> None:
        self._is_matrix = [tensor.ndim == 2 and min(tensor.shape) > 1 for tensor in parameters]
        goals = [None] * len(self._is_matrix) if toward is None else toward
        triples = list(zip(parameters, goals, self._is_matrix, strict=True))
        multiply = open_multiply()
        self._matrices = [
            _SoapMatrix(tensor, goal, betas, weight_decay, refresh, statistics, multiply)
            for tensor, goal, is_matrix in triples
            if is_matrix
        ]
        vectors = [tensor for tensor, _, is_matrix in triples if not is_matrix]
        self._adam = Adam(vectors, betas=betas)  # biases may be of any size
        self._clip = Clip(clip)

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
    (docs/performance.md). The usual length is the geometric mean over about twenty steps.

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
        length = math.sqrt(sum(float(torch.sum(tensor * tensor)) for tensor in gradients))
        if not 0.0 < length < math.inf:
            return list(gradients)
        longest = self._factor * (self._usual or length)
        shortened = min(length, longest)
        self._usual = (self._usual or shortened) ** 0.95 * shortened**0.05
        if shortened == length:
            return list(gradients)
        return [tensor * (shortened / length) for tensor in gradients]


class _SoapMatrix:
    def __init__(
        self,
        weight: Tensor,
        goal: Tensor | None,
        betas: tuple[float, float],
        weight_decay: float,
        refresh: int,
        statistics: int,
        multiply: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self._weight, self._multiply = weight, multiply
        self._betas, self._decay, self._goal = betas, weight_decay, goal
        self._refresh, self._every = refresh, statistics
        self._first, self._second = torch.zeros_like(weight), torch.zeros_like(weight)
        self._steps = -1
        self._left = self._right = self._base_left = self._base_right = weight.new_zeros(0, 0)

    def step(self, gradient: Tensor, rate: float) -> None:
        self._steps += 1
        multiply = self._multiply
        if self._steps == 0:
            self._left = multiply(gradient, gradient.t())
            self._right = multiply(gradient.t(), gradient)
            self._base_left = eigenvectors(self._left)
            self._base_right = eigenvectors(self._right)
            return
        rotated = multiply(multiply(self._base_left.t(), gradient), self._base_right)
        update = adam_update(rotated, self._first, self._second, self._betas, self._steps)
        back = multiply(multiply(self._base_left, update), self._base_right.t())
        self._weight.mul_(1.0 - rate * self._decay).add_(back, alpha=-rate)
        if self._goal is not None:
            self._weight.add_(self._goal, alpha=rate * self._decay)
        if self._steps % self._every == 0:
            share = 1.0 - self._betas[1] ** self._every
            self._left.lerp_(multiply(gradient, gradient.t()), share)
            self._right.lerp_(multiply(gradient.t(), gradient), share)
        if self._steps % self._refresh == 0:
            self._turn()

    def _turn(self) -> None:
        """Refresh the bases and transform the moments to the new ones."""
        multiply = self._multiply
        left, order_left = self._orthogonal_step(self._left, self._base_left)
        right, order_right = self._orthogonal_step(self._right, self._base_right)
        self._second = self._second[order_left][:, order_right]
        turn_left = multiply(left.t(), self._base_left)
        turn_right = multiply(self._base_right.t(), right)
        self._first = multiply(multiply(turn_left, self._first), turn_right)
        self._base_left, self._base_right = left, right

    def _orthogonal_step(self, matrix: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Return the basis after an orthogonal iteration, and the order of the old vectors."""
        product = self._multiply(matrix, basis)
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
