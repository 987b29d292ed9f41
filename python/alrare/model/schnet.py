r"""SchNet: continuous-filter convolutions instead of a fixed descriptor.

K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller, J. Chem. Phys. 148,
241722 (2018). Each atom begins with a vector x of its element. In every interaction the neighbors'
vectors are summed, each multiplied component by component by a filter of the distance,

.. math::
    x_i \leftarrow x_i + f\Big(\sum_{j} (A x_j) \circ W(e(r_{ij}))\, c(r_{ij})\Big)

where e are Gaussians of the distance, W and f networks of two layers, A a matrix and c the cosine
cutoff; then a network of two layers gives the atom's energy. After T interactions this depends on
atoms as far away as T cutoffs.

All members are evaluated together: every tensor has a leading axis M. Its names are those of the
file:

========================================= ==================== =================================
``embedding``                             (M, S, F)            vector of each element
``interactions.{t}.inner.weight``         (M, F, F)            A
``interactions.{t}.filter.{l}.weight``    (M, F, G), (M, F, F) W, l = 0 and 1; with ``.bias`` (M, F)
``interactions.{t}.outer.{l}.weight``     (M, F, F)            f, l = 0 and 1; with ``.bias`` (M, F)
``output.0.weight``                       (M, F/2, F)          with ``.bias`` (M, F/2)
``output.1.weight``                       (M, 1, F/2)
``output.1.bias``                         (M, S)               a constant for each element, eV
========================================= ==================== =================================

M, S, F and G are the numbers of members, elements, features and Gaussians.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .ensemble import Ensemble, Metadata

FORMAT_VERSION = 2
"""Of the contract of `ensemble.pt` that this family needs: edges of ghosts, autograd."""


@dataclass(frozen=True)
class SchNetShape:
    """What is chosen of a SchNet; the defaults are Table 2 of Jung et al. 2024."""

    features: int = 128
    """F, the length of an atom's vector."""
    gaussians: int = 25
    """G, the number of Gaussians of the distance, centered from 0 to the cutoff."""
    interactions: int = 3
    """T, how often the vectors are changed by those of the neighbors."""
    cutoff: float = 5.0
    """Å."""

    def __post_init__(self) -> None:
        if self.features < 2 or self.gaussians < 2 or self.interactions < 1 or self.cutoff <= 0.0:
            raise ValueError(
                "schnet: expected at least 2 features, 2 gaussians and 1 interaction, and a cutoff"
                f" above 0, got {asdict(self)}"
            )

    @property
    def receptive_field(self) -> float:
        """How far away an atom can be that an atom's energy depends on, Å."""
        return self.interactions * self.cutoff


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(1 + exp(x)) − ln 2, the activation of SchNet: 0 at 0."""
    return torch.nn.functional.softplus(x) - math.log(2.0)


class _Dense(torch.nn.Module):
    """One linear layer of every member: (M, n, in) to (M, n, out)."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weights[f"{name}.weight"].contiguous())
        self.bias = torch.nn.Parameter(weights[f"{name}.bias"].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))


class _Product(torch.nn.Module):
    """A matrix of every member, without bias."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weights[f"{name}.weight"].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight.transpose(1, 2))


class _Interaction(torch.nn.Module):
    """One continuous-filter convolution and the network behind it."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.inner = _Product(weights, f"{name}.inner")
        self.filter = torch.nn.ModuleList(
            [_Dense(weights, f"{name}.filter.0"), _Dense(weights, f"{name}.filter.1")]
        )
        self.outer = torch.nn.ModuleList(
            [_Dense(weights, f"{name}.outer.0"), _Dense(weights, f"{name}.outer.1")]
        )

    def filters(self, gaussians: Tensor, smooth: Tensor) -> Tensor:
        """Return filters (M, E, F) of distances, from Gaussians (M, E, G) and cutoffs (E, 1)."""
        filters: Tensor = self.filter[1](shifted_softplus(self.filter[0](gaussians)))
        return filters * smooth

    def forward(self, x: Tensor, filters: Tensor, edge_i: Tensor, edge_j: Tensor) -> Tensor:
        messages = self.inner(x).index_select(1, edge_j) * filters
        gathered = torch.zeros_like(x).index_add(1, edge_i, messages)
        change: Tensor = self.outer[1](shifted_softplus(self.outer[0](gathered)))
        return x + change


class _Last(torch.nn.Module):
    """The last layer: one number, and a constant for each element; (M, n, in) to (M, n), eV."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weights[f"{name}.weight"].contiguous())
        self.bias = torch.nn.Parameter(weights[f"{name}.bias"].contiguous())

    def forward(self, x: Tensor, species: Tensor) -> Tensor:
        energies = torch.bmm(x, self.weight.transpose(1, 2)).squeeze(2)
        return energies.double() + self.bias.index_select(1, species).double()


class StackedSchNet(torch.nn.Module):
    """The contract's `forward` (version 2, docs/model_format.md), for M members.

    Parameters
    ----------
    shape : SchNetShape
    weights : mapping from name to tensor
        As in the file.
    self_energies : (S,) float64 tensor, eV
        Added to the energies; not trained.
    """

    def __init__(
        self, shape: SchNetShape, weights: Mapping[str, Tensor], self_energies: Tensor
    ) -> None:
        super().__init__()
        self.gaussians, self.cutoff = shape.gaussians, float(shape.cutoff)
        self.embedding = torch.nn.Parameter(weights["embedding"].contiguous())
        self.interactions = torch.nn.ModuleList(
            [_Interaction(weights, f"interactions.{t}") for t in range(shape.interactions)]
        )
        self.output = torch.nn.ModuleList([_Dense(weights, "output.0"), _Last(weights, "output.1")])
        self.self_energies: Tensor
        self.register_buffer("self_energies", self_energies)

    def forward(
        self,
        vec: Tensor,
        edge_i: Tensor,
        edge_j: Tensor,
        species: Tensor,
        n_local: int,
        triples: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Evaluate the local centers.

        Parameters
        ----------
        vec : (E, 3) tensor, Å
            Differentiable: forces are its gradient.
        edge_i, edge_j : (E,) int64 tensors
            Of all atoms that the energies depend on, ghosts too.
        species : (N,) int64 tensor
        n_local : int
        triples : (0, 2) int64 tensor
            Not used.
        weights : (M,) float64 tensor
            Not used.

        Returns
        -------
        (M, n_local) float64 tensor, eV
            Energy of each member and center, self energies included.
        """
        return self._energies(self._filters(vec), edge_i, edge_j, species, n_local)

    def of_pairs(self, vec: Tensor, first: Tensor, second: Tensor, species: Tensor) -> Tensor:
        """Energies (M, N) of all atoms from pairs: each stands for both of its edges.

        The filters depend on the distance alone, so they are computed once for both.

        Parameters
        ----------
        vec : (P, 3) tensor, Å
        first, second : (P,) int64 tensors
        species : (N,) int64 tensor
        """
        filters = [torch.cat((one, one), dim=1) for one in self._filters(vec)]
        centers, neighbors = torch.cat((first, second)), torch.cat((second, first))
        return self._energies(filters, centers, neighbors, species, species.shape[0])

    def _filters(self, vec: Tensor) -> list[Tensor]:
        """Return the filters of each interaction, (M, E, F)."""
        distance = (vec * vec).sum(1, keepdim=True).sqrt().to(self.embedding.dtype)
        spacing = self.cutoff / (self.gaussians - 1)
        steps = torch.arange(self.gaussians, dtype=distance.dtype, device=distance.device)
        gaussians = torch.exp(-0.5 * (distance / spacing - steps) ** 2)
        stacked = gaussians.unsqueeze(0).expand(self.embedding.shape[0], -1, -1)
        smooth = 0.5 + 0.5 * torch.cos(distance.clamp(max=self.cutoff) * (math.pi / self.cutoff))
        filters: list[Tensor] = []
        for interaction in self.interactions:
            filters.append(interaction.filters(stacked, smooth))  # type: ignore[operator]
        return filters

    def _energies(
        self, filters: list[Tensor], edge_i: Tensor, edge_j: Tensor, species: Tensor, n_local: int
    ) -> Tensor:
        x = self.embedding.index_select(1, species)
        for number, interaction in enumerate(self.interactions):
            x = interaction(x, filters[number], edge_i, edge_j)
        local = species[:n_local]
        hidden = shifted_softplus(self.output[0](x[:, :n_local]))
        energies: Tensor = self.output[1](hidden, local)
        return energies + self.self_energies.index_select(0, local)


class SchNet:
    """SchNet as a family of models; see `family.Family`."""

    format_version = FORMAT_VERSION

    def content(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what the file says of this family alone."""
        shape = _shape(metadata)
        return {
            "family": "schnet",
            "schnet": asdict(shape),
            "cutoff": float(shape.cutoff),
            "angular_cutoff": 0.0,
            "receptive_field": float(shape.receptive_field),
            "dtype": "float32",
        }

    def fields(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of `Metadata` that `content` wrote."""
        return {"hidden": {}, "schnet": SchNetShape(**content["schnet"])}

    def shapes(self, metadata: "Metadata") -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of one member, by its name."""
        shape, elements = _shape(metadata), len(metadata.elements)
        features, half = shape.features, shape.features // 2
        shapes: dict[str, tuple[int, ...]] = {"embedding": (elements, features)}
        for t in range(shape.interactions):
            name = f"interactions.{t}"
            shapes[f"{name}.inner.weight"] = (features, features)
            for part, width in (("filter", shape.gaussians), ("outer", features)):
                shapes[f"{name}.{part}.0.weight"] = (features, width)
                shapes[f"{name}.{part}.0.bias"] = (features,)
                shapes[f"{name}.{part}.1.weight"] = (features, features)
                shapes[f"{name}.{part}.1.bias"] = (features,)
        shapes["output.0.weight"], shapes["output.0.bias"] = (half, features), (half,)
        shapes["output.1.weight"], shapes["output.1.bias"] = (1, half), (elements,)
        return shapes

    def initial_weights(self, metadata: "Metadata", seed: int) -> dict[str, Tensor]:
        """Draw the weights of one member, as SchNetPack does.

        Embeddings from N(0, 1), matrices from Glorot's uniform distribution, biases 0.
        """
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name, shape in self.shapes(metadata).items():
            if name == "embedding":
                weights[name] = torch.empty(shape).normal_(generator=generator)
            elif name.endswith(".weight"):
                bound = math.sqrt(6.0 / sum(shape))
                weights[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            else:
                weights[name] = torch.zeros(shape)
        return weights

    def module(self, ensemble: "Ensemble", dtype: torch.dtype = torch.float32) -> StackedSchNet:
        """Return the module that `ensemble.pt` holds."""
        weights = {name: tensor.to(dtype) for name, tensor in ensemble.weights.items()}
        energies = torch.tensor(ensemble.metadata.self_energies, dtype=torch.float64)
        network = StackedSchNet(_shape(ensemble.metadata), weights, energies)
        return network.requires_grad_(False)

    def shape_of(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what a model to start from must have alike, by its name in messages."""
        return {"shape": metadata.schnet}

    def constants(self, metadata: "Metadata", weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Return views of one member's weights that are added to each atom's energy, by element."""
        return list(weights["output.1.bias"])


def _shape(metadata: "Metadata") -> SchNetShape:
    if metadata.schnet is None:
        raise ValueError("expected the metadata of a SchNet model")
    return metadata.schnet
