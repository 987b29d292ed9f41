r"""Energies, forces and the gradient of the loss of one member, written out by hand.

The loss is eq. 3 of Jung et al. 2024:

.. math::
    L = \frac1C \sum_c \frac{(E_c - E_c^{ref})^2}{\sqrt{N_c}}
      + \frac{\alpha}{C} \sum_c \frac{1}{N_c} \sum_i |F_{ci} - F_{ci}^{ref}|^2

For one network with layers :math:`z_l = W_l h_{l-1} + b_l`, :math:`h_l = \sigma(z_l)` the forces
need :math:`g = dE/dh_0`, and the loss has adjoints :math:`\bar E` of E and :math:`\bar g` of g. As
:math:`\bar g \cdot g` is the derivative of E along :math:`\bar g`, its weight gradient is that of a
tangent pass :math:`\dot h_0 = \bar g`; the adjoint of :math:`\dot z_l` in it is dE/dz_l, which the
force already needed. Cost: six matrix products a layer instead of the graph of a double backward.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .descriptors import AtomBatch, Batch

Layers = Sequence[tuple[Tensor, Tensor]]
"""(out, in) weight and (out,) bias of each layer of one network."""


@dataclass(frozen=True)
class Labels:
    """Reference of C configurations with N atoms in all.

    Attributes
    ----------
    energies : (C,) tensor, eV
        Without self energies.
    forces : (N, 3) tensor, eV/Å
    n_atoms : (C,) tensor
        Of the dtype of the energies.
    """

    energies: Tensor
    forces: Tensor
    n_atoms: Tensor


@dataclass
class _Pass:
    """What the forward and backward passes of one network leave for the gradient."""

    rows: Tensor
    inputs: list[Tensor]  # h_0 … h_{L-1}
    slopes: list[Tensor]  # σ'(z_l) of the hidden layers
    curvatures: list[Tensor]  # σ''(z_l)
    adjoints: list[Tensor]  # dE/dz_l of the hidden layers
    outer: list[Tensor]  # dE/dh_l of the hidden layers


class MemberGradient:
    """One member on one batch: predictions, loss, and the gradient of its weights.

    Parameters
    ----------
    batch : Batch
    networks : sequence of Layers
        By element.
    centers : sequence of (F,) tensors
        Subtracted from the AEV of each element before its network.
    """

    def __init__(self, batch: Batch, networks: Sequence[Layers], centers: Sequence[Tensor]) -> None:
        self._batch = batch
        self._networks = networks
        self.energies, self._passes = _energies(batch.atoms, networks, centers)

    def compute_forces(self) -> Tensor:
        """Return the forces (N, 3) in eV/Å."""
        grad_aev = torch.empty_like(self._batch.atoms.aev)
        for layers, passed in zip(self._networks, self._passes, strict=True):
            grad_aev[passed.rows] = _backward(passed, layers)
        return self._batch.forces(grad_aev)

    def loss_gradient(
        self, labels: Labels, force_weight: float
    ) -> tuple[float, list[list[tuple[Tensor, Tensor]]]]:
        """Loss (eq. 3) of the batch and its gradient.

        Parameters
        ----------
        labels : Labels
        force_weight : float
            The α of eq. 3, Å².

        Returns
        -------
        float
        list of list of (weight gradient, bias gradient)
            By element and layer.
        """
        forces = self.compute_forces()
        count, owner = len(labels.energies), self._batch.atoms.configuration
        atoms = labels.n_atoms
        energy_error = self.energies - labels.energies
        force_error = forces - labels.forces
        per_atom = (force_weight / count / atoms)[owner].unsqueeze(1)
        energy_scale = energy_error / atoms.sqrt() / count
        loss = (energy_scale * energy_error).sum() + (per_atom * force_error * force_error).sum()
        bar_energy = (2.0 * energy_scale)[owner].unsqueeze(1)
        bar_grad = self._batch.forces_backward(2.0 * per_atom * force_error)
        gradients = [
            _weight_gradient(
                passed, layers, bar_energy[passed.rows], bar_grad.index_select(0, passed.rows)
            )
            for layers, passed in zip(self._networks, self._passes, strict=True)
        ]
        return float(loss), gradients


def energies(atoms: AtomBatch, networks: Sequence[Layers], centers: Sequence[Tensor]) -> Tensor:
    """Energies (C,) in eV of one member, without self energies."""
    return _energies(atoms, networks, centers)[0]


def _energies(
    atoms: AtomBatch, networks: Sequence[Layers], centers: Sequence[Tensor]
) -> tuple[Tensor, list[_Pass]]:
    passes = []
    total = torch.zeros(atoms.count, dtype=atoms.aev.dtype)
    for k, (layers, center) in enumerate(zip(networks, centers, strict=True)):
        rows = torch.nonzero(atoms.species == k).squeeze(1)
        passed, energy = _forward(atoms.aev.index_select(0, rows) - center, layers, rows)
        passes.append(passed)
        total.index_add_(0, atoms.configuration[rows], energy)
    return total, passes


def _forward(x: Tensor, layers: Layers, rows: Tensor) -> tuple[_Pass, Tensor]:
    passed = _Pass(rows, [x], [], [], [], [])
    for weight, bias in layers[:-1]:
        z = torch.addmm(bias, passed.inputs[-1], weight.t())
        value = torch.special.erf(z * math.sqrt(0.5)).add_(1.0).mul_(0.5)  # Φ(z)
        density = torch.exp(z.square().mul_(-0.5)).mul_(1.0 / math.sqrt(2.0 * math.pi))  # φ(z)
        passed.inputs.append(z * value)
        passed.slopes.append(torch.addcmul(value, z, density))
        passed.curvatures.append(density.mul_(z.square_().neg_().add_(2.0)))
    weight, bias = layers[-1]
    return passed, torch.addmm(bias, passed.inputs[-1], weight.t()).squeeze(1)


def _backward(passed: _Pass, layers: Layers) -> Tensor:
    grad = layers[-1][0].expand(len(passed.rows), -1)
    passed.adjoints, passed.outer = [], []
    for k in range(len(layers) - 2, -1, -1):
        passed.outer.insert(0, grad)
        passed.adjoints.insert(0, grad * passed.slopes[k])
        grad = passed.adjoints[0] @ layers[k][0]
    return grad


def _weight_gradient(
    passed: _Pass, layers: Layers, bar_energy: Tensor, bar_grad: Tensor
) -> list[tuple[Tensor, Tensor]]:
    tangents = [bar_grad]  # ḣ_0 … ḣ_{L-1}
    bends = []  # σ''(z_l) ż_l dE/dh_l
    for k in range(len(layers) - 1):
        dot = tangents[-1] @ layers[k][0].t()
        bends.append((passed.curvatures[k] * dot).mul_(passed.outer[k]))
        tangents.append(dot.mul_(passed.slopes[k]))
    last = bar_energy.t() @ passed.inputs[-1] + tangents[-1].sum(0, keepdim=True)
    gradients = [(last, bar_energy.sum(0))]
    adjoint = bar_energy * layers[-1][0]
    for k in range(len(layers) - 2, -1, -1):
        adjoint = torch.addcmul(bends[k], adjoint, passed.slopes[k])
        weight = torch.addmm(adjoint.t() @ passed.inputs[k], passed.adjoints[k].t(), tangents[k])
        gradients.insert(0, (weight, adjoint.sum(0)))
        if k > 0:
            adjoint = adjoint @ layers[k][0]
    return gradients
