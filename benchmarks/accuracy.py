"""What `alrare train` reaches on public data, as its user types it: one JSON line a measure.

    python benchmarks/accuracy.py FOLDER [--only ethanol|acac] [--seeds 1 2 3]

FOLDER is a copy of the public repository davkovacs/BOTNet-datasets. Each set is trained with the
defaults and three members, with every seed, and judged on its own test files, which nothing else
ever sees:

ethanol   1,000 frames of rMD17 ethanol, recomputed there with PBE; MAE
acac      500 frames of acetylacetone at 300 K; RMSE at 300 K, and at 600 K, which it has not seen

Energies are compared as they are, no offset is subtracted: the isolated atoms are in the data.
Errors are those of the mean of the members, the worst of the seeds; `members` are those of each
member alone. CPU time is of one member on one core, with its machine's load beside it.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _machine import machine
from alrare import EnsembleCalculator, train
from alrare.config import Model, Train
from alrare.frames import label_of, read_frames
from alrare.progress import open_progress
from ase import Atoms


@dataclass(frozen=True)
class Test:
    """A test file and the largest errors of the bar, eV and eV/Å."""

    name: str
    file: str
    energy: float
    force: float


@dataclass(frozen=True)
class Case:
    """A training set and its tests."""

    train: str
    isolated: str
    root_mean_square: bool
    tests: tuple[Test, ...]


CASES = {
    "ethanol": Case(
        "dataset_ethanol/train.xyz",
        "dataset_ethanol/isolated_atoms.xyz",
        False,
        (Test("rMD17", "dataset_ethanol/test_MD.xyz", 2.5e-3, 14e-3),),
    ),
    "acac": Case(
        "dataset_acac/train_300K.xyz",
        "dataset_acac/isolated_atoms.xyz",
        True,
        (
            Test("300 K", "dataset_acac/test_MD_300K.xyz", 4e-3, 25e-3),
            Test("600 K", "dataset_acac/test_MD_600K.xyz", float("inf"), 80e-3),
        ),
    ),
}
CPU_SECONDS = 180.0
WORST_MEMBER = 1.5


def main() -> None:
    """Print the lines."""
    options = arguments()
    for name, case in CASES.items():
        if options.only in (None, name):
            for line in measure(name, case, options):
                print(json.dumps(line | machine()), flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="FOLDER")
    parser.add_argument("--only", choices=tuple(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--hidden", type=int, nargs="+", help="other than the default's")
    parser.add_argument("--steps", type=int, help="other than the default's (min_steps)")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark_accuracy"), metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def measure(name: str, case: Case, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train with every seed; yield the worst of them."""
    frames = read_frames(options.data / case.train)
    elements = {symbol for atoms in frames for symbol in atoms.get_chemical_symbols()}
    isolated = [
        atoms
        for atoms in read_frames(options.data / case.isolated)
        if atoms.get_chemical_symbols()[0] in elements
    ]
    model = {"members": options.members}
    if options.hidden:
        model |= {"hidden": {}, "hidden_default": options.hidden}
    steps = {"min_steps": options.steps} if options.steps else {}
    cpu, excess, errors = [], [], {test.name: [] for test in case.tests}
    for seed in options.seeds:
        folder = options.work / f"{name}_{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        path = train(
            [*isolated, *frames],
            folder=folder,
            model=Model.model_validate(model),
            settings=Train.model_validate(steps),
            seed=seed,
            workers=options.workers,
            progress=open_progress(),
        )
        training = json.loads((folder / "training.json").read_text())
        cpu.append(max(member["cpu_seconds"] for member in training["members"]))
        for test in case.tests:
            found = judge(path, read_frames(options.data / test.file), case.root_mean_square)
            errors[test.name].append(found)
            excess.append(max(max(m) / np.mean(m) for m in (found["energies"], found["forces"])))
    kind = "RMSE" if case.root_mean_square else "MAE"
    for test in case.tests:
        of = errors[test.name]
        for what, unit, limit in (("energy", "meV", test.energy), ("force", "meV/Å", test.force)):
            value = max(one[what] for one in of)
            yield {
                "measure": f"{name}, {test.name}: {what} {kind}, {unit}",
                "value": round(1e3 * value, 2),
                "target": 1e3 * limit if np.isfinite(limit) else None,
                "met": bool(value <= limit),
                "seeds": [round(1e3 * one[what], 2) for one in of],
                "members": [
                    [round(1e3 * v, 2) for v in one["energies" if what == "energy" else "forces"]]
                    for one in of
                ],
            }
    yield {
        "measure": f"{name}: CPU time of the slowest member, s",
        "value": round(max(cpu), 1),
        "target": CPU_SECONDS,
        "met": max(cpu) <= CPU_SECONDS,
    }
    yield {
        "measure": f"{name}: error of the worst member over the members' mean",
        "value": round(max(excess), 2),
        "target": WORST_MEMBER,
        "met": bool(max(excess) <= WORST_MEMBER),
    }


def judge(path: Path, test: list[Atoms], root_mean_square: bool) -> dict[str, Any]:
    """Return the errors, eV and eV/Å, of the members' mean and of each member."""
    calculator = EnsembleCalculator(path)
    energies, forces = [], []
    for atoms in test:
        label = label_of(atoms)
        calculator.calculate(atoms)
        energies.append(calculator.results["member_energies"] - label[0])
        forces.append(calculator.results["member_forces"] - label[1])
    energy, force = np.array(energies).T, np.concatenate(forces, axis=1)

    def error(values: Any) -> float:
        return float(np.sqrt((values**2).mean()) if root_mean_square else np.abs(values).mean())

    return {
        "energy": error(energy.mean(0)),
        "force": error(force.mean(0)),
        "energies": [error(one) for one in energy],
        "forces": [error(one) for one in force],
    }


if __name__ == "__main__":
    main()
