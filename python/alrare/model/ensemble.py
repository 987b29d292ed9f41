"""An ensemble of ANI networks: its file, and its evaluation on frames."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms
from ase.data import atomic_numbers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .. import __version__
from ..errors import ModelError
from ..files import atomic_path
from .aev import AEVConstants, Descriptor
from .network import StackedNetwork, initial_layers
from .species import Graph, build_graph

FORMAT = "alrare-ensemble"
FORMAT_VERSION = 1
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model: the JSON entry of both model files."""

    elements: tuple[str, ...]
    """Their order defines the species; models that alrare trains list them by atomic number."""
    hidden: dict[str, tuple[int, ...]]
    """Widths of the hidden layers by element."""
    self_energies: tuple[float, ...]
    """One per element, eV."""
    members: int
    """Number of members."""
    best_member: int = 0
    """Index, from 0, of the member with the lowest force MAE over the whole data set."""
    aev: AEVConstants = field(default_factory=AEVConstants)
    """Constants of the descriptor."""
    method: str = ""
    """Hash of the labels' method; "" if unknown."""
    dataset: str = ""
    """Hash of the training data; "" if unknown."""
    seeds: tuple[int, ...] = ()
    """One per member."""
    activation: str = "gelu"
    """Function between the layers: "gelu" or "celu"."""
    celu_alpha: float = 0.1
    """α of CELU: max(0, x) + min(0, α(exp(x/α) − 1)); ignored for GELU."""
    training: dict[str, Any] = field(default_factory=dict)
    """Everything else that is needed to train the same model again (docs/training.md); empty if
    unknown."""

    def to_json(self) -> str:
        """Return the JSON text stored in `ensemble.safetensors` and `ensemble.pt`."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **asdict(self),
            "aev": self.aev.to_dict(),
            "cutoff": self.aev.radial_cutoff,
            "angular_cutoff": self.aev.angular_cutoff,
            "receptive_field": self.aev.radial_cutoff,
            "units": {"length": "angstrom", "energy": "eV"},
            "alrare_version": __version__,
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
        content: dict[str, Any] = json.loads(text)
        if content["format"] != FORMAT or content["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"expected format {FORMAT} version {FORMAT_VERSION},"
                f" got {content['format']} version {content['format_version']}"
            )
        return cls(
            elements=tuple(content["elements"]),
            hidden={k: tuple(v) for k, v in content["hidden"].items()},
            self_energies=tuple(content["self_energies"]),
            members=content["members"],
            best_member=content["best_member"],
            aev=AEVConstants.from_dict(content["aev"]),
            method=content["method"],
            dataset=content["dataset"],
            seeds=tuple(content["seeds"]),
            activation=content["activation"],
            celu_alpha=content.get("celu_alpha", 0.1),
            training=content.get("training", {}),
        )

    def sizes(self, element: str) -> tuple[int, ...]:
        """Widths of an element's network, from the AEV to the energy."""
        return (self.aev.features(len(self.elements)), *self.hidden[element], 1)


@dataclass(frozen=True)
class Evaluation:
    """What the members say about N configurations.

    Attributes
    ----------
    energies : (M, N) array, eV
    forces : list of N (M, n, 3) arrays, eV/Å
    """

    energies: Array
    forces: list[Array]

    @property
    def energy_std(self) -> Array:
        """(N,) array, eV: the members' disagreement."""
        return energy_std(self.energies)


@dataclass(frozen=True)
class Ensemble:
    """Weights and metadata of an ensemble."""

    metadata: Metadata
    """Elements, layer widths, self energies and origin."""
    weights: Mapping[str, Tensor]
    """"{element}.{layer}.weight" (M, out, in) and "{element}.{layer}.bias" (M, out), float32."""

    def networks(self, dtype: torch.dtype = torch.float32) -> list[StackedNetwork]:
        """Return the stacked networks, one per element."""
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

    def evaluate(
        self, frames: Sequence[Atoms], *, batch: int = 64, dtype: torch.dtype = torch.float32
    ) -> Evaluation:
        """Energies and forces of every member.

        Parameters
        ----------
        frames : sequence of Atoms
            Periodic or not, of any sizes.
        batch : int
            Frames evaluated together; bounds the memory, changes no result.
        dtype : torch.dtype
            Of the descriptor and the networks; sums over atoms are float64 always.

        Raises
        ------
        ModelError
            If a frame holds an element the model does not know.
        """
        aev = self.metadata.aev
        descriptor = Descriptor(aev, len(self.metadata.elements), dtype)
        networks = self.networks(dtype)
        energies = [np.zeros((self.metadata.members, 0))]
        forces: list[Array] = []
        for start in range(0, len(frames), batch):
            graph = build_graph(
                frames[start : start + batch],
                elements=self.metadata.elements,
                cutoff=aev.radial_cutoff,
                angular_cutoff=aev.angular_cutoff,
            )
            with torch.inference_mode():
                atomic, force = _evaluate_graph(graph, descriptor, networks, dtype)
            atomic += np.array(self.metadata.self_energies)[graph.species]
            ends = np.cumsum(graph.n_atoms)
            energies.append(np.stack([e.sum(1) for e in np.split(atomic, ends[:-1], 1)], axis=1))
            forces.extend(np.split(force, ends[:-1], axis=1))
        return Evaluation(np.concatenate(energies, axis=1), forces)

    def save(self, path: Path) -> None:
        """Write `ensemble.safetensors`, the master model file."""
        tensors = {name: tensor.contiguous() for name, tensor in self.weights.items()}
        with atomic_path(path) as partial:
            partial.write_bytes(save(tensors, metadata={"alrare": self.metadata.to_json()}))


def _evaluate_graph(
    graph: Graph, descriptor: Descriptor, networks: list[StackedNetwork], dtype: torch.dtype
) -> tuple[Array, Array]:
    """Return atomic energies (M, N) in eV without self energies, and forces (M, N, 3)."""
    n_atoms = len(graph.species)
    edge_i, edge_j = torch.from_numpy(graph.edge_i), torch.from_numpy(graph.edge_j)
    species, triples = torch.from_numpy(graph.species), torch.from_numpy(graph.triples)
    vec = torch.from_numpy(graph.vec).to(dtype)
    aev, saved = descriptor(vec, edge_i, edge_j, species, n_atoms, triples)
    members = networks[0].members
    energies = torch.zeros(members, n_atoms, dtype=torch.float64)
    grad_aev = torch.zeros(members, n_atoms, aev.shape[1], dtype=dtype)
    for k, network in enumerate(networks):
        rows = torch.nonzero(species == k).squeeze(1)
        energy, grad, first = network(aev[rows], torch.ones(members, dtype=dtype))
        energies[:, rows] = energy.double()
        grad_aev[:, rows] = torch.bmm(grad, first)
    forces = torch.zeros(members, n_atoms, 3, dtype=torch.float64)
    for m in range(members):
        grad_vec = descriptor.backward(saved, triples, grad_aev[m]).double()
        forces[m].index_add_(0, edge_i, grad_vec).index_add_(0, edge_j, grad_vec, alpha=-1.0)
    return energies.numpy(), forces.numpy()


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
        If M < 2: one member has no spread.
    """
    if len(member_energies) < 2:
        raise ValueError(f"a spread needs at least 2 members, got {len(member_energies)}")
    spread: Array = np.std(member_energies, axis=0, ddof=1)
    return spread


def random_ensemble(
    *,
    elements: Sequence[str] = ("H", "C"),
    members: int = 3,
    hidden: Mapping[str, Sequence[int]] | None = None,
    hidden_default: Sequence[int] = (224, 192, 160),
    self_energies: Sequence[float] | None = None,
    best_member: int = 0,
    seed: int = 0,
) -> Ensemble:
    """Make an untrained ensemble: for tests, and as the start of training.

    Parameters
    ----------
    elements : sequence of str
        Sorted by atomic number here.
    members : int
    hidden : mapping, optional
        Hidden widths by element; the paper's for H unless given.
    hidden_default : sequence of int
        Widths of every other element.
    self_energies : sequence of float, eV, optional
        In the order of `elements` sorted by atomic number; zero unless given.
    best_member : int
    seed : int
        Member m draws from a generator seeded with ``seed + m``.
    """
    hidden = {"H": (256, 192, 160)} if hidden is None else hidden
    ordered = tuple(sorted(elements, key=lambda symbol: atomic_numbers[symbol]))
    metadata = Metadata(
        elements=ordered,
        hidden={symbol: tuple(hidden.get(symbol, hidden_default)) for symbol in ordered},
        self_energies=tuple(self_energies) if self_energies else (0.0,) * len(ordered),
        members=members,
        best_member=best_member,
        seeds=tuple(seed + m for m in range(members)),
    )
    drawn = [member_weights(metadata, member_seed) for member_seed in metadata.seeds]
    return Ensemble(metadata, stack_members(drawn))


def member_weights(metadata: Metadata, seed: int) -> dict[str, Tensor]:
    """Draw the initial weights of one member: "{element}.{layer}.weight" (out, in) and ".bias"."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for element in metadata.elements:
        for k, (weight, bias) in enumerate(initial_layers(metadata.sizes(element), generator)):
            weights[f"{element}.{k}.weight"] = weight
            weights[f"{element}.{k}.bias"] = bias
    return weights


def stack_members(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the weights of single members along a new first axis, as float32."""
    return {name: torch.stack([m[name] for m in members]).float() for name in members[0]}


def model_path(model: Path, suffix: str) -> Path:
    """Return one of a model's two files, given either of them or their folder.

    Parameters
    ----------
    model : Path
    suffix : {".safetensors", ".pt"}
    """
    return model / f"ensemble{suffix}" if model.is_dir() else model.with_suffix(suffix)


def load_ensemble(path: Path) -> Ensemble:
    """Read `ensemble.safetensors`.

    Raises
    ------
    ModelError
        If the file is missing, is not such a file, or its tensors do not fit its metadata.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            text = (stream.metadata() or {}).get("alrare")
            if text is None:
                raise ModelError(
                    f"{path}: a safetensors file without alrare's metadata; expected an ensemble"
                    " written by `alrare train`"
                )
            names: list[str] = list(stream.keys())
            ensemble = Ensemble(
                Metadata.from_json(text), {name: stream.get_tensor(name) for name in names}
            )
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: expected an ensemble.safetensors file, got: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: metadata of another format: {error}") from error
    _check_shapes(ensemble, path)
    return ensemble


def _check_shapes(ensemble: Ensemble, path: Path) -> None:
    metadata = ensemble.metadata
    for element in metadata.elements:
        sizes = metadata.sizes(element)
        for k, (width_in, width_out) in enumerate(pairwise(sizes)):
            for name, shape in (
                (f"{element}.{k}.weight", (metadata.members, width_out, width_in)),
                (f"{element}.{k}.bias", (metadata.members, width_out)),
            ):
                got = ensemble.weights.get(name)
                if got is None or tuple(got.shape) != shape:
                    came = "nothing" if got is None else str(tuple(got.shape))
                    raise ModelError(f"{path}: tensor {name}: expected shape {shape}, got {came}")
