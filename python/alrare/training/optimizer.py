r"""The optimizers of the recipes: Adam, SOAP, and the one-cycle rate.

SOAP (Vyas et al. 2024, arXiv:2409.11321) runs Adam in the eigenbasis of Shampoo's preconditioner.
For a weight matrix with gradient *G* the bases :math:`Q_L, Q_R` diagonalize the running means of
:math:`GG^T` and :math:`G^TG`, and the moments are those of :math:`Q_L^T G Q_R`. The bases are
refreshed every few steps by one step of orthogonal iteration.

alrare has its own version to save time (docs/decisions/0006-own-optimizers.md): the moments are
kept in the eigenbasis, so that a step needs two projections instead of three; the running means
take every second gradient; a step is made by the native engine (src/nnp/native/training/soap_step),
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
        self._step_of = _open_engine(self._parameters).adam_step

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

    Few data leave the statistics of a layer with many equal eigenvalues, on which LAPACK's solver
    sometimes gives up in float32.
    """
    try:
        columns: Tensor = torch.linalg.eigh(matrix)[1]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        columns = torch.linalg.eigh(matrix.double())[1].to(matrix.dtype)
    return columns.flip(1).contiguous()


class _Native:
    """Steps of one parameter and matrix products, by the native engine."""

    def __init__(self) -> None:
        self._product, self._soap = _core.MatrixProduct(), _core.SoapStep()

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.from_numpy(self._product.multiply(left.numpy(), right.numpy()))

    def adam_step(
        self, parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, at: AdamStep
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

    def soap_step(self, matrix: "_SoapMatrix", gradient: Tensor, rate: float, share: float) -> None:
        goal = None if matrix.goal is None else matrix.goal.numpy()
        self._soap.take(
            matrix.weight.numpy(),
            gradient=gradient.numpy(),
            first=matrix.first.numpy(),
            second=matrix.second.numpy(),
            left=matrix.left.numpy(),
            right=matrix.right.numpy(),
            base_left=matrix.base_left.numpy(),
            base_right=matrix.base_right.numpy(),
            goal=goal,
            rate=rate,
            weight_decay=matrix.decay,
            share=share,
            betas=matrix.betas,
            step=matrix.steps,
        )


class _Torch:
    """The same in plain torch, for machines without vector kernels: reference of the native one."""

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    def adam_step(
        self, parameter: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, at: AdamStep
    ) -> None:
        update = adam_update(gradient, *moments, at.betas, at.number)
        parameter.mul_(1.0 - at.rate * at.weight_decay).add_(update, alpha=-at.rate)

    def soap_step(self, matrix: "_SoapMatrix", gradient: Tensor, rate: float, share: float) -> None:
        rotated = matrix.base_left.t() @ gradient @ matrix.base_right
        update = adam_update(rotated, matrix.first, matrix.second, matrix.betas, matrix.steps)
        back = matrix.base_left @ update @ matrix.base_right.t()
        matrix.weight.mul_(1.0 - rate * matrix.decay).add_(back, alpha=-rate)
        if matrix.goal is not None:
            matrix.weight.add_(matrix.goal, alpha=rate * matrix.decay)
        if share > 0.0:
            matrix.left.lerp_(gradient @ gradient.t(), share)
            matrix.right.lerp_(gradient.t() @ gradient, share)


def _open_engine(parameters: Sequence[Tensor]) -> _Native | _Torch:
    on_cpu = all(tensor.device.type == "cpu" for tensor in parameters)
    return _Native() if on_cpu and _core.instruction_set() != "portable" else _Torch()


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
        engine = _open_engine(parameters)
        self._matrices = [
            _SoapMatrix(tensor, goal, betas, weight_decay, refresh, statistics, engine)
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

    def __init__(
        self,
        weight: Tensor,
        goal: Tensor | None,
        betas: tuple[float, float],
        weight_decay: float,
        refresh: int,
        statistics: int,
        engine: _Native | _Torch,
    ) -> None:
        self.weight, self.goal = weight, goal
        self.betas, self.decay = betas, weight_decay
        self._refresh, self._every, self._engine = refresh, statistics, engine
        self.first, self.second = torch.zeros_like(weight), torch.zeros_like(weight)
        self.steps = -1
        self.left = self.right = self.base_left = self.base_right = weight.new_zeros(0, 0)

    def step(self, gradient: Tensor, rate: float) -> None:
        self.steps += 1
        if self.steps == 0:
            self.left = self._engine.multiply(gradient, gradient.t())
            self.right = self._engine.multiply(gradient.t(), gradient)
            self.base_left, self.base_right = eigenvectors(self.left), eigenvectors(self.right)
            return
        taken = self.steps % self._every == 0
        share = 1.0 - self.betas[1] ** self._every if taken else 0.0
        self._engine.soap_step(self, gradient, rate, share)
        if self.steps % self._refresh == 0:
            self._turn()

    def _turn(self) -> None:
        """Refresh the bases and transform the moments to the new ones."""
        multiply = self._engine.multiply
        left, order_left = self._orthogonal_step(self.left, self.base_left)
        right, order_right = self._orthogonal_step(self.right, self.base_right)
        self.second = self.second[order_left][:, order_right]
        turn_left = multiply(left.t(), self.base_left)
        turn_right = multiply(self.base_right.t(), right)
        self.first = multiply(multiply(turn_left, self.first), turn_right)
        self.base_left, self.base_right = left, right

    def _orthogonal_step(self, matrix: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Return the basis after an orthogonal iteration, and the order of the old vectors."""
        product = self._engine.multiply(matrix, basis)
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
