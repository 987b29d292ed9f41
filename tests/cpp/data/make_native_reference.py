"""Write the models and the float64 reference that `test_native_evaluator.cpp` compares with.

Usage: python tests/cpp/data/make_native_reference.py   (needs torch; run again only when the
descriptor or the model format changes)
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from alrare.model.aev import AEVConstants, Descriptor
from alrare.model.ensemble import Ensemble, Metadata, member_weights, stack_members
from ase import Atoms
from torch import Tensor

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from ani_reference import build_graph  # noqa: E402

MEMBERS = 2
CELU_ALPHA = 0.1


def ani_1x() -> AEVConstants:
    """Constants of ANI-1x: other counts of shifts and sections, an integer zeta."""
    return AEVConstants(
        radial_cutoff=5.2,
        angular_cutoff=3.5,
        radial_eta=16.0,
        radial_shifts=tuple(0.9 + (5.2 - 0.9) * k / 16 for k in range(16)),
        angular_eta=8.0,
        zeta=32.0,
        angular_shifts=tuple(0.9 + (3.5 - 0.9) * k / 4 for k in range(4)),
        angle_sections=tuple(math.pi / 16 + math.pi * k / 8 for k in range(8)),
    )


def odd_constants() -> AEVConstants:
    """Counts that fill no vector, and a zeta that needs the logarithm."""
    return AEVConstants(
        radial_shifts=(0.9, 1.7, 2.5, 3.3, 4.1),
        radial_eta=4.0,
        angular_eta=3.0,
        zeta=1.7,
        angular_shifts=(0.9, 1.5, 2.1),
        angle_sections=(0.4, 1.1, 1.8, 2.5, 3.0),
    )


def hexane(rng: np.random.Generator, stretch: float) -> Atoms:
    positions, symbols = [], []
    for i in range(6):
        carbon = np.array([1.27 * i * stretch, 0.86 * (i % 2), 0.0])
        up = 1.0 if i % 2 else -1.0
        across, along = np.array([0.0, up * 0.63, 0.0]), np.array([0.0, 0.0, 0.89])
        positions += [carbon, carbon + across + along, carbon + across - along]
        symbols += ["C", "H", "H"]
    end = np.array([0.9, -0.62, 0.0])
    positions += [positions[0] - end, positions[15] + end]
    return Atoms([*symbols, "H", "H"], np.array(positions) + rng.normal(0, 0.05, (20, 3)))


def random_box(rng: np.random.Generator, symbols: str, cell: list[list[float]]) -> Atoms:
    box = np.array(cell)
    inverse = np.linalg.inv(box)
    placed: list[np.ndarray] = []
    while len(placed) < len(symbols):
        point = rng.random(3) @ box
        gaps = [point - other for other in placed]
        if all(np.linalg.norm(d - np.round(d @ inverse) @ box) > 0.95 for d in gaps):
            placed.append(point)
    return Atoms(list(symbols), np.array(placed), cell=box, pbc=True)


def frames(third: str) -> dict[str, Atoms]:
    rng = np.random.default_rng(7)
    slab = random_box(rng, "CH" * 9 + third, [[5.5, 0, 0], [0, 6, 0], [0, 0, 7]])
    slab.pbc = [True, False, True]
    slab.positions[0] += [11.0, 0.0, -14.0]  # outside the cell
    return {
        "hexane": hexane(rng, 1.0),
        "a stretched chain": hexane(rng, 1.7),
        "a triclinic box": random_box(
            rng, "CHH" * 8 + third * 3, [[7, 0, 0], [2.5, 6.5, 0], [-1.5, 2, 6]]
        ),
        "a cell smaller than the cutoff": random_box(
            rng, "CHH" + third, [[3.2, 0, 0], [0.4, 3.6, 0], [0, 0.3, 3.4]]
        ),
        "a slab": slab,
        "isolated atoms": Atoms("CH", [[0, 0, 0], [30, 0, 0]]),
        "atoms at the cutoffs": Atoms(
            "CHHC", [[0, 0, 0], [3.4999999, 0, 0], [0, 3.5000001, 0], [0, 0, 5.0999999]]
        ),
        "no atoms": Atoms(),
    }


def make_model(
    elements: tuple[str, ...], hidden: dict[str, tuple[int, ...]], aev: AEVConstants, scale: float
) -> Ensemble:
    metadata = Metadata(
        elements=elements,
        hidden=hidden,
        self_energies=tuple(-13.7 * (k + 1) ** 2 for k in range(len(elements))),
        members=MEMBERS,
        aev=aev,
    )
    weights = stack_members([member_weights(metadata, seed) for seed in range(MEMBERS)])
    return Ensemble(metadata, {name: scale * tensor for name, tensor in weights.items()})


def networks(
    model: Ensemble, activation: str, aev: Tensor, species: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Energies (M) and dE_m/dAEV by automatic differentiation."""
    aev = aev.detach().requires_grad_()
    energies = torch.zeros(MEMBERS, dtype=torch.float64)
    for k, element in enumerate(model.metadata.elements):
        x = aev[species == k].expand(MEMBERS, -1, -1)
        layers = len(model.metadata.hidden[element]) + 1
        for layer in range(layers):
            weight = model.weights[f"{element}.{layer}.weight"].double()
            bias = model.weights[f"{element}.{layer}.bias"].double()
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
            if layer < layers - 1:
                x = (
                    torch.nn.functional.gelu(x)
                    if activation == "gelu"
                    else torch.nn.functional.celu(x, CELU_ALPHA)
                )
        energies = energies + x.sum((1, 2))
    gradients = [torch.autograd.grad(e, aev, retain_graph=True)[0] for e in energies]
    return energies.detach(), gradients


def reference(model: Ensemble, activation: str, atoms: Atoms) -> dict[str, object]:
    aev = model.metadata.aev
    elements = model.metadata.elements
    graph = build_graph([atoms], model.metadata)
    edge_i, edge_j = torch.from_numpy(graph.edge_i), torch.from_numpy(graph.edge_j)
    species, triples = torch.from_numpy(graph.species), torch.from_numpy(graph.triples)
    descriptor = Descriptor(aev, len(elements), torch.float64)
    features, saved = descriptor(
        torch.from_numpy(graph.vec), edge_i, edge_j, species, len(atoms), triples
    )
    energies, gradients = networks(model, activation, features, species)
    energies += sum(model.metadata.self_energies[s] for s in graph.species)
    forces = torch.zeros(MEMBERS, len(atoms), 3, dtype=torch.float64)
    for m in range(MEMBERS):
        grad = descriptor.backward(saved, triples, gradients[m])
        forces[m].index_add_(0, edge_i, grad).index_add_(0, edge_j, grad, alpha=-1.0)
    return {
        "species": graph.species.tolist(),
        "positions": np.round(atoms.positions, 12).ravel().tolist(),
        "cell": np.asarray(atoms.cell).ravel().tolist(),
        "pbc": [bool(p) for p in atoms.pbc],
        "energies": [float(e) for e in energies],
        "forces": [round(float(f), 9) for f in forces.ravel()],
    }


def save(model: Ensemble, activation: str, path: Path) -> None:
    """Save with the activation's name; the driver itself writes GELU models only."""
    from safetensors.torch import save_file

    content = json.loads(model.metadata.to_json())
    content["activation"] = activation
    tensors = {name: tensor.contiguous() for name, tensor in model.weights.items()}
    save_file(tensors, path, metadata={"alrare": json.dumps(content, sort_keys=True)})


def main() -> None:
    torch.manual_seed(0)
    small = {"H": (16, 12), "C": (12,), "O": (8, 5)}
    models = {
        "gelu": make_model(("H", "C", "O"), small, AEVConstants(), 3.0),
        "celu": make_model(("H", "C"), {"H": (12, 8), "C": (9, 6, 5)}, ani_1x(), 2.0),
        "odd": make_model(("H", "C"), {"H": (), "C": (7,)}, odd_constants(), 1.7),
    }
    out: dict[str, object] = {}
    for name, model in models.items():
        activation = "celu" if name == "celu" else "gelu"
        save(model, activation, HERE / f"native_{name}.safetensors")
        third = "O" if "O" in model.metadata.elements else "H"
        out[name] = {
            title: reference(model, activation, atoms) for title, atoms in frames(third).items()
        }
    (HERE / "native_reference.json").write_text(json.dumps(out, indent=None) + "\n")


if __name__ == "__main__":
    main()
