"""What a family of models has to say about itself; each is one module beside this one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .ensemble import Ensemble, Metadata


class Family(Protocol):
    """A kind of network: its part of the metadata, its tensors, and its export.

    `ensemble.FAMILIES` lists them. How each is trained: `training/families.py`; what evaluates it
    for the calculator: `engine.py`.
    """

    @property
    def format_version(self) -> int:
        """Version of the contract of `ensemble.pt` that its export follows."""

    def content(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what the file says of this family alone."""

    def fields(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of `Metadata` that `content` wrote; raises as `Metadata.from_json`."""

    def shapes(self, metadata: "Metadata") -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of one member, by its name."""

    def initial_weights(self, metadata: "Metadata", seed: int) -> dict[str, Tensor]:
        """Draw the weights of one member."""

    def module(self, ensemble: "Ensemble", dtype: torch.dtype) -> torch.nn.Module:
        """Return the module that `ensemble.pt` holds."""

    def shape_of(self, metadata: "Metadata") -> dict[str, Any]:
        """Return what a model to start from must have alike, by its name in messages."""

    def constants(self, metadata: "Metadata", weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Return views of one member's weights that are added to each atom's energy, by element."""
