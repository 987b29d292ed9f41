r"""Energies, forces and the gradient of the loss of one member, written out by hand.

The loss of energies and forces is eq. 3 of Jung et al. 2024:

.. math::
    L = \frac1C \sum_c \frac{(E_c - E_c^{ref})^2}{\sqrt{N_c}}
      + \frac{\alpha}{C} \sum_c \frac{1}{N_c} \sum_i |F_{ci} - F_{ci}^{ref}|^2

For one network with layers :math:`z_l = W_l h_{l-1} + b_l`, :math:`h_l = \sigma(z_l)` the forces
need :math:`g = dE/dh_0`, and the loss has adjoints :math:`\bar E` of E and :math:`\bar g` of g. As
:math:`\bar g \cdot g` is the derivative of E along :math:`\bar g`, its weight gradient is that of a
tangent pass :math:`\dot h_0 = \bar g`; the adjoint of :math:`\dot z_l` in it is dE/dz_l, which the
force already needed. Cost: six matrix products per layer instead of the graph of a double backward.

Where labels of cells hold a stress :math:`\sigma_c`, a third term compares it:

.. math::
    L_\sigma = \frac\gamma C \sum_{c \in \text{cells with stress}} \frac{1}{\sqrt{N_c}}
      \frac19 \sum_{ab} (W_{c,ab} - V_c \sigma_{c,ab})^2

W is the derivative of the energy by the strain :math:`\varepsilon`, at which every edge vector
:math:`r_e` becomes :math:`(1 + \varepsilon) r_e`. The energy depends on the edges alone, so with
:math:`f_e = \partial E/\partial r_e`, which also gives the forces
(:math:`F_i = \sum_{e: i \to} f_e - \sum_{e: \to i} f_e`),

.. math::
    W_{ab} = \sum_e f_{e,a} r_{e,b}, \qquad
    \bar f_{e,a} = \bar F_{i,a} - \bar F_{j,a} + \sum_b \bar W_{ab} r_{e,b}

where bars are adjoints: the stress adds one term to :math:`\bar f_e`, and nothing else in the
derivation changes. W and :math:`V \sigma` are energies (eV) that grow with the cell, hence the
scale of the energies, :math:`1/\sqrt{N_c}`; :math:`\gamma` has no unit.

`alrare._core` does this on tiles of atoms (src/nnp/native/kernels/training_kernels.h). The version
in plain torch, in any dtype, is the reference for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .. import _core
from .descriptor_cache import AtomBatch, Batch
from .device import CPU
from .whitening import Whitening

Layers = Sequence[tuple[Tensor, Tensor]]
"""(out, in) weight and (out,) bias of each layer of one network."""
Gradients = list[list[tuple[Tensor, Tensor]]]
"""By element and layer: gradient of the weight and of the bias."""


@dataclass(frozen=True)
class Strain:
    """Stress of K of the configurations, as derivatives of their energies by the strain."""

    rows: Tensor
    """(K,) int64, ascending: the configurations that have a stress."""
    derivatives: Tensor
    """(K, 3, 3), eV: their stress times the volume."""


@dataclass(frozen=True)
class Labels:
    """Labels of C configurations with N atoms in all."""

    energies: Tensor
    """(C,), eV, without self energies."""
    forces: Tensor
    """(N, 3), eV/Å."""
    n_atoms: Tensor
    """(C,): atoms of each configuration, in the dtype of the energies."""
    strain: Strain | None = None
    """None if no configuration has a stress."""


@dataclass
class _Pass:
    """Intermediate values of one network's passes that its weight gradient needs."""

    rows: Tensor
    inputs: list[Tensor]  # h_0 … h_{L-1}
    slopes: list[Tensor]  # σ'(z_l) of the hidden layers
    curvatures: list[Tensor]  # σ''(z_l)
    adjoints: list[Tensor]  # dE/dz_l of the hidden layers
    outer: list[Tensor]  # dE/dh_l of the hidden layers


class GradientEngine(Protocol):
    """Predictions of one member on a batch, and the gradient of its loss.

    In all methods `networks` are Layers by element, and `whitening` is the map of each element's
    AEV before its network.
    """

    def energies(
        self, atoms: AtomBatch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Return the energies (C,) in eV, without self energies."""

    def predict(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> tuple[Tensor, Tensor]:
        """Return the energies (C,) in eV, without self energies, and the forces (N, 3) in eV/Å."""

    def strain_derivatives(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Return the derivatives of the energies by the strain, (C, 3, 3) in eV."""

    def loss_gradient(
        self,
        batch: Batch,
        networks: Sequence[Layers],
        whitening: Sequence[Whitening],
        labels: Labels,
        force_weight: float,
        stress_weight: float = 0.0,
    ) -> tuple[float, Gradients]:
        """Return the loss (eq. 3), and by element and layer its (weight, bias) gradient.

        `force_weight` is the α of eq. 3 in Å², `stress_weight` the γ of the term of the stress.
        """


def open_gradient_engine(device: torch.device = CPU) -> GradientEngine:
    """Return the native engine; torch's on a GPU, or where it has no vector kernels."""
    if device.type != "cpu" or _core.instruction_set() == "portable":
        return TorchGradient()
    return NativeGradient()


class NativeGradient:
    """Equation 3 in the native engine: float32, with energies and the loss summed in float64.

    Parameters
    ----------
    instruction_set : {"auto", "avx512", "avx2", "portable"}
    """

    def __init__(self, instruction_set: str = "auto") -> None:
        self._engine = _core.MemberGradient(instruction_set=instruction_set)

    def energies(
        self, atoms: AtomBatch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Energies; see `GradientEngine`."""
        return torch.from_numpy(
            self._engine.energies(
                atoms.species.numpy(),
                atoms.configuration.numpy(),
                atoms.aev.numpy(),
                atoms.count,
                *_arrays(networks, whitening),
            )
        )

    def predict(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> tuple[Tensor, Tensor]:
        """Energies and forces; see `GradientEngine`."""
        energies, forces = self._engine.predict(batch.native, *_arrays(networks, whitening))
        return torch.from_numpy(energies), torch.from_numpy(forces)

    def strain_derivatives(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Strain derivatives; see `GradientEngine`."""
        return torch.from_numpy(
            self._engine.strain_derivatives(batch.native, *_arrays(networks, whitening))
        )

    def loss_gradient(
        self,
        batch: Batch,
        networks: Sequence[Layers],
        whitening: Sequence[Whitening],
        labels: Labels,
        force_weight: float,
        stress_weight: float = 0.0,
    ) -> tuple[float, Gradients]:
        """Loss and gradient; see `GradientEngine`."""
        strain = labels.strain
        loss, gradients = self._engine.loss_gradient(
            batch.native,
            *_arrays(networks, whitening),
            labels.energies.numpy(),
            labels.forces.numpy(),
            force_weight,
            np.zeros(0, dtype=np.int64) if strain is None else strain.rows.numpy(),
            np.zeros((0, 3, 3)) if strain is None else strain.derivatives.numpy(),
            stress_weight,
        )
        from_numpy = torch.from_numpy
        return loss, [[(from_numpy(w), from_numpy(b)) for w, b in layers] for layers in gradients]


def _arrays(networks: Sequence[Layers], whitening: Sequence[Whitening]) -> tuple[Any, Any]:
    layers = [[(weight.numpy(), bias.numpy()) for weight, bias in network] for network in networks]
    return layers, [(white.center.numpy(), white.transform.numpy()) for white in whitening]


class TorchGradient:
    """The same in plain torch, in the batch's dtype, on its device: for GPUs, and as reference."""

    def energies(
        self, atoms: AtomBatch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Energies; see `GradientEngine`."""
        return _energies(atoms, networks, whitening)[0]

    def predict(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> tuple[Tensor, Tensor]:
        """Energies and forces; see `GradientEngine`."""
        energies, passes = _energies(batch.atoms, networks, whitening)
        return energies, batch.forces(_grad_aev(batch, networks, whitening, passes))

    def strain_derivatives(
        self, batch: Batch, networks: Sequence[Layers], whitening: Sequence[Whitening]
    ) -> Tensor:
        """Strain derivatives; see `GradientEngine`."""
        _, passes = _energies(batch.atoms, networks, whitening)
        return batch.strain_derivatives(_grad_aev(batch, networks, whitening, passes))

    def loss_gradient(
        self,
        batch: Batch,
        networks: Sequence[Layers],
        whitening: Sequence[Whitening],
        labels: Labels,
        force_weight: float,
        stress_weight: float = 0.0,
    ) -> tuple[float, Gradients]:
        """Loss and gradient; see `GradientEngine`."""
        energies, passes = _energies(batch.atoms, networks, whitening)
        grad_aev = _grad_aev(batch, networks, whitening, passes)
        forces = batch.forces(grad_aev)
        count, owner, atoms = len(labels.energies), batch.atoms.configuration, labels.n_atoms
        energy_error = energies - labels.energies
        force_error = forces - labels.forces
        per_atom = (force_weight / count / atoms)[owner].unsqueeze(1)
        energy_scale = energy_error / atoms.sqrt() / count
        loss = (energy_scale * energy_error).sum() + (per_atom * force_error * force_error).sum()
        bar_energy = (2.0 * energy_scale)[owner].unsqueeze(1)
        bar_strain = None
        if labels.strain is not None and stress_weight > 0.0:
            rows = labels.strain.rows
            strain_error = batch.strain_derivatives(grad_aev)[rows] - labels.strain.derivatives
            per_strain = (stress_weight / 9.0 / count / atoms.sqrt())[rows].view(-1, 1, 1)
            loss = loss + (per_strain * strain_error * strain_error).sum()
            bar_strain = forces.new_zeros(count, 3, 3)
            bar_strain[rows] = 2.0 * per_strain * strain_error
        bar_grad = batch.forces_backward(2.0 * per_atom * force_error, bar_strain)
        gradients = [
            _weight_gradient(
                passed,
                layers,
                bar_energy[passed.rows],
                bar_grad.index_select(0, passed.rows) @ white.transform,
            )
            for layers, white, passed in zip(networks, whitening, passes, strict=True)
        ]
        return float(loss), gradients


def _grad_aev(
    batch: Batch,
    networks: Sequence[Layers],
    whitening: Sequence[Whitening],
    passes: Sequence[_Pass],
) -> Tensor:
    grad_aev = torch.empty_like(batch.atoms.aev)
    for layers, white, passed in zip(networks, whitening, passes, strict=True):
        grad_aev[passed.rows] = _backward(passed, layers) @ white.transform.t()
    return grad_aev


def _energies(
    atoms: AtomBatch, networks: Sequence[Layers], whitening: Sequence[Whitening]
) -> tuple[Tensor, list[_Pass]]:
    passes = []
    total = atoms.aev.new_zeros(atoms.count)
    for k, (layers, white) in enumerate(zip(networks, whitening, strict=True)):
        rows = torch.nonzero(atoms.species == k).squeeze(1)
        inputs = (atoms.aev.index_select(0, rows) - white.center) @ white.transform
        passed, energy = _forward(inputs, layers, rows)
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
