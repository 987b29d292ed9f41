"""Energies and forces of two molecules by SchNetPack's SchNet and Atomwise, with random weights.

Needs torch, ase, numpy and the files of schnetpack 2.1.1 (its other dependencies are not used):

    pip install --no-deps --target spk schnetpack==2.1.1
    python make_reference.py spk

Writes reference.json and weights.safetensors beside this file.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from safetensors.torch import save_file

HERE = Path(__file__).parent
SHAPE = {"features": 16, "gaussians": 10, "interactions": 3, "cutoff": 4.0}
ELEMENTS = ["H", "C", "O"]
NUMBERS = [1, 6, 8]


def load(root: Path) -> dict[str, types.ModuleType]:
    """Import the few modules that are needed, without the packages' own lists of all others."""
    for name in (
        "schnetpack",
        "schnetpack.nn",
        "schnetpack.representation",
        "schnetpack.atomistic",
    ):
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)

    def take(name: str) -> types.ModuleType:
        path = root / f"{name.replace('.', '/')}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)
        spec.loader.exec_module(module)
        return module

    modules = {"properties": take("schnetpack.properties")}
    for part in ("activations", "scatter", "cutoff", "radial", "base", "blocks"):
        module = take(f"schnetpack.nn.{part}")
        for name, value in vars(module).items():
            if not name.startswith("_"):
                setattr(sys.modules["schnetpack.nn"], name, value)
        if part == "base":  # of its utils one function is needed, the rest asks for lightning
            nn = sys.modules["schnetpack.nn"]
            nn.replicate_module = lambda make, n, shared: torch.nn.ModuleList(
                [make() for _ in range(n)]
            )
    modules["schnet"] = take("schnetpack.representation.schnet")
    modules["atomwise"] = take("schnetpack.atomistic.atomwise")
    return modules


def named(representation: torch.nn.Module, output: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights under the names of alrare's files."""
    theirs = {**representation.state_dict(), **output.state_dict()}
    weights = {"embedding": theirs["embedding.weight"][NUMBERS]}
    parts = {"inner": "in2f", "filter": "filter_network", "outer": "f2out"}
    for t in range(SHAPE["interactions"]):
        for ours, name in parts.items():
            for layer in ("",) if ours == "inner" else (".0", ".1"):
                for kind in ("weight",) if ours == "inner" else ("weight", "bias"):
                    key = f"interactions.{t}.{name}{layer}.{kind}"
                    weights[f"interactions.{t}.{ours}{layer}.{kind}"] = theirs[key]
    for layer in (0, 1):
        for kind in ("weight", "bias"):
            weights[f"output.{layer}.{kind}"] = theirs[f"outnet.{layer}.{kind}"]
    weights["output.1.bias"] = weights["output.1.bias"].expand(len(ELEMENTS))
    return {name: tensor.float().clone() for name, tensor in weights.items()}


def main() -> None:
    modules = load(Path(sys.argv[1]))
    keys, nn = modules["properties"], sys.modules["schnetpack.nn"]
    torch.manual_seed(5)
    ssp = nn.shifted_softplus
    representation = modules["schnet"].SchNet(
        n_atom_basis=SHAPE["features"],
        n_interactions=SHAPE["interactions"],
        radial_basis=nn.GaussianRBF(n_rbf=SHAPE["gaussians"], cutoff=SHAPE["cutoff"]),
        cutoff_fn=nn.CosineCutoff(SHAPE["cutoff"]),
        activation=ssp,
    )
    output = modules["atomwise"].Atomwise(
        n_in=SHAPE["features"], activation=ssp, output_key="energy"
    )
    for parameter in [*representation.parameters(), *output.parameters()]:
        if parameter.ndim == 1:  # biases begin at zero, which would test nothing
            torch.nn.init.normal_(parameter, std=0.3)
    weights = named(representation, output)
    representation.double()
    output.double()
    molecules = []
    for name in ("CH3CH2OH", "C2H4"):
        atoms = molecule(name)
        atoms.rattle(0.08, seed=2)
        positions = torch.from_numpy(atoms.positions).requires_grad_()
        distances = torch.from_numpy(atoms.get_all_distances())
        near = (distances < SHAPE["cutoff"]) & ~torch.eye(len(atoms), dtype=torch.bool)
        i, j = torch.nonzero(near).unbind(1)
        inputs = {
            keys.Z: torch.from_numpy(atoms.numbers),
            keys.Rij: positions[j] - positions[i],
            keys.idx_i: i,
            keys.idx_j: j,
            keys.idx_m: torch.zeros(len(atoms), dtype=torch.int64),
            keys.n_atoms: torch.tensor([len(atoms)]),
        }
        energy = output(representation(inputs))["energy"]
        (gradient,) = torch.autograd.grad(energy.sum(), positions)
        molecules.append(
            {
                "symbols": atoms.get_chemical_symbols(),
                "positions": np.round(atoms.positions, 12).tolist(),
                "energy": float(energy.detach().sum()),
                "forces": (-gradient).tolist(),
            }
        )
    save_file(weights, HERE / "weights.safetensors")
    content = {"shape": SHAPE, "elements": ELEMENTS, "molecules": molecules}
    (HERE / "reference.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
