"""Conversion of TorchANI models to alrare's model files.

The converted ensemble is the same function: AEV constants, weights and self energies are copied,
with energies converted from Hartree to eV. Files of TorchANI models are not read, since unpickling
runs the code in them: build the model in Python and convert the object.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..units import HARTREE
from .aev import AEVConstants
from .ensemble import Ensemble, Metadata, stack_members
from .torchscript import export_torchscript


def convert(model: Any, *, best_member: int = 0) -> Ensemble:
    """Return a TorchANI model as an ensemble.

    Parameters
    ----------
    model : torchani.arch.ANI
        ANI-1x or ANI-2x style: any elements in any order, any layer widths, CELU or GELU, one
        network or a `torchani.nn.Ensemble`; cosine cutoff; no further potentials.
    best_member : int
        The member, from 0, that `forces best` will use; a TorchANI model names none.

    Returns
    -------
    Ensemble
        In eV and Å, float32.

    Raises
    ------
    ModelError
        If the model is of another kind (the message names the part that alrare does not support),
        or TorchANI is missing.

    Examples
    --------
    >>> convert(torchani.models.ANI2x()).save(Path("ensemble.safetensors"))  # doctest: +SKIP
    """
    _require_torchani()
    from torchani.arch import ANI

    if not isinstance(model, ANI):
        raise ModelError(f"expected a torchani.arch.ANI model, got a {type(model).__name__}")
    extra = [k for k, p in model.potentials.items() if k != "nnp" and p._enabled]
    if extra:
        raise ModelError(
            f"the model adds {', '.join(extra)} to its networks, which alrare does not evaluate;"
            f" disable them (model.set_enabled({extra[0]!r}, False)) and add them in LAMMPS"
        )
    nnp = model.potentials["nnp"]
    symbols = tuple(model.symbols)
    members = _members(nnp.neural_networks)
    activations = {_activation(m[s].activation) for m in members for s in symbols}
    if len(activations) != 1:
        raise ModelError("the networks differ in their activation; expected one for all")
    ((activation, celu_alpha),) = activations
    shifter = model.energy_shifter
    self_energies = [float(e) * HARTREE * shifter._enabled for e in shifter.self_energies]
    weights = [_member_weights(member, symbols) for member in members]
    hidden = {s: _hidden(weights[0], s) for s in symbols}
    if any(_hidden(w, s) != hidden[s] for w in weights for s in symbols):
        raise ModelError("the members differ in their layer widths; expected the same for all")
    if not 0 <= best_member < len(members):
        raise ModelError(f"best_member must be in 0..{len(members) - 1}, got {best_member}")
    metadata = Metadata(
        elements=symbols,
        hidden=hidden,
        self_energies=tuple(self_energies),
        members=len(members),
        best_member=best_member,
        aev=_constants(nnp.aev_computer),
        activation=activation,
        celu_alpha=celu_alpha,
    )
    return Ensemble(metadata, stack_members(weights))


def convert_to(model: Any, folder: Path, *, best_member: int = 0) -> tuple[Path, Path]:
    """Write `ensemble.safetensors` and `ensemble.pt` of a TorchANI model; return their paths.

    Raises
    ------
    AlrareError
        If the model is of another kind, or the disk refuses the write.
    """
    ensemble = convert(model, best_member=best_member)
    folder.mkdir(parents=True, exist_ok=True)
    master, export = folder / "ensemble.safetensors", folder / "ensemble.pt"
    ensemble.save(master)
    export_torchscript(ensemble, export)
    return master, export


def build_model(name: str) -> Any:
    """Build a TorchANI model by name.

    Parameters
    ----------
    name : str
        One of `torchani.models`, such as ANI2x (TorchANI downloads its weights); or
        `MODULE:FUNCTION` or `FILE.py:FUNCTION`, a function without arguments that returns one.

    Raises
    ------
    ModelError
        If the name cannot be found, building the model fails, or TorchANI is missing.
    """
    _require_torchani()
    import torchani.models

    where, _, attribute = name.rpartition(":")
    try:
        if not where:
            source: Any = torchani.models
        elif where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert spec is not None and spec.loader is not None
            source = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(source)
        else:
            source = importlib.import_module(where)
        return getattr(source, attribute)()
    except Exception as error:  # the user's own code, or a download
        raise ModelError(
            f"{name}: expected a model of torchani.models or MODULE:FUNCTION, got"
            f" {type(error).__name__}: {error}"
        ) from error


def _require_torchani() -> None:
    if importlib.util.find_spec("torchani") is None:
        raise ModelError(
            "TorchANI is not installed, and its models are read by its own classes: `pip install"
            " 'alrare[torchani]'`"
        )


def _members(networks: Any) -> list[Any]:
    from torchani.nn import ANINetworks, Ensemble

    members = list(networks.members) if isinstance(networks, Ensemble) else [networks]
    for member in members:
        if type(member) is not ANINetworks or member.out_dim != 1:
            raise ModelError(
                f"the networks are a {type(member).__name__}, expected one ANINetworks with one"
                " output for each member (not an inference model)"
            )
    return members


def _activation(module: torch.nn.Module) -> tuple[str, float]:
    from torchani.nn import TightCELU

    if isinstance(module, TightCELU):
        return "celu", 0.1
    if isinstance(module, torch.nn.CELU) and module.alpha > 0.0:
        return "celu", float(module.alpha)
    if isinstance(module, torch.nn.GELU) and module.approximate == "none":
        return "gelu", 0.1
    raise ModelError(f"the activation is {module}, expected CELU or GELU")


def _member_weights(member: Any, symbols: tuple[str, ...]) -> dict[str, Tensor]:
    weights = {}
    for symbol in symbols:
        network = member[symbol]
        layers = [*network.layers, network.final_layer]
        for k, layer in enumerate(layers):
            scale = HARTREE if k == len(layers) - 1 else 1.0
            weight = layer.weight.detach().double()
            bias = torch.zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach()
            weights[f"{symbol}.{k}.weight"] = (weight * scale).cpu()
            weights[f"{symbol}.{k}.bias"] = (bias.double() * scale).cpu()
    return weights


def _hidden(weights: dict[str, Tensor], symbol: str) -> tuple[int, ...]:
    n_layers = sum(name.startswith(f"{symbol}.") for name in weights) // 2
    return tuple(weights[f"{symbol}.{k}.bias"].shape[0] for k in range(n_layers - 1))


def _constants(computer: Any) -> AEVConstants:
    from torchani.aev import ANIAngular, ANIRadial
    from torchani.cutoffs import CutoffCosine

    radial, angular = computer.radial, computer.angular
    for part, kind in ((radial, ANIRadial), (angular, ANIAngular)):
        if type(part) is not kind:
            raise ModelError(f"the AEV has a {type(part).__name__}, expected {kind.__name__}")
        if type(part.cutoff_fn) is not CutoffCosine:
            raise ModelError(
                f"the cutoff function is {type(part.cutoff_fn).__name__}, expected CutoffCosine"
            )
    return AEVConstants(
        radial_cutoff=float(radial.cutoff),
        angular_cutoff=float(angular.cutoff),
        radial_eta=radial.eta.item(),
        radial_shifts=tuple(radial.shifts.flatten().tolist()),
        angular_eta=angular.eta.item(),
        zeta=angular.zeta.item(),
        angular_shifts=tuple(angular.shifts.flatten().tolist()),
        angle_sections=tuple(angular.sections.flatten().tolist()),
    )
