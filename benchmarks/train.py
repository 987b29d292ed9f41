"""What training costs and what it reaches: one JSON line a measure.

    python benchmarks/train.py --data nvt.extxyz.xz smd.extxyz.xz [--only WORD] [--work DIR]

The part `epoch` needs TorchANI: `pip install '.[torchani]'`.

DATA are labelled hexanes: 500 K MD and a pull, so that stretched chains are among them. 2,000
frames drawn from all files train; `--test` frames of the rest judge, and nothing else ever sees
them. `--only` names one part:

epoch     CPU time of an epoch of one member beside stock torchani's training step (autograd through
          the AEV, create_graph, Adam), same batches, in interleaved rounds
fast      the fast recipe, 7 members: wall time from frames to model files, descriptors included,
          and its errors
paper     the paper's recipe at 300 epochs, `--paper-members` members (default 1): hours on a CPU.
          Finished members are kept in DIR: stop it and call it again

Each line holds measure, value, target, met and details; errors are in kcal/mol and kcal/mol/Å.
"""

import argparse
import io
import json
import lzma
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _machine import machine
from alrare import config
from alrare.frames import label_of
from alrare.model.aev import AEVConstants
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import Metadata, member_weights
from alrare.progress import open_progress
from alrare.training.dataset import Dataset, make_dataset, random_split
from alrare.training.descriptor_cache import DescriptorCache
from alrare.training.ensemble import train_ensemble
from alrare.training.gradients import Labels, open_gradient_engine
from alrare.training.trainer import make_optimizer
from alrare.training.whitening import identity
from ase import Atoms
from ase.io.extxyz import read_extxyz

KCAL = 23.060548  # kcal/mol in an eV
N_TRAIN = 2000
BATCH = 64
ROUNDS = 12
MEMBERS = 7


def main() -> None:
    """Print the lines."""
    options = arguments()
    torch.set_num_threads(1)
    frames = [frame for path in options.data for frame in read(path)]
    order = np.random.default_rng(options.draw).permutation(len(frames))
    train = [frames[k] for k in order[:N_TRAIN]]
    seed, count = options.tuned_on
    tuned = set(np.random.default_rng(seed).permutation(len(frames))[:count].tolist())
    rest = [k for k in order[N_TRAIN:].tolist() if k not in tuned]
    test = [frames[k] for k in rest[: options.test]]
    parts = {"epoch": measure_epoch, "fast": measure_fast, "paper": measure_paper}
    for name, measure in parts.items():
        if options.only == name or (options.only is None and name != "paper"):
            for line in measure(train, test, options):
                print(json.dumps(line | machine()), flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="extended XYZ, or .xz")
    parser.add_argument("--only", choices=("epoch", "fast", "paper"))
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_train"), metavar="DIR")
    parser.add_argument("--test", type=int, default=10000, help="test frames at most")
    parser.add_argument("--draw", type=int, default=1, help="seed of the draw of the frames")
    parser.add_argument(
        "--tuned-on",
        type=int,
        nargs=2,
        default=(0, 0),
        metavar=("SEED", "N"),
        help="the first N frames of the draw SEED chose the recipe: none of them tests",
    )
    parser.add_argument("--members", type=int, default=MEMBERS, help="of the fast recipe")
    parser.add_argument("--paper-members", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="other than the recipe's")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def read(path: Path) -> list[Atoms]:
    """Read extended XYZ, compressed or not; ASE seeks, which a compressed stream does slowly."""
    content = path.read_bytes()
    text = (lzma.decompress(content) if path.suffix == ".xz" else content).decode()
    return list(read_extxyz(io.StringIO(text), index=slice(None)))


def line(measure: str, value: float, target: float, met: bool, **details: Any) -> dict[str, Any]:
    """Return a line."""
    return {"measure": measure, "value": round(value, 4), "target": target, "met": met} | details


# ---- the epoch ----------------------------------------------------------------------------------


class Ours:
    """Steps of one member: batches from the cache, the hand-written gradient, the optimizer."""

    def __init__(self, frames: list[Atoms], dataset: Dataset, recipe: str, folder: Path) -> None:
        self.settings = config.Train(recipe=recipe, batch_size=BATCH)
        hidden = {"H": (256, 192, 160), "C": (224, 192, 160)}
        metadata = Metadata(dataset.elements, hidden, tuple(dataset.self_energies), members=1)
        cache = DescriptorCache(folder, constants=AEVConstants(), elements=dataset.elements)
        cache.add(frames)
        energies = torch.from_numpy(dataset.energies).float()
        forces = [torch.from_numpy(force).float() for force in dataset.forces]
        n_atoms = torch.from_numpy(dataset.n_atoms).float()
        keys, self.joined = cache.keys(frames), []
        for start in range(0, len(frames), BATCH):  # as in alrare.training.ani_trainer: joined once
            part = slice(start, start + BATCH)
            labels = Labels(energies[part], torch.cat(forces[part]), n_atoms[part])
            self.joined.append((cache.batch(keys[part]), labels))
        drawn = member_weights(metadata, 1)
        self.networks = [
            [(drawn[f"{e}.{k}.weight"], drawn[f"{e}.{k}.bias"]) for k in range(4)]
            for e in dataset.elements
        ]
        self.whitening = [identity(128) for _ in dataset.elements]
        flat = [tensor for layers in self.networks for layer in layers for tensor in layer]
        self.engine = open_gradient_engine()
        self.optimizer = make_optimizer(self.settings, flat)

    def step(self, rows: list[int]) -> None:
        """Take one step."""
        batch, labels = self.joined[rows[0] // BATCH]
        _, gradients = self.engine.loss_gradient(
            batch, self.networks, self.whitening, labels, self.settings.force_weight
        )
        flat = [tensor for layers in gradients for layer in layers for tensor in layer]
        self.optimizer.step(flat, 1e-4)


class Stock:
    """The training step of torchani's own examples, with the paper's networks and loss."""

    def __init__(self, frames: list[Atoms], dataset: Dataset) -> None:
        import torchani

        self.species = torch.tensor(
            [[dataset.elements.index(s) for s in a.get_chemical_symbols()] for a in frames]
        )
        self.positions = torch.from_numpy(np.array([a.positions for a in frames])).float()
        self.energies = torch.from_numpy(dataset.energies).float()
        self.forces = torch.from_numpy(np.array(dataset.forces)).float()
        self.aev = torchani.AEVComputer.like_2x(num_species=2)
        self.networks = torchani.nn.ANINetworks(
            {
                element: torchani.nn.AtomicNetwork(
                    layer_dims=(128, *hidden, 1), activation="gelu", bias=True
                )
                for element, hidden in zip(
                    dataset.elements, ((256, 192, 160), (224, 192, 160)), strict=True
                )
            }
        )
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=1e-4)

    def step(self, rows: list[int]) -> None:
        """Take one step."""
        species, n_atoms = self.species[rows], float(self.species.shape[1])
        positions = self.positions[rows].requires_grad_()
        energies = self.networks(species, self.aev(species, positions))
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
        force_error = (gradient + self.forces[rows]).square().sum((1, 2)) / n_atoms
        energy_error = (energies - self.energies[rows]).square() / n_atoms**0.5
        loss = energy_error.mean() + 0.1 * force_error.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def measure_epoch(
    train: list[Atoms], test: list[Atoms], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Interleave batches; an epoch is the median batch times the number of batches."""
    part = train[: BATCH * ROUNDS]
    dataset = make_dataset(part)
    contenders: dict[str, Ours | Stock] = {
        "stock": Stock(part, dataset),
        "paper": Ours(part, dataset, "paper", options.work / "descriptors"),
        "fast": Ours(part, dataset, "fast", options.work / "descriptors"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1, ROUNDS):
        rows = list(range(max(number, 0) * BATCH, (max(number, 0) + 1) * BATCH))
        for name, contender in contenders.items():
            begin = time.process_time()
            contender.step(rows)
            if number >= 0:
                seconds[name].append(time.process_time() - begin)
    batches = N_TRAIN / BATCH
    epoch = {name: batches * float(np.median(values)) for name, values in seconds.items()}
    for name in ("paper", "fast"):
        ratio = epoch["stock"] / epoch[name]
        details = {"seconds": round(epoch[name], 3), "stock_seconds": round(epoch["stock"], 3)}
        yield line(
            f"epoch of 2000 hexanes, batch 64, {name} recipe: stock torchani / ours",
            ratio,
            8.0,
            ratio >= 8.0,
            **details,
        )


# ---- the recipes --------------------------------------------------------------------------------


def fit(
    train: list[Atoms], recipe: str, members: int, folder: Path, options: argparse.Namespace
) -> tuple[Path, float, dict[str, Any]]:
    """Train an ensemble; return its file, the wall time and training.json."""
    given = {"recipe": recipe} | ({"epochs": options.epochs} if options.epochs else {})
    settings = config.Train.model_validate(given)
    rng, fraction = np.random.default_rng(options.draw), settings.train_fraction
    begin = time.perf_counter()
    path = train_ensemble(
        train,
        model=config.Model.model_construct(members=members),  # one alone is enough here
        settings=settings,
        splits=[random_split(len(train), train_fraction=fraction, rng=rng) for _ in range(members)],
        seed=options.draw,
        folder=folder,
        method="",
        workers=options.workers,
        progress=open_progress(),
    )
    wall = time.perf_counter() - begin
    return path, wall, json.loads((folder / "training.json").read_text())


def test_errors(path: Path, test: list[Atoms]) -> tuple[list[float], list[float]]:
    """Energy and force MAE of each member, kcal/mol and kcal/mol/Å."""
    calculator = EnsembleCalculator(path)
    energies, forces = [], []
    for atoms in test:
        label = label_of(atoms)
        calculator.calculate(atoms)
        energies.append(calculator.results["member_energies"] - label[0])
        forces.append(calculator.results["member_forces"] - label[1])
    energy = KCAL * np.abs(energies).mean(0)
    force = KCAL * np.abs(np.concatenate(forces, axis=1)).mean((1, 2))
    return [round(float(e), 4) for e in energy], [round(float(f), 4) for f in force]


def measure_fast(
    train: list[Atoms], test: list[Atoms], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Train the ensemble of the fast recipe and judge it."""
    folder = options.work / f"fast_{time.time_ns()}"
    path, wall, training = fit(train, "fast", options.members, folder, options)
    cpu = sum(member["cpu_seconds"] for member in training["members"])
    yield line(
        f"fast recipe, {options.members} members, 2000 hexanes, {options.workers} workers: wall, s",
        wall,
        180.0,
        wall <= 180.0,
        cpu_seconds_of_members=round(cpu, 1),
        epochs=training["training"]["settings"]["epochs"],
    )
    energy, force = test_errors(path, test)
    details = {"n_test": len(test), "energy_mae": energy, "force_mae": force}
    worst_e, worst_f = max(energy), max(force)
    yield line("fast recipe: energy MAE of its worst member, kcal/mol", worst_e, 0.3,
               worst_e <= 0.3, **details)  # fmt: skip
    yield line("fast recipe: force MAE of its worst member, kcal/mol/Å", worst_f, 0.6,
               worst_f <= 0.6, **details)  # fmt: skip
    write(options.work / "fast.json", details)


def measure_paper(
    train: list[Atoms], test: list[Atoms], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Train members by the paper's recipe and compare them with the fast ones."""
    path, wall, training = fit(
        train, "paper", options.paper_members, options.work / "paper", options
    )
    energy, force = test_errors(path, test)
    cpu = sum(member["cpu_seconds"] for member in training["members"])
    details = {"n_test": len(test), "energy_mae": energy, "force_mae": force}
    details |= {"wall": round(wall, 1), "cpu_seconds_of_members": round(cpu, 1)}
    details |= {"epochs": training["training"]["settings"]["epochs"]}
    fast = json.loads((options.work / "fast.json").read_text())
    for name, ours, theirs in (
        ("energy", fast["energy_mae"], energy),
        ("force", fast["force_mae"], force),
    ):
        ratio = float(np.mean(ours) / np.mean(theirs))
        yield line(f"mean test {name} error: fast / paper", ratio, 0.5, ratio <= 0.5, **details)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
