"""An ensemble of networks: its weights, its metadata and its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .. import __version__
from ..errors import ModelError
from ..files import PathLike, atomic_path
from .aev import AEVConstants
from .ani import Ani
from .family import Family
from .model_file import (
    CHECKSUM,
    CURE,
    ENTRY,
    SpreadFactors,
    checksum,
    read_metadata,
    spread_factors,
)
from .model_file import (
    model_path as model_path,
)
from .network import StackedNetwork
from .schnet import SchNet, SchNetShape

FORMAT = "alrare-ensemble"
Array = npt.NDArray[np.float64]
FAMILIES: Mapping[str, Family] = {"ani": Ani(), "schnet": SchNet()}
"""The families by their names in al.toml and in model files; a file without a name is ANI."""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model: the JSON entry of both model files."""

    elements: tuple[str, ...]
    """Their order defines the species; models that alrare trains list them by atomic number."""
    hidden: dict[str, tuple[int, ...]]
    """Widths of the hidden layers by element; ANI only."""
    self_energies: tuple[float, ...]
    """One per element, eV."""
    members: int
    """Number of members."""
    best_member: int = 0
    """Index, from 0, of the member with the lowest force MAE over the whole data set."""
    aev: AEVConstants = field(default_factory=AEVConstants)
    """Constants of the descriptor; ANI only."""
    method: str = ""
    """Hash of the labels' method; "" if unknown."""
    dataset: str = ""
    """Hash of the training data; "" if unknown."""
    seeds: tuple[int, ...] = ()
    """One per member."""
    activation: str = "gelu"
    """Function between the layers: "gelu" or "celu"; ANI only."""
    celu_alpha: float = 0.1
    """α of CELU: max(0, x) + min(0, α(exp(x/α) − 1)); ignored for GELU."""
    training: dict[str, Any] = field(default_factory=dict)
    """Everything else that is needed to train the same model again (docs/training.md); empty if
    unknown."""
    calibration: SpreadFactors | None = None
    """Factors that make an error of the spread; None: not calibrated."""
    schnet: SchNetShape | None = None
    """The shape of a SchNet; None: the networks are ANI's."""

    @property
    def family(self) -> str:
        """Name of the family, one of `FAMILIES`."""
        return "ani" if self.schnet is None else "schnet"

    @property
    def cutoff(self) -> float:
        """Length of the longest edge, Å."""
        return float(family_of(self).content(self)["cutoff"])

    @property
    def angular_cutoff(self) -> float:
        """Longest edge of a triple, Å; 0: there are none."""
        return float(family_of(self).content(self)["angular_cutoff"])

    def to_json(self) -> str:
        """Return the JSON text stored in `ensemble.safetensors` and `ensemble.pt`."""
        family = family_of(self)
        content = {
            "format": FORMAT,
            "format_version": family.format_version,
            "elements": self.elements,
            "self_energies": self.self_energies,
            "members": self.members,
            "best_member": self.best_member,
            "method": self.method,
            "dataset": self.dataset,
            "seeds": self.seeds,
            "training": self.training,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "units": {"length": "angstrom", "energy": "eV"},
            "alrare_version": __version__,
            **family.content(self),
        }
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Metadata":
        """Read what `to_json` writes.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is something else.
        """
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Metadata":
        """Read the object of the JSON text; see `from_json`."""
        name = content.get("family", "ani")
        if content["format"] != FORMAT or name not in FAMILIES:
            raise ValueError(
                f"expected format {FORMAT} of a family among {', '.join(FAMILIES)},"
                f" got {content['format']} of {name}"
            )
        family = FAMILIES[name]
        if content["format_version"] != family.format_version:
            raise ValueError(
                f"expected format {FORMAT} version {family.format_version},"
                f" got {content['format']} version {content['format_version']}"
            )
        return cls(
            elements=tuple(content["elements"]),
            self_energies=tuple(content["self_energies"]),
            members=content["members"],
            best_member=content["best_member"],
            method=content["method"],
            dataset=content["dataset"],
            seeds=tuple(content["seeds"]),
            training=content.get("training", {}),
            calibration=spread_factors(content),
            **family.fields(content),
        )

    def sizes(self, element: str) -> tuple[int, ...]:
        """Widths of an element's network, from the AEV to the energy; ANI only."""
        return (self.aev.features(len(self.elements)), *self.hidden[element], 1)


@dataclass(frozen=True)
class Ensemble:
    """Weights and metadata of an ensemble."""

    metadata: Metadata
    """Elements, layer widths, self energies and origin."""
    weights: Mapping[str, Tensor]
    """Float32, with a leading axis M: of ANI "{element}.{layer}.weight" (M, out, in) and ".bias"
    (M, out), of SchNet those of `schnet`."""

    def networks(self, dtype: torch.dtype = torch.float32) -> list[StackedNetwork]:
        """Return the stacked networks, one per element; ANI only."""
        networks = []
        for element in self.metadata.elements:
            layers = range(len(self.metadata.hidden[element]) + 1)
            networks.append(
                StackedNetwork(
                    [self.weights[f"{element}.{k}.weight"].to(dtype) for k in layers],
                    [self.weights[f"{element}.{k}.bias"].to(dtype) for k in layers],
                    self.metadata.celu_alpha if self.metadata.activation == "celu" else 0.0,
                )
            )
        return networks

    def save(self, path: Path) -> None:
        """Write `ensemble.safetensors`, the master model file."""
        tensors = {name: tensor.contiguous() for name, tensor in self.weights.items()}
        content = json.loads(self.metadata.to_json())
        content[CHECKSUM] = checksum(content, save(tensors))
        text = json.dumps(content, sort_keys=True)
        with atomic_path(path) as partial:
            partial.write_bytes(save(tensors, metadata={ENTRY: text}))


def energy_std(member_energies: Array) -> Array:
    r"""Disagreement of the ensemble on each configuration (Jung et al. 2024, §2.3.2).

    .. math:: \sigma_n = \sqrt{\tfrac{1}{M-1}\sum_m (E_{mn} - \bar E_n)^2}

    Parameters
    ----------
    member_energies : (M, N) array, eV
        One row per member.

    Returns
    -------
    (N,) array, eV

    Raises
    ------
    ValueError
        If the shape is another, or M < 2: one member has no spread.
    """
    if np.ndim(member_energies) != 2:
        raise ValueError(
            "expected energies of shape (M, N), one row per member, got shape"
            f" {np.shape(member_energies)}"
        )
    if len(member_energies) < 2:
        raise ValueError(f"a spread needs at least 2 members, got {len(member_energies)}")
    spread: Array = np.std(member_energies, axis=0, ddof=1)
    return spread


def member_weights(metadata: Metadata, seed: int) -> dict[str, Tensor]:
    """Draw the initial weights of one member, named as in the file, without the leading axis."""
    return family_of(metadata).initial_weights(metadata, seed)


def family_of(metadata: Metadata) -> Family:
    """Return the family of a model."""
    return FAMILIES[metadata.family]


def stack_members(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the weights of single members along a new first axis, as float32."""
    return {name: torch.stack([m[name] for m in members]).float() for name in members[0]}


def load_ensemble(path: PathLike) -> Ensemble:
    """Read `ensemble.safetensors`, given as that file or as its folder.

    Raises
    ------
    ModelError
        If the file is missing, is not such a file, is not as it was written, or its tensors do not
        fit its metadata.
    """
    path = model_path(path, ".safetensors")
    content = read_metadata(path)
    try:
        ensemble = Ensemble(Metadata.from_dict(content), load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path}: expected an ensemble.safetensors file, got: {error}; {CURE}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: metadata of another format: {error}") from error
    _check_tensors(ensemble, path)
    return ensemble


def _check_tensors(ensemble: Ensemble, path: Path) -> None:
    metadata = ensemble.metadata
    for name, of_member in family_of(metadata).shapes(metadata).items():
        shape, got = (metadata.members, *of_member), ensemble.weights.get(name)
        if got is None or tuple(got.shape) != shape:
            came = "nothing" if got is None else str(tuple(got.shape))
            raise ModelError(f"{path}: tensor {name}: expected shape {shape}, got {came}")
        if not torch.isfinite(got).all():
            raise ModelError(f"{path}: tensor {name} holds a value that is not finite; {CURE}")
