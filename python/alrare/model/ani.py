"""ANI as a family of models: networks of one element each, on atomic environment vectors."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .aev import AEVConstants
from .network import initial_layers

if TYPE_CHECKING:
    from .ensemble import Ensemble, Metadata


class Ani:
    """ANI; see `family.Family`."""

    format_version = 1

    def content(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what the file says of this family alone."""
        return {
            "hidden": metadata.hidden,
            "activation": metadata.activation,
            "celu_alpha": metadata.celu_alpha,
            "aev": metadata.aev.to_dict(),
            "cutoff": metadata.aev.radial_cutoff,
            "angular_cutoff": metadata.aev.angular_cutoff,
            "receptive_field": metadata.aev.radial_cutoff,
        }

    def fields(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of `Metadata` that `content` wrote."""
        return {
            "hidden": {k: tuple(v) for k, v in content["hidden"].items()},
            "aev": AEVConstants.from_dict(content["aev"]),
            "activation": content["activation"],
            "celu_alpha": content.get("celu_alpha", 0.1),
        }

    def shapes(self, metadata: "Metadata") -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of one member, by its name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for element in metadata.elements:
            for k, (width_in, width_out) in enumerate(pairwise(metadata.sizes(element))):
                shapes[f"{element}.{k}.weight"] = (width_out, width_in)
                shapes[f"{element}.{k}.bias"] = (width_out,)
        return shapes

    def initial_weights(self, metadata: "Metadata", seed: int) -> dict[str, Tensor]:
        """Draw the weights of one member."""
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for element in metadata.elements:
            for k, (weight, bias) in enumerate(initial_layers(metadata.sizes(element), generator)):
                weights[f"{element}.{k}.weight"] = weight
                weights[f"{element}.{k}.bias"] = bias
        return weights

    def module(self, ensemble: "Ensemble", dtype: torch.dtype = torch.float32) -> torch.nn.Module:
        """Return the module that `ensemble.pt` holds."""
        from .torchscript import EnsembleModule  # which needs `Ensemble`, and that this module

        return EnsembleModule(ensemble, dtype)

    def shape_of(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what a model to start from must have alike, by its name in messages."""
        return {"hidden layers": metadata.hidden, "descriptor": metadata.aev}

    def constants(self, metadata: "Metadata", weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Return views of one member's weights that are added to each atom's energy, by element."""
        return [weights[f"{e}.{len(metadata.hidden[e])}.bias"] for e in metadata.elements]
