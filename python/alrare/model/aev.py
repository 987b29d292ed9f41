r"""Atomic environment vectors (AEV) of ANI-2x and their analytic derivatives.

Every term and its derivative is written once, as a plain torch function that ``torch.jit.script``
compiles for the exported model (`alrare.model.torchscript`). Descriptors for training and
evaluations in Python use the native engine, which has its own version.

An edge *e* points from a center *i* to a neighbor *j*, :math:`d = |r_j - r_i| < r_c`; a triple is
a pair of edges of one center, both shorter than the angular cutoff. With the cosine cutoff
:math:`f_c(d) = \tfrac12 + \tfrac12\cos(\pi d/r_c) = \cos^2(\pi d/2r_c)` the features of center *i*
are

.. math::
    R_{s,k} &= \sum_{j \in s} \tfrac14 e^{-\eta_R (d_j - r_k)^2} f_c(d_j) \\
    A_{st,kz} &= \sum_{j \in s, l \in t} 2\left(\tfrac{1 + \cos(\theta - \theta_z)}{2}\right)^\zeta
        e^{-\eta_A ((d_j + d_l)/2 - a_k)^2} f_c(d_j) f_c(d_l),
        \quad \theta = \arccos(0.95 \cos\theta_{jil})

in the order of ``torchani.AEVComputer.like_2x``: radial (species, k), then angular
(species pair in upper-triangular order, k, z). Source: Smith, Isayev, Roitberg, Chem. Sci. 2017, 8,
3192; Devereux et al., J. Chem. Theory Comput. 2020, 16, 4192. Units: Å.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

_FIRST = 0.8
"""Å; the center of the first Gaussian."""


def _spaced(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(start + (stop - start) * k / count for k in range(count))


@dataclass(frozen=True)
class AEVConstants:
    """Constants of the descriptor; the defaults are ANI-2x. Lengths in Å, angles in radians."""

    radial_cutoff: float = 5.1
    angular_cutoff: float = 3.5
    radial_eta: float = 19.7
    radial_shifts: tuple[float, ...] = _spaced(0.8, 5.1, 16)
    angular_eta: float = 12.5
    zeta: float = 14.1
    angular_shifts: tuple[float, ...] = _spaced(0.8, 3.5, 8)
    angle_sections: tuple[float, ...] = _spaced(math.pi / 8, math.pi + math.pi / 8, 4)

    @classmethod
    def of_resolution(
        cls,
        *,
        radial_cutoff: float,
        angular_cutoff: float,
        radial_shifts: int,
        angular_shifts: int,
        angle_sections: int,
    ) -> "AEVConstants":
        """Return constants for other cutoffs and numbers of terms.

        Terms are spaced as in ANI-2x, and their widths are in the same proportion to the spacing.

        Parameters
        ----------
        radial_cutoff, angular_cutoff : float, Å
            Above 0.8.
        radial_shifts, angular_shifts, angle_sections : int
        """
        known = cls()
        radial = (radial_cutoff - _FIRST) / radial_shifts
        angular = (angular_cutoff - _FIRST) / angular_shifts
        finer_radial = (known.radial_cutoff - _FIRST) / len(known.radial_shifts) / radial
        finer_angular = (known.angular_cutoff - _FIRST) / len(known.angular_shifts) / angular
        first_angle = math.pi / (2 * angle_sections)
        return cls(
            radial_cutoff=radial_cutoff,
            angular_cutoff=angular_cutoff,
            radial_eta=known.radial_eta * finer_radial**2,
            radial_shifts=_spaced(_FIRST, radial_cutoff, radial_shifts),
            angular_eta=known.angular_eta * finer_angular**2,
            zeta=known.zeta * (angle_sections / len(known.angle_sections)) ** 2,
            angular_shifts=_spaced(_FIRST, angular_cutoff, angular_shifts),
            angle_sections=_spaced(first_angle, math.pi + first_angle, angle_sections),
        )

    @property
    def radial_length(self) -> int:
        """Radial features of one neighbor species."""
        return len(self.radial_shifts)

    @property
    def angular_length(self) -> int:
        """Angular features of one pair of neighbor species."""
        return len(self.angular_shifts) * len(self.angle_sections)

    def features(self, n_elements: int) -> int:
        """Length of the AEV for a model of `n_elements` elements."""
        pairs = n_elements * (n_elements + 1) // 2
        return n_elements * self.radial_length + pairs * self.angular_length

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as in the model's metadata."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "AEVConstants":
        """Read the form that `to_dict` writes."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items()
        }
        return cls(**values)


def pair_index(n_elements: int) -> Tensor:
    """Return the (S, S) table of species pairs → block of angular features (upper-triangular)."""
    table = torch.zeros(n_elements, n_elements, dtype=torch.int64)
    first, second = torch.triu_indices(n_elements, n_elements).unbind(0)
    table[first, second] = torch.arange(first.shape[0])
    table[second, first] = torch.arange(first.shape[0])
    return table


def cutoff_terms(distance: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Cosine cutoff and its derivative with respect to the distance.

    The squared form keeps full relative precision in float32 where the function vanishes.

    Parameters
    ----------
    distance : (E,) tensor, Å
    cutoff : float, Å

    Returns
    -------
    (E,) tensor, (E,) tensor in 1/Å
    """
    phase = distance * (0.5 * math.pi / cutoff)
    cosine = torch.cos(phase)
    return cosine * cosine, torch.sin(phase) * cosine * (-math.pi / cutoff)


def radial_terms(
    distance: Tensor, eta: float, shifts: Tensor, cutoff: float
) -> tuple[Tensor, Tensor]:
    """Radial terms of each edge and their derivatives with respect to its length.

    Parameters
    ----------
    distance : (E,) tensor, Å
    eta : float, 1/Å²
    shifts : (K,) tensor, Å
    cutoff : float, Å

    Returns
    -------
    (E, K) tensor, (E, K) tensor in 1/Å
    """
    smooth, smooth_slope = cutoff_terms(distance, cutoff)
    offset = distance.unsqueeze(1) - shifts
    gauss = 0.25 * torch.exp(offset * offset * -eta)
    slope = gauss * (smooth_slope.unsqueeze(1) - offset * (smooth * (2.0 * eta)).unsqueeze(1))
    return gauss * smooth.unsqueeze(1), slope


def distance_terms(mean: Tensor, eta: float, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians of a triple's mean distance; the derivative is with respect to *either* distance.

    Parameters
    ----------
    mean : (T,) tensor, Å
    eta : float, 1/Å²
    shifts : (K,) tensor, Å

    Returns
    -------
    (T, K) tensor, (T, K) tensor in 1/Å
    """
    offset = mean.unsqueeze(1) - shifts
    gauss = torch.exp(offset * offset * -eta)
    return gauss, offset * gauss * -eta


def angle_terms(
    cosine: Tensor, zeta: float, section_cos: Tensor, section_sin: Tensor
) -> tuple[Tensor, Tensor]:
    """Angle terms of each triple and their derivatives with respect to the cosine of its angle.

    Parameters
    ----------
    cosine : (T,) tensor
        Cosine of the angle at the center.
    zeta : float
    section_cos, section_sin : (Z,) tensors
        Cosine and sine of the angle sections.

    Returns
    -------
    (T, Z) tensor, (T, Z) tensor
    """
    scale = 0.95  # part of ANI's definition: keeps arccos away from its singular ends
    scaled = (cosine * scale).unsqueeze(1)
    sine = torch.sqrt(1.0 - scaled * scaled)
    base = 0.5 + 0.5 * (scaled * section_cos + sine * section_sin)
    value = 2.0 * torch.pow(base, zeta)
    slope = value / base * (section_cos - scaled / sine * section_sin) * (0.5 * scale * zeta)
    return value, slope


class Descriptor(torch.nn.Module):
    """The AEV of a list of edges and triples, and its explicit backward pass.

    Parameters
    ----------
    constants : AEVConstants
    n_elements : int
        Number of elements the model knows.
    dtype : torch.dtype
        Of the terms: float32 in production, float64 as reference.
    """

    def __init__(
        self, constants: AEVConstants, n_elements: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.radial_cutoff = constants.radial_cutoff
        self.angular_cutoff = constants.angular_cutoff
        self.radial_eta = constants.radial_eta
        self.angular_eta = constants.angular_eta
        self.zeta = constants.zeta
        self.n_elements = n_elements
        self.n_pairs = n_elements * (n_elements + 1) // 2
        self.radial_length = constants.radial_length
        self.angular_length = constants.angular_length
        sections = torch.tensor(constants.angle_sections, dtype=torch.float64)
        self.radial_shifts: Tensor
        self.angular_shifts: Tensor
        self.section_cos: Tensor
        self.section_sin: Tensor
        self.pair_index: Tensor
        self.register_buffer("radial_shifts", torch.tensor(constants.radial_shifts, dtype=dtype))
        self.register_buffer("angular_shifts", torch.tensor(constants.angular_shifts, dtype=dtype))
        self.register_buffer("section_cos", torch.cos(sections).to(dtype))
        self.register_buffer("section_sin", torch.sin(sections).to(dtype))
        self.register_buffer("pair_index", pair_index(n_elements))

    def edge_terms(self, vec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return per edge: (unit vector, distance, angular cutoff, its slope) (E, 6), R, dR/dd."""
        distance = torch.linalg.vector_norm(vec, dim=1)
        radial, radial_slope = radial_terms(
            distance, self.radial_eta, self.radial_shifts, self.radial_cutoff
        )
        smooth, smooth_slope = cutoff_terms(distance, self.angular_cutoff)
        scalars = torch.stack((distance, smooth, smooth_slope), dim=1)
        return torch.cat((vec / distance.unsqueeze(1), scalars), dim=1), radial, radial_slope

    def triple_terms(
        self, edge: Tensor, triples: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return (edge a, edge b, cosine, gauss, its slope, angle, its slope) of each triple."""
        edge_a = edge.index_select(0, triples[:, 0])
        edge_b = edge.index_select(0, triples[:, 1])
        cosine = (edge_a[:, :3] * edge_b[:, :3]).sum(1)
        mean = 0.5 * (edge_a[:, 3] + edge_b[:, 3])
        gauss, gauss_slope = distance_terms(mean, self.angular_eta, self.angular_shifts)
        angle, angle_slope = angle_terms(cosine, self.zeta, self.section_cos, self.section_sin)
        return edge_a, edge_b, cosine, gauss, gauss_slope, angle, angle_slope

    def rows(
        self, edge_i: Tensor, edge_j: Tensor, species: Tensor, triples: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the AEV block of each edge (center, species) and each triple (center, pair)."""
        center = edge_i.index_select(0, triples[:, 0])
        neighbor_species = species.index_select(0, edge_j)
        species_a = neighbor_species.index_select(0, triples[:, 0])
        species_b = neighbor_species.index_select(0, triples[:, 1])
        pair = self.pair_index.view(-1).index_select(0, species_a * self.n_elements + species_b)
        return edge_i * self.n_elements + neighbor_species, center * self.n_pairs + pair

    def forward(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        """Descriptors of the local centers, and what `backward` needs.

        Parameters
        ----------
        vec : (E, 3) tensor, Å
            Position of the neighbor minus that of the center.
        edge_i, edge_j : (E,) int64 tensors
            Center (< n_local) and neighbor of each edge.
        species : (N,) int64 tensor
            Element index of local and ghost atoms.
        n_local : int
        triples : (T, 2) int64 tensor
            Pairs of edges of the same center, both shorter than the angular cutoff, each pair once.

        Returns
        -------
        (n_local, F) tensor
            The AEVs.
        list of tensors
            Terms kept for `backward`.
        """
        edge, radial, radial_slope = self.edge_terms(vec)
        edge_a, edge_b, cosine, gauss, gauss_slope, angle, angle_slope = self.triple_terms(
            edge, triples
        )
        radial_row, angular_row = self.rows(edge_i, edge_j, species, triples)
        smooth = edge_a[:, 4] * edge_b[:, 4]
        angular = (gauss * smooth.unsqueeze(1)).unsqueeze(2) * angle.unsqueeze(1)

        out_radial = radial.new_zeros(n_local * self.n_elements, self.radial_length)
        out_radial.index_add_(0, radial_row, radial)
        out_angular = radial.new_zeros(n_local * self.n_pairs, self.angular_length)
        out_angular.index_add_(0, angular_row, angular.view(-1, self.angular_length))
        aev = torch.cat(
            (
                out_radial.view(n_local, self.n_elements * self.radial_length),
                out_angular.view(n_local, self.n_pairs * self.angular_length),
            ),
            dim=1,
        )
        saved = [edge, radial_slope, radial_row, angular_row]
        saved += [edge_a, edge_b, cosine, gauss, gauss_slope, angle, angle_slope]
        return aev, saved

    def backward(self, saved: list[Tensor], triples: Tensor, grad_aev: Tensor) -> Tensor:
        """Gradient with respect to the edge vectors.

        Parameters
        ----------
        saved : list of tensors
            From `forward`.
        triples : (T, 2) int64 tensor
        grad_aev : (n_local, F) tensor
            dE/dAEV.

        Returns
        -------
        (E, 3) tensor
            dE/dvec, per Å.
        """
        edge, radial_slope, radial_row, angular_row = saved[0], saved[1], saved[2], saved[3]
        edge_a, edge_b, cosine, gauss = saved[4], saved[5], saved[6], saved[7]
        gauss_slope, angle, angle_slope = saved[8], saved[9], saved[10]
        n_radial = self.n_elements * self.radial_length
        g_radial = grad_aev[:, :n_radial].reshape(-1, self.radial_length)
        g_angular = grad_aev[:, n_radial:].reshape(-1, self.angular_length)
        grad_distance = (g_radial.index_select(0, radial_row) * radial_slope).sum(1)
        grad = edge[:, :3] * grad_distance.unsqueeze(1)

        g = g_angular.index_select(0, angular_row).view(-1, gauss.shape[1], angle.shape[1])
        by_gauss = (g * angle.unsqueeze(1)).sum(2)
        plain = (by_gauss * gauss).sum(1)
        smooth_a, smooth_b = edge_a[:, 4], edge_b[:, 4]
        smooth = smooth_a * smooth_b
        along = (by_gauss * gauss_slope).sum(1) * smooth
        bend = ((g * gauss.unsqueeze(2)).sum(1) * angle_slope).sum(1) * smooth
        bend_a, bend_b = bend / edge_a[:, 3], bend / edge_b[:, 3]
        pull_a = along + plain * edge_a[:, 5] * smooth_b - bend_a * cosine
        pull_b = along + plain * edge_b[:, 5] * smooth_a - bend_b * cosine
        unit_a, unit_b = edge_a[:, :3], edge_b[:, :3]
        grad_a = unit_a * pull_a.unsqueeze(1) + unit_b * bend_a.unsqueeze(1)
        grad_b = unit_b * pull_b.unsqueeze(1) + unit_a * bend_b.unsqueeze(1)
        both = torch.cat((grad_a, grad_b), dim=0)
        index = torch.cat((triples[:, 0], triples[:, 1]), dim=0).unsqueeze(1).expand(-1, 3)
        return grad.scatter_add_(0, index, both)
